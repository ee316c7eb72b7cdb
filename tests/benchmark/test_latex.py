r"""leaderboard.tex, read back as a table: columns at `&`, rows at `\\`."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import curves, ratios
from benchmark.comparisons import COMPARED, COMPARISON_SCHEMA, CORRELATION_SCHEMA, SEEDS_SCHEMA
from benchmark.latex import COLUMNS, escape, latex
from benchmark.leaderboard import OPERATING_SCHEMA, SCHEMA, Leaderboard

# How LaTeX is told to print what it would otherwise read as more than a letter.
PRINTED = {f"\\{character}": character for character in "&%$#_{}"} | {
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textbackslash{}": "\\",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    "{[}": "[",
    "{*}": "*",
}
COMMANDS = "|".join(map(re.escape, PRINTED))


def row(strategy, backbone="tower", seed=0, **values):
    """A cell whose every number is told; its intervals reach 0.05 down and 0.06 up."""
    values = {"auc": 0.7, "f1": 0.6, "artery_ratio": 1.1, "vein_ratio": 1.2, "vessel_ratio": 1.3} | values
    known = {name: value for name, value in values.items() if value is not None}
    bounds = {f"{name}_low": value - 0.05 for name, value in known.items()}
    bounds |= {f"{name}_high": value + 0.06 for name, value in known.items()}
    return {"backbone": backbone, "strategy": strategy, "seed": seed, "status": "ok"} | known | bounds


def failed(strategy):
    return {"backbone": "tower", "strategy": strategy, "seed": 0, "status": "train: out of memory"}


def board(*rows, p_holm):
    """A leaderboard with the same p-value for every pair, or with that of a pair of strategies."""
    done = [cell for cell in rows if cell["status"] == "ok"]
    pairs = [
        {"measure": measure, "p_holm": p_holm if isinstance(p_holm, float) else p_holm[a["strategy"], b["strategy"]]}
        | {f"{name}_{side}": of[name] for side, of in (("a", a), ("b", b)) for name in ("backbone", "strategy", "seed")}
        for measure in COMPARED
        for place, a in enumerate(done)
        for b in done[place + 1 :]
    ]
    return Leaderboard(
        cells=pl.DataFrame(list(rows), schema=SCHEMA),
        operating=pl.DataFrame(schema=OPERATING_SCHEMA),
        curves=pl.DataFrame(schema=curves.SCHEMA),
        ratios=pl.DataFrame(schema=ratios.SCHEMA),
        comparisons=pl.DataFrame(pairs, schema=COMPARISON_SCHEMA),
        seeds=pl.DataFrame(schema=SEEDS_SCHEMA),
        correlation=pl.DataFrame(schema=CORRELATION_SCHEMA),
    )


def read(tex):
    """The rows of the table, heading first, each a list of its columns."""
    inside = re.search(r"\\begin\{tabular\}\{(l+)(r+)\}(.*)\\end\{tabular\}", tex, re.DOTALL)
    lines = [line.strip() for line in inside[3].splitlines()]
    rows = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in lines if line.endswith(r"\\")]
    assert {len(columns) for columns in rows} == {len(inside[1] + inside[2])}
    return [[column.strip() for column in columns] for columns in rows]


def caption(tex):
    return re.search(r"\\caption\{(.*)\}$", tex, re.MULTILINE)[1]


def test_best_is_bold_tied_has_a_dagger_and_the_others_nothing():
    apart = {("best", "near"): 0.4, ("best", "far"): 0.001, ("near", "far"): 0.3}
    cells = [row("best", auc=0.8123), row("near", auc=0.79), row("far", auc=0.61)]
    tex = latex(board(*cells, p_holm=apart), "Study", 0.95)
    table = {columns[1]: dict(zip(COLUMNS, columns[2:], strict=True)) for columns in read(tex)[1:]}
    assert list(table) == ["best", "near", "far"]
    assert table["best"]["auc"] == r"\textbf{0.812} (0.762--0.872)"
    assert table["near"]["auc"] == r"0.790$^\dagger$ (0.740--0.850)"
    assert table["far"]["auc"] == "0.610 (0.560--0.670)"
    assert {columns["vein_ratio"] for columns in table.values()} == {r"\textbf{1.20} (1.15--1.26)"}, "all are highest"
    assert r"95\,\% intervals" in caption(tex)


def test_tied_at_the_level_of_the_intervals():
    cells = [row("best", auc=0.8), row("near", auc=0.79)]
    marked = {level: r"\dagger" in read(latex(board(*cells, p_holm=0.07), "", level))[2][2] for level in (0.95, 0.9)}
    assert marked == {0.95: True, 0.9: False}


def test_headings_and_seeds():
    one, two = row("lora"), row("lora", seed=7)
    names = ["AUC", "F1", "Artery", "Vein", "Vessel"]
    assert read(latex(board(one, p_holm=1.0), "", 0.95))[0] == ["Backbone", "Strategy", *names]
    table = read(latex(board(one, two, p_holm=1.0), "", 0.95))
    assert table[0] == ["Backbone", "Strategy", "Seed", *names]
    assert [columns[2] for columns in table[1:]] == ["0", "7"]


@pytest.mark.parametrize(
    ("failures", "told"), [(0, None), (1, "1 failed cell left out."), (2, "2 failed cells left out.")]
)
def test_failed_cells_are_left_out_and_counted(failures, told):
    cells = [row("lora"), *(failed(f"f{number}") for number in range(failures))]
    tex = latex(board(*cells, p_holm=1.0), "Study", 0.95)
    assert [columns[1] for columns in read(tex)[1:]] == ["lora"]
    assert caption(tex).endswith(told) if told else "left out" not in tex


def test_a_number_that_is_not_there():
    cells = [row("none", vessel_ratio=None), row("bare", f1=0.75) | {"f1_low": None, "f1_high": None}]
    table = read(latex(board(*cells, p_holm=0.01), "", 0.9))
    none, bare = (dict(zip(COLUMNS, columns[2:], strict=True)) for columns in table[1:])
    assert none["vessel_ratio"] == "--"
    assert bare["vessel_ratio"].startswith(r"\textbf{1.30}")
    assert bare["f1"] == r"\textbf{0.750}"


def test_nothing_but_failed_cells():
    tex = latex(board(failed("lora"), p_holm=1.0), "Study", 0.95)
    assert len(read(tex)) == 1


@given(st.text(alphabet=st.sampled_from("aB 1é-:/.\\&%$#_{}~^<>|[]*\n\t")))
def test_any_text_is_letters_to_latex(text):
    """Without the commands that print them no special character is left; undone, the text is as it was."""
    escaped = escape(text)
    assert not set(re.sub(COMMANDS, "", escaped)) & {*PRINTED.values(), "\n"}
    assert re.sub(COMMANDS, lambda command: PRINTED[command[0]], escaped) == " ".join(text.split())


def test_hostile_names_stay_in_their_place():
    name = "a_b & 50% \\\\ \\end{tabular} $x$ #1 ~^\n\n[2em] *"
    cells = [row(name, backbone=name, auc=0.9), row("*[x]", backbone="[1]")]
    tex = latex(board(*cells, p_holm=1.0), name, 0.95)
    table = read(tex)
    assert table[1][:2] == [escape(name)] * 2
    assert table[2][:2] == ["{[}1]", "{*}{[}x]"]
    assert caption(tex).startswith(escape(name) + ": ")
    assert tex.count(r"\end{tabular}") == 1
    opened = re.sub(r"\\[{}]", "", tex)
    assert opened.count("{") == opened.count("}")
