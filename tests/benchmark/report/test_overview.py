"""The page over several runs, from results written by hand."""

import re
from pathlib import Path

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.report.overview import CELLS_SCHEMA, cells_of_runs, notices, over_runs, read_runs, render, write_overview
from tests.benchmark.lab_results import results_of
from tests.benchmark.page_content import ATTACK


def written(folder, results):
    """The folder, with the results in it."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(results.model_dump_json(), encoding="utf-8")
    return folder


@pytest.fixture
def files(tmp_path):
    """Two labs whose studies have the same name; the second lacks one trial, and another trial failed there."""
    first = results_of(big__lora=0.8, big__full=0.7, small__lora=0.6)
    second = results_of(cohort="lab_b.csv", patients="cd", big__lora=0.62, big__full=0.66, small__full=None)
    # A run directory, and a file alone.
    return [written(tmp_path / "lab_a", first), written(tmp_path / "lab_b", second) / "results.json"]


def page_of(runs):
    """The page with its markup, without the marks of possible line breaks."""
    cells = cells_of_runs(runs)
    return " ".join(render(runs, cells, over_runs(cells)).replace("<wbr>", "").split())


def test_studies_of_one_name_are_named_by_their_folders(files, tmp_path, monkeypatch):
    assert list(read_runs(files)) == ["carotid (lab_a)", "carotid (lab_b)"]
    other = written(tmp_path / "lab_c", results_of("stenosis"))
    assert list(read_runs([files[0], other])) == ["carotid", "stenosis"]
    monkeypatch.chdir(files[0])
    assert list(read_runs([Path(), Path("..", "lab_b", "results.json")])) == ["carotid (lab_a)", "carotid (lab_b)"]


def test_studies_in_folders_of_one_name_are_numbered(tmp_path):
    paths = [written(tmp_path / lab / "run", results_of(big__lora=auc)) for lab, auc in (("a", 0.6), ("b", 0.7))]
    assert list(read_runs(paths)) == ["carotid", "carotid (2)"]
    third = written(tmp_path / "third", results_of("carotid (2)"))
    assert list(read_runs([*paths, third])) == ["carotid", "carotid (2)", "carotid (2) (2)"]


def test_every_cell_of_every_run_with_its_numbers(files):
    runs = read_runs(files)
    cells = cells_of_runs(runs)
    assert cells.columns == list(CELLS_SCHEMA)
    assert cells["auc"].to_list() == [0.8, 0.7, 0.6, 0.62, 0.66, None]
    assert cells.row(3, named=True) | {"f1": None} == dict.fromkeys(CELLS_SCHEMA) | {
        "run": "carotid (lab_b)", "cohort": "lab_b.csv", "backbone": "big", "strategy": "lora", "seed": 0,
        "n_images": 80, "n_patients": 40, "n_positive_patients": 16, "n_negative_patients": 25,
        "auc": 0.62, "auc_low": 0.57, "auc_high": 0.66,
        "vessel_ratio": 1.62, "vessel_ratio_low": 0.62, "vessel_ratio_high": 2.62, "status": "ok",
    }  # fmt: skip


def test_places_are_shares_of_each_runs_other_cells(files):
    models = over_runs(cells_of_runs(read_runs(files)))
    found = {(row["backbone"], row["strategy"]): row for row in models.to_dicts()}
    assert {key: (row["n_runs"], row["mean_beaten"]) for key, row in found.items()} == {
        ("big", "full"): (2, 0.75),  # one of two others in the first run, the only one in the second
        ("big", "lora"): (2, 0.5),  # both, and none
        ("small", "lora"): (1, 0.0),
    }, "the failed trial is not counted"
    assert found["big", "lora"]["mean_auc"] == pytest.approx(0.71)
    assert (found["big", "full"]["lowest_auc"], found["big", "full"]["highest_auc"]) == (0.66, 0.7)


def cells_table(*rows):
    columns = ("run", "backbone", "auc", "vessel_ratio")
    cells = pl.DataFrame(rows, schema=columns, orient="row")
    return cells.with_columns(strategy=pl.lit("lora"), status=pl.lit("ok"))


def test_seeds_of_a_run_are_averaged_before_they_are_ranked():
    models = over_runs(cells_table(("a", "x", 0.9, 1.0), ("a", "x", 0.5, 2.0), ("a", "y", 0.8, 1.0)))
    assert models.select("backbone", "mean_beaten", "mean_auc").rows() == [("y", 1.0, 0.8), ("x", 0.0, 0.7)]


def test_equals_have_half_of_each_other_and_who_is_alone_has_no_place():
    models = over_runs(cells_table(("a", "x", 0.7, 1.0), ("a", "y", 0.7, 1.0), ("b", "z", 0.9, 1.0)))
    assert models.select("backbone", "mean_beaten").rows() == [("x", 0.5), ("y", 0.5), ("z", None)]


def test_a_mean_says_over_how_many_runs_it_is():
    models = over_runs(cells_table(("a", "x", 0.7, 1.5), ("b", "x", 0.6, None), ("c", "x", None, None)))
    assert models.select("n_runs", "mean_auc", "n_runs_ratio", "mean_vessel_ratio").rows() == [
        (2, pytest.approx(0.65), 1, 1.5)
    ]


def test_runs_with_the_same_patients_are_named():
    a, b, c = (
        results_of(patients=patients, big__lora=auc) for patients, auc in (("ab", 0.6), ("ab", 0.7), ("cd", 0.8))
    )
    other, paired = (
        "Patients of different cohorts are not a sample of one population",
        "<code>compare</code>, which pairs the patients",
    )
    page = page_of({"one": a, "two": b, "three": c})
    assert f"one and two tested the same patients: compare them with {paired}" in page
    assert other in page
    page = page_of({"one": a, "two": b})
    assert "one and two tested the same patients" in page
    assert other not in page
    page = page_of({"one": a, "three": c})
    assert "No two runs tested exactly the same patients." in page
    assert other in page
    alone = page_of({"one": a})
    assert "same patients:" not in alone
    assert other not in alone


def test_notices_are_above_the_page_with_the_names_of_their_runs():
    untrained = "Backbones are untrained."
    runs = {
        "drawn": results_of(
            cohort="synthetic", patients="ab", weights={"big": None, "small": None}, notices=[untrained], big__lora=0.8
        ),
        "taken": results_of(
            patients="cd",
            weights={"big": None, "small": {"sha256": "0"}},
            notices=[untrained, "Mind the <veins>."],
            big__lora=0.7,
        ),
        "sound": results_of(patients="ef", weights={"big": {"sha256": "0"}}, big__lora=0.6),
    }
    page = page_of(runs)
    notices = page[page.index("<aside") : page.index("<main")]
    for names, notice in (("drawn and taken", untrained), ("taken", "Mind the &lt;veins&gt;.")):
        assert f"<strong>{names}:</strong> {notice}" in notices
    assert "sound" not in notices
    table = page[page.index('id="table-runs"') :]
    rows = [re.findall(r'<td class="named">(.*?)</td>', row) for row in table.split("<tr>")[2:]]
    assert rows == [["synthetic", "all"], ["lab_a.csv", "big"], ["lab_a.csv", "none"]]


def test_runs_that_share_a_caution_share_its_line():
    runs = {name: results_of(patients=name, notices=["Mind."], big__lora=0.8) for name in ("a", "b", "c")}
    assert [names for names, _ in notices(runs)] == ["a, b and c"]


def test_a_notice_leads_to_the_section_on_the_page_of_its_run(tmp_path):
    """This page has no such section."""
    notice = "Masks look wrong (see “How it was made”, not “anything else”)."
    files = [
        written(tmp_path / "lab a", results_of("first", patients="a", notices=[notice], big__lora=0.8)),
        written(tmp_path / "b", results_of("second <i>", patients="b", notices=[notice], big__lora=0.8)),
    ]
    (files[0] / "leaderboard.html").write_text("", encoding="utf-8")
    page = " ".join(write_overview(files, tmp_path / "over").read_text(encoding="utf-8").split())
    link = "<a href='../lab%20a/leaderboard.html#facts'>first</a>"
    assert f"(see “How it was made” on the page of {link} and second &lt;i&gt;, not “anything else”)." in page
    assert '<th scope="row" class="named"><a href="../lab%20a/leaderboard.html">first</a></th>' in page


def test_nothing_to_know_takes_no_place():
    assert "<aside" not in page_of({"sound": results_of(weights={"big": {"sha256": "0"}}, big__lora=0.6)})


def test_forests_side_by_side_have_one_axis():
    page = page_of({"low": results_of(patients="ab", big__lora=0.4), "high": results_of(patients="cd", big__lora=0.9)})
    charts = re.findall(r"<svg[^>]*role=.*?</svg>", page)
    ticks = [re.findall(r">(\d\.?\d*)<", chart) for chart in charts]
    assert len(charts) == 2
    assert ticks[0] == ticks[1] != []


def test_page_and_tables_are_written(files, tmp_path):
    page = write_overview(files, tmp_path / "new" / "overview")
    text = page.read_text(encoding="utf-8").replace("<wbr>", "")
    assert {file.name for file in page.parent.iterdir()} == {"overview.html", "cells.csv", "models.csv"}
    for expected in ("0.800", "0.750–0.840", "lab_b.csv", "train: out of memory", "AUC in each run"):
        assert expected in text
    assert text.count('role="img"') == 2, "one forest per run"
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", ""), "nothing is loaded"


def test_text_of_other_labs_is_never_markup():
    runs = {ATTACK: results_of(cohort=ATTACK, **{f"{ATTACK}__lora": 0.8, f"{ATTACK}__full": None})}
    cells = cells_of_runs(runs)
    assert ATTACK not in render(runs, cells, over_runs(cells))


def test_the_same_run_twice_is_refused(files):
    with pytest.raises(UserError, match=r"lab_a.* the same run is named twice"):
        read_runs([files[0], files[0] / "results.json"])


def test_a_trial_that_is_not_shown_to_predict_is_marked():
    lab = results_of(big__lora=0.53, big__full=0.8)
    first, second = lab.trials
    trials = [first.model_copy(update={"predicts": False}), second.model_copy(update={"predicts": True})]
    page = page_of({"lab": lab.model_copy(update={"trials": trials})})
    assert page.count("†</sup>") == 1
    assert "† Not shown to predict better than chance" in page
    assert "†" not in page_of({"lab": lab}), "results of an earlier program do not have it"
