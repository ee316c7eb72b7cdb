r"""leaderboard.tex, read back as a table: columns at `&`, rows at `\\`; a trial has two rows."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.analysis import curves, patients, ratios
from benchmark.analysis.comparisons import COMPARED, COMPARISON_SCHEMA, CORRELATION_SCHEMA, SEEDS_SCHEMA
from benchmark.analysis.contrasts import AVERAGES_SCHEMA, CONTRASTS_SCHEMA, REPEATABILITY_SCHEMA
from benchmark.analysis.leaderboard import OPERATING_SCHEMA, SCHEMA, Leaderboard
from benchmark.report.latex import COLUMNS, escape, latex

# The commands by which LaTeX prints characters that otherwise have a special meaning.
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


def row(strategy, backbone="model", seed=0, n_ratio=1240, predicts=True, **values):
    """A trial on 1240 images with all numbers; its intervals reach from 0.05 below to 0.06 above the value."""
    values = {"auc": 0.7, "f1": 0.6, "artery_ratio": 1.1, "vein_ratio": 1.2, "vessel_ratio": 1.3} | values
    known = {name: value for name, value in values.items() if value is not None}
    bounds = {f"{name}_low": value - 0.05 for name, value in known.items()}
    bounds |= {f"{name}_high": value + 0.06 for name, value in known.items()}
    counts = {"n_images": 1240, "n_patients": 617, "n_positive": 400, "n_positive_patients": 205, "n_ratio": n_ratio}
    counts |= {"predicts": predicts}
    return {"backbone": backbone, "strategy": strategy, "seed": seed, "status": "ok"} | known | bounds | counts


def failed(strategy):
    return {"backbone": "model", "strategy": strategy, "seed": 0, "status": "train: out of memory"}


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
        trials=pl.DataFrame(list(rows), schema=SCHEMA),
        operating=pl.DataFrame(schema=OPERATING_SCHEMA),
        curves=pl.DataFrame(schema=curves.SCHEMA),
        ratios=pl.DataFrame(schema=ratios.SCHEMA),
        comparisons=pl.DataFrame(pairs, schema=COMPARISON_SCHEMA),
        seeds=pl.DataFrame(schema=SEEDS_SCHEMA),
        correlation=pl.DataFrame(schema=CORRELATION_SCHEMA),
        averages=pl.DataFrame(schema=AVERAGES_SCHEMA),
        contrasts=pl.DataFrame(schema=CONTRASTS_SCHEMA),
        repeatability=pl.DataFrame(schema=REPEATABILITY_SCHEMA),
        patients=pl.DataFrame(schema=patients.SCHEMA),
        patient_pairs=pl.DataFrame(schema=patients.PAIRS_SCHEMA),
    )


def read(tex):
    """The heading, and for each trial its name (backbone and strategy, with the seed), values and intervals."""
    inside = re.search(r"\\begin\{tabular\}\{(l)(r+)\}(.*)\\end\{tabular\}", tex, re.DOTALL)
    lines = [line.strip() for line in inside[3].splitlines()]
    rows = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in lines if line.endswith(r"\\")]
    assert {len(columns) for columns in rows} == {len(inside[1] + inside[2])}
    heading, *rows = [[column.strip() for column in columns] for columns in rows]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return heading, [((backbone, strategy), values, below) for (backbone, *values), (strategy, *below) in pairs]


def by_strategy(tex):
    """For each strategy, in the order of the table, measure -> (value, interval)."""
    return {
        strategy: dict(zip(COLUMNS, zip(values, below, strict=True), strict=False))
        for (_, strategy), values, below in read(tex)[1]
    }


def caption(tex):
    return re.search(r"\\caption\{(.*)\}$", tex, re.MULTILINE)[1]


def test_best_is_bold_tied_has_a_dagger_and_the_others_nothing():
    apart = {("best", "near"): 0.4, ("best", "far"): 0.001, ("near", "far"): 0.3}
    cells = [row("best", auc=0.8123), row("near", auc=0.79), row("far", auc=0.61)]
    tex = latex(board(*cells, p_holm=apart), "Study", 0.95)
    table = by_strategy(tex)
    assert list(table) == ["best", "near", "far"]
    assert table["best"]["auc"] == (r"\textbf{0.812}", r"\scriptsize 0.762--0.872")
    assert table["near"]["auc"] == (r"0.790\rlap{$^\dagger$}", r"\scriptsize 0.740--0.850")
    assert table["far"]["auc"] == ("0.610", r"\scriptsize 0.560--0.670")
    assert {cell["vein_ratio"] for cell in table.values()} == {(r"\textbf{1.20}", r"\scriptsize 1.15--1.26")}, (
        "all are highest"
    )
    assert r"95\,\% intervals" in caption(tex)


def test_the_vessel_ratio_stands_next_to_what_chance_gives():
    nulls = {"vessel_ratio_null": 1.084, "vessel_ratio_null_p": 0.0124}
    tex = latex(board(row("made") | nulls, row("without"), p_holm=0.5), "Study", 0.95)
    heading, rows = read(tex)
    place = heading.index("Chance") - 1
    assert heading[place] == "Vessel"
    assert [(values[place], below[place]) for _, values, below in rows] == [
        ("1.08", r"\scriptsize $p$ 0.012"),
        ("--", ""),
    ]
    assert "Chance: the vessel ratio of the same maps on other patients' vessels" in caption(tex)
    assert "Chance" not in latex(board(row("without"), p_holm=0.5), "Study", 0.95)


def test_the_auc_of_patients_stands_next_to_that_of_images():
    tex = latex(board(row("lora", auc_patient=0.7654), row("full"), p_holm=0.5), "Study", 0.95)
    heading, rows = read(tex)
    assert heading[1:4] == ["AUC", "Patient", "F1"]
    assert [(values[1], below[1]) for _, values, below in rows] == [("0.765", r"\scriptsize 0.715--0.825"), ("--", "")]
    assert "Patient: AUC of patients, each with the mean score of the images" in caption(tex)
    of_single = row("lora", auc_patient=0.7654) | {"n_patients": 1240}
    assert "Patient" not in latex(board(of_single, p_holm=0.5), "Study", 0.95), "it would be the same number"


def test_tied_at_the_level_of_the_intervals():
    cells = [row("best", auc=0.8), row("near", auc=0.79)]
    marked = {
        level: r"\dagger" in by_strategy(latex(board(*cells, p_holm=0.07), "", level))["near"]["auc"][0]
        for level in (0.95, 0.9)
    }
    assert marked == {0.95: True, 0.9: False}


@pytest.mark.parametrize("predicts", [True, False])
def test_no_auc_is_marked_where_none_is_shown_to_be_above_chance(predicts):
    best, near = row("best", auc=0.56, predicts=predicts), row("near", auc=0.53, predicts=False)
    tex = latex(board(best, near, p_holm=0.5), "Study", 0.95)
    table = by_strategy(tex)
    assert (r"\textbf" in table["best"]["auc"][0]) == (r"\dagger" in table["near"]["auc"][0]) == predicts
    assert ("No AUC is marked, because no trial is shown to predict better than chance." in caption(tex)) != predicts
    assert table["best"]["f1"][0] == table["near"]["f1"][0] == r"\textbf{0.600}", "of the others the best still is"


def test_an_auc_without_an_interval_is_not_above_chance():
    tex = latex(board(row("lora", predicts=None) | {"auc_low": None, "auc_high": None}, p_holm=1.0), "Study", 0.95)
    assert by_strategy(tex)["lora"]["auc"] == ("0.700", "")


def test_the_caption_counts_images_and_patients():
    text = caption(latex(board(row("lora"), p_holm=1.0), "Study", 0.95))
    assert text.startswith(
        "Study: prediction and saliency on 1,240 test images (400 positive) of 617 patients (205 with a positive "
        "image), "
    )
    assert "have a vessel ratio" not in text


def test_images_with_a_vessel_ratio_are_counted_in_the_caption_or_by_trial_if_trials_differ():
    alike = latex(board(row("lora", n_ratio=1200), row("full", n_ratio=1200), p_holm=1.0), "", 0.95)
    assert "all vessels; 1,200 images have a vessel ratio. " in caption(alike)
    assert read(alike)[0][-1] == "Vessel"
    differ = latex(board(row("lora", n_ratio=1200), row("full"), row("partial", n_ratio=0), p_holm=1.0), "", 0.95)
    assert "all vessels; $n$: images that have a vessel ratio. " in caption(differ)
    heading, cells = read(differ)
    assert heading[-1] == "$n$"
    assert [(values[-1], below[-1]) for _, values, below in cells] == [("1,200", ""), ("1,240", ""), ("0", "")]


def test_headings_and_seeds():
    one, two = row("lora"), row("lora", seed=7)
    names = ["AUC", "F1", "Artery", "Vein", "Vessel"]
    heading, ((named, *_),) = read(latex(board(one, p_holm=1.0), "", 0.95))
    assert heading == ["Backbone, strategy", *names]
    assert named == ("model", "lora")
    heading, cells = read(latex(board(one, two, p_holm=1.0), "", 0.95))
    assert heading == ["Backbone, strategy, seed", *names]
    assert [named for named, *_ in cells] == [("model", "lora, 0"), ("model", "lora, 7")]


@pytest.mark.parametrize(
    ("failures", "expected"), [(0, None), (1, "1 failed trial is left out."), (2, "2 failed trials are left out.")]
)
def test_failed_cells_are_left_out_and_counted(failures, expected):
    cells = [row("lora"), *(failed(f"f{number}") for number in range(failures))]
    tex = latex(board(*cells, p_holm=1.0), "Study", 0.95)
    assert list(by_strategy(tex)) == ["lora"]
    assert caption(tex).endswith(expected) if expected else "left out" not in tex


def test_a_number_that_is_not_there():
    cells = [row("none", vessel_ratio=None), row("bare", f1=0.75) | {"f1_low": None, "f1_high": None}]
    none, bare = by_strategy(latex(board(*cells, p_holm=0.01), "", 0.9)).values()
    assert none["vessel_ratio"] == ("--", "")
    assert bare["vessel_ratio"] == (r"\textbf{1.30}", r"\scriptsize 1.25--1.36")
    assert bare["f1"] == (r"\textbf{0.750}", "")


def test_nothing_but_failed_cells():
    tex = latex(board(failed("lora"), p_holm=1.0), "Study", 0.95)
    assert read(tex)[1] == []
    assert "chance" not in caption(tex)


@given(st.text(alphabet=st.sampled_from("aB 1é-:/.\\&%$#_{}~^<>|[]*\n\t")))
def test_any_text_is_letters_to_latex(text):
    """Without the commands no special character is left; replacing the commands gives the text again."""
    escaped = escape(text)
    assert not set(re.sub(COMMANDS, "", escaped)) & {*PRINTED.values(), "\n"}
    assert re.sub(COMMANDS, lambda command: PRINTED[command[0]], escaped) == " ".join(text.split())


def test_hostile_names_stay_in_their_place():
    name = "a_b & 50% \\\\ \\end{tabular} $x$ #1 ~^\n\n[2em] *"
    cells = [row(name, backbone=name, auc=0.9), row("*[x]", backbone="[1]")]
    tex = latex(board(*cells, p_holm=1.0), name, 0.95)
    first, second = (named for named, *_ in read(tex)[1])
    assert first == (escape(name), escape(name))
    assert second == ("{[}1]", "{*}{[}x]")
    assert caption(tex).startswith(escape(name) + ": ")
    assert tex.count(r"\end{tabular}") == 1
    opened = re.sub(r"\\[{}]", "", tex)
    assert opened.count("{") == opened.count("}")
