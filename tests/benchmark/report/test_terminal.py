"""The leaderboard on the terminal."""

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from benchmark.analysis import curves, patients, ratios
from benchmark.analysis.comparisons import COMPARISON_SCHEMA, CORRELATION_SCHEMA, SEEDS_SCHEMA
from benchmark.analysis.contrasts import AVERAGES_SCHEMA, CONTRASTS_SCHEMA, REPEATABILITY_SCHEMA
from benchmark.analysis.leaderboard import OK, OPERATING_SCHEMA, SCHEMA, Leaderboard
from benchmark.analysis.measures import MEASURES
from benchmark.report.terminal import print_leaderboard

BACKBONES = ("openclip-vit-g14", "dinov2-vit-g14", "retfound-vit-l16")
STRATEGIES = ("classifier_only", "partial", "lora")
REASON = "train: OutOfMemoryError: [GPU 0] tried to allocate 20 GiB"


def cell(backbone: str, strategy: str, seed: int = 0, **values) -> dict:
    measures = {
        key: value for name in MEASURES for key, value in ((name, 0.612), (f"{name}_low", 0.5), (f"{name}_high", 0.7))
    }
    counts = {"n_images": 80, "n_patients": 40, "n_positive_patients": 12, "n_negative_patients": 29}
    return {"backbone": backbone, "strategy": strategy, "seed": seed, **counts, **measures, "status": OK} | values


def failed(backbone: str, strategy: str) -> dict:
    return {"backbone": backbone, "strategy": strategy, "seed": 0, "status": REASON}


def printed(*cells: dict, width: int = 80, **correlation) -> tuple[list[str], int]:
    """The lines on a terminal of 80 columns, and how many trials failed."""
    first = {
        "performance": "auc",
        "explainability": "vessel_ratio",
        "coefficient": "spearman",
        "n_cells": len(cells),
        "method": "undefined",
    }
    board = Leaderboard(
        trials=pl.DataFrame(list(cells), schema=SCHEMA),
        operating=pl.DataFrame(schema=OPERATING_SCHEMA),
        curves=pl.DataFrame(schema=curves.SCHEMA),
        ratios=pl.DataFrame(schema=ratios.SCHEMA),
        comparisons=pl.DataFrame(schema=COMPARISON_SCHEMA),
        seeds=pl.DataFrame(schema=SEEDS_SCHEMA),
        correlation=pl.DataFrame([first | correlation], schema=CORRELATION_SCHEMA),
        averages=pl.DataFrame(schema=AVERAGES_SCHEMA),
        contrasts=pl.DataFrame(schema=CONTRASTS_SCHEMA),
        repeatability=pl.DataFrame(schema=REPEATABILITY_SCHEMA),
        patients=pl.DataFrame(schema=patients.SCHEMA),
        patient_pairs=pl.DataFrame(schema=patients.PAIRS_SCHEMA),
    )
    console = Console(file=io.StringIO(), width=width)
    count = print_leaderboard(board, Path("runs/x"), 0.95, console)
    return console.file.getvalue().splitlines(), count


def test_one_row_per_trial_with_its_numbers_and_intervals():
    nine = [cell(backbone, strategy) for backbone in BACKBONES for strategy in STRATEGIES]
    nine[0] |= {"auc": 0.8126, "auc_low": 0.71, "auc_high": 0.93, "vessel_ratio": 1.5}
    lines, count = printed(*nine)
    assert count == 0
    heading = next(line for line in lines if "AUC" in line)
    assert heading.split() == ["trial", "AUC", "F1", "artery", "vein", "vessel"]
    row = lines.index(next(line for line in lines if "openclip-vit-g14" in line))
    assert lines[row].split() == ["openclip-vit-g14", "0.813", "0.612", "0.612", "0.612", "1.500"]
    assert lines[row + 1].split() == ["classifier_only", "0.71–0.93", *["0.50–0.70"] * 4]
    assert sum(strategy in line.split() for line in lines for strategy in STRATEGIES) == 9
    assert any("95 % interval over patients" in line for line in lines)
    counts = "80 test images of 40 patients: 12 with a positive image, 29 with a negative one."
    assert counts in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [1, 20, 60])
def test_a_narrow_terminal_cuts_nothing_from_a_table(width):
    """The table keeps its width of 80 columns, and the terminal wraps it; names and numbers stay complete."""
    cells = [cell(BACKBONES[0], "classifier_only", auc=0.8126), failed(BACKBONES[1], "lora")]
    narrow, wide = (printed(*cells, width=columns)[0] for columns in (width, 80))
    end = wide.index(next(line for line in wide if line.startswith("Below")))
    assert any("0.813" in line for line in wide[:end])
    assert narrow[:end] == wide[:end]


