"""The comparison of runs on the terminal."""

import io
import itertools

import polars as pl
import pytest
from rich.console import Console

from benchmark.analysis.compare import SCHEMA
from benchmark.report.comparison import print_comparison

NUMBERS = {
    "a": 0.7, "a_low": 0.612, "a_high": 0.79, "b": 0.75, "b_low": 0.66, "b_high": 0.84,
    "difference": 0.05, "low": -0.0104, "high": 0.1, "p_value": 0.02, "p_holm": 0.04,
}  # fmt: skip


def printed(*rows, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_comparison(pl.DataFrame(rows, schema=SCHEMA), 0.9, console)
    return console.file.getvalue()


def test_printed():
    named, numbers = {"backbone": "[red]model", "seed": 0, "run_a": "runs/[a]", "run_b": "runs/b"}, NUMBERS
    rows = [
        named | numbers | {"strategy": "lora", "measure": "auc", "method": "DeLong"},
        named | numbers | {"strategy": "lora", "measure": "f1", "difference": 0.111},
        named | numbers | {"strategy": "lora", "measure": "vessel_ratio", "low": None, "high": None, "p_holm": None},
        named | {"strategy": "full", "measure": "auc", "a": 0.6, "method": "in one run only"},
        named | numbers | {"strategy": "lora", "measure": "auc", "run_b": "runs/c", "difference": -0.25},
    ]
    text = printed(*rows)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "runs/b (b) minus runs/[a] (a), these trained models" in lines
    assert "runs/c (b) minus runs/[a] (a), these trained models" in lines
    pairs = list(itertools.pairwise(lines))
    assert ("[red]model AUC 0.700 0.750 +0.050 0.040", "lora s0 0.61–0.79 0.66–0.84 -0.010 to +0.100") in pairs
    assert ("[red]model vessel 0.700 0.750 +0.050 –", "lora s0 ratio 0.61–0.79 0.66–0.84") in pairs
    assert ("[red]model AUC 0.600 – in one run only –", "full s0") in pairs
    assert "-0.250" in text
    assert "0.111" not in text, "the other measures are in the file"
    assert text.count("90 % interval over patients") == 2


def test_a_narrow_terminal_cuts_nothing():
    row = {"backbone": "model", "strategy": "lora", "seed": 0, "run_a": "a", "run_b": "b"} | NUMBERS
    row |= {"measure": "auc", "method": "DeLong"}
    assert printed(row, width=20) == printed(row)


@pytest.mark.parametrize("width", [80, 100])
def test_printed_names_break_after_punctuation_and_numbers_nowhere(width):
    backbone = "timm:vit_base_patch16_clip_224.openai"
    named = {"backbone": backbone, "strategy": "classifier_only", "seed": 0, "run_a": "a", "run_b": "b"}
    text = printed(named | NUMBERS | {"measure": "auc", "method": "DeLong"}, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert {"0.61–0.79", "0.66–0.84", "0.040"} <= set(text.split())
    assert "-0.010 to +0.100" in text
    _, _, heads, _, *rows = text.splitlines()[:-1]  # the title is above, the caption below
    pieces = [piece for row in rows if (piece := row[: heads.index("measure")].strip())]
    assert "".join(pieces).replace(" ", "") == f"{backbone}classifier_onlys0"
    ends = (*"-_.:/", "openai", "classifier_only", "s0")
    assert all(piece.endswith(ends) for piece in pieces), pieces