def test_nothing_is_cut_off_at_80_columns():
    long = "timm:vit_small_patch14_dinov2.lvd142m"
    wide = cell(long, "classifier_only", seed=11, vessel_ratio=10.25, vessel_ratio_low=9.5, vessel_ratio_high=11.25)
    lines, _ = printed(cell(BACKBONES[0], "classifier_only"), wide)
    table = lines[: lines.index(next(line for line in lines if line.startswith("Below")))]
    assert max(len(line) for line in table) <= 80
    assert not any("…" in line for line in lines)
    assert "9.50–11.25" in "".join(table)
    first_column = [line[:26].strip().split()[0] for line in table[2:] if line[:26].strip()]
    assert long in "".join(first_column)


def test_cells_not_shown_to_predict_are_counted():
    lines, _ = printed(cell("a", "lora", predicts=False), cell("b", "lora", predicts=True), cell("c", "lora"))
    expected = "– 1 of 3 trials is not shown to predict better than chance: ratios are then hard to interpret"
    assert expected in " ".join(" ".join(lines).split())
    assert not any("predict" in line for line in printed(cell("b", "lora", predicts=True))[0])


def test_the_auc_of_patients_of_the_first_trial_is_printed():
    of_patients = {"auc_patient": 0.6543, "auc_patient_low": 0.51, "auc_patient_high": 0.78}
    text = " ".join(" ".join(printed(cell("a", "lora", **of_patients), cell("b", "lora"))[0]).split())
    assert "Per patient, the mean score of the images: AUC 0.654 (0.51 to 0.78) of a lora seed 0, 40 patients" in text
    for without in (cell("a", "lora"), cell("a", "lora", n_images=40, **of_patients)):
        assert "Per patient" not in "".join(printed(without)[0])


def test_the_page_comes_last_in_one_piece():
    lines, _ = printed(cell("a", "lora"))
    assert lines[-1] == f"Page: {Path('runs/x/leaderboard.html').resolve()}"


def test_failed_cells_are_shown_and_counted_with_their_reason():
    lines, count = printed(cell("a", "lora"), failed("b", "lora"), failed("b", "full"))
    assert count == 2
    assert [line.split() for line in lines if line.strip().startswith("b ")] == [["b", "failed"], ["b", "failed"]]
    text = " ".join(" ".join(lines).split())
    for strategy in ("lora", "full"):
        assert f"✗ b {strategy} seed 0: {REASON}" in text


def test_numbers_that_there_are_none_of():
    lines, _ = printed(
        cell("a", "lora", artery_ratio=None, artery_ratio_low=None, artery_ratio_high=None, f1_low=None, f1_high=None)
    )
    row = lines.index(next(line for line in lines if line.split()[:1] == ["a"]))
    assert lines[row].split() == ["a", "0.612", "0.612", "–", "0.612", "0.612"]
    assert lines[row + 1].split() == ["lora", *["0.50–0.70"] * 3]


def test_a_cell_without_a_ratio_is_explained():
    lines, _ = printed(cell("a", "lora", vessel_ratio=None), cell("b", "lora"))
    (line,) = [line for line in lines if line.startswith("–")]
    assert line.startswith("– a lora seed 0: no ratio")


def test_seeds_are_shown():
    lines, _ = printed(cell("a", "lora", 0), cell("a", "lora", 1))
    assert [line.split()[1] for line in lines if line.split()[:1] == ["lora"]] == ["s0", "s1"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {
                "estimate": 0.5,
                "patients_low": -0.12,
                "patients_high": 0.9,
                "p_value": 0.1777,
                "method": "exact permutation",
            }
            | {"corrected": 0.61, "low": -0.34, "high": 1.0},
            "AUC and vessel ratio over these 1 cells: Spearman 0.50 (-0.12 to 0.90 in other patients). Other "
            "cells, corrected for measurement error: 0.61 (-0.34 to 1.00); p = 0.178 (exact permutation)",
        ),
        (
            {"estimate": 1.0, "p_value": 0.333, "method": "exact permutation", "not_known": "cells do not differ"},
            "Spearman 1.00. Other cells: not known (cells do not differ); p = 0.333 (exact permutation)",
        ),
        (
            {"estimate": 1.0, "method": "no p-value below 6 cells", "not_known": "fewer than 6 cells"},
            "Spearman 1.00. Other cells: not known (fewer than 6 cells); no p-value below 6 cells",
        ),
    ],
)
def test_the_correlation_in_a_sentence(values, expected):
    lines, _ = printed(cell("a", "lora"), **values)
    assert expected in " ".join(" ".join(lines).split())


def test_an_undefined_correlation_is_left_out():
    lines, _ = printed(cell("a", "lora"))
    assert not any("Spearman" in line for line in lines)
