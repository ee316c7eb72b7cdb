"""Many runs on one page, from results written by hand."""

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.overview import CELLS_SCHEMA, cells_of_runs, over_runs, read_runs, render, write_overview
from tests.benchmark.lab_results import results_of
from tests.benchmark.page_content import ATTACK


@pytest.fixture
def files(tmp_path):
    """Two labs with the same study's name: the second lacks one cell, and another failed there."""
    runs = [
        results_of(big__lora=0.8, big__full=0.7, small__lora=0.6),
        results_of(cohort="lab_b.csv", big__lora=0.62, big__full=0.66, small__full=None),
    ]
    paths = []
    for number, results in enumerate(runs):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "results.json").write_text(results.model_dump_json(), encoding="utf-8")
        paths.append(folder)
    return [paths[0], paths[1] / "results.json"]  # a run directory, and a file alone


def test_every_cell_of_every_run_with_its_numbers(files):
    runs = read_runs(files)
    cells = cells_of_runs(runs)
    assert list(runs) == ["carotid", "carotid (2)"], "two studies of one name stay apart"
    assert cells.columns == list(CELLS_SCHEMA)
    assert cells["auc"].to_list() == [0.8, 0.7, 0.6, 0.62, 0.66, None]
    assert cells.row(3, named=True) | {"f1": None} == dict.fromkeys(CELLS_SCHEMA) | {
        "run": "carotid (2)", "cohort": "lab_b.csv", "backbone": "big", "strategy": "lora", "seed": 0,
        "n_images": 80, "n_people": 40, "auc": 0.62, "auc_low": 0.57, "auc_high": 0.66,
        "vessel_ratio": 1.62, "vessel_ratio_low": 0.62, "vessel_ratio_high": 2.62, "status": "ok",
    }  # fmt: skip


def test_ranks_are_within_runs_and_say_over_how_many(files):
    models = over_runs(cells_of_runs(read_runs(files)))
    found = {(row["backbone"], row["strategy"]): row for row in models.to_dicts()}
    assert {key: (row["n_runs"], row["mean_rank"]) for key, row in found.items()} == {
        ("big", "lora"): (2, 1.5),
        ("big", "full"): (2, 1.5),
        ("small", "lora"): (1, 3.0),
    }, "the failed cell takes no part"
    assert found["big", "lora"]["mean_auc"] == pytest.approx(0.71)
    assert (found["big", "full"]["lowest_auc"], found["big", "full"]["highest_auc"]) == (0.66, 0.7)


def test_seeds_of_a_run_are_averaged_before_they_are_ranked():
    cells = pl.DataFrame(
        {
            "run": ["a"] * 3,
            "backbone": ["x", "x", "y"],
            "strategy": ["lora"] * 3,
            "auc": [0.9, 0.5, 0.8],
            "vessel_ratio": [1.0, 2.0, 1.0],
            "status": ["ok"] * 3,
        }
    )
    models = over_runs(cells)
    assert models.select("backbone", "mean_rank", "mean_auc").rows() == [("y", 1.0, 0.8), ("x", 2.0, 0.7)]


def test_page_and_tables_are_written(files, tmp_path):
    page = write_overview(files, tmp_path / "new" / "overview")
    text = page.read_text(encoding="utf-8").replace("<wbr>", "")
    assert {file.name for file in page.parent.iterdir()} == {"overview.html", "cells.csv", "models.csv"}
    for said in ("0.800", "0.750–0.840", "lab_b.csv", "train: out of memory", "AUC in each run"):
        assert said in text
    assert text.count('role="img"') == 2, "a forest a run"
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", ""), "nothing is loaded"


def test_text_of_other_labs_is_never_markup():
    runs = {ATTACK: results_of(cohort=ATTACK, **{f"{ATTACK}__lora": 0.8, f"{ATTACK}__full": None})}
    cells = cells_of_runs(runs)
    assert ATTACK not in render(runs, cells, over_runs(cells))


def test_the_same_run_twice_is_refused(files):
    with pytest.raises(UserError, match=r"run0.* the same run is named twice"):
        read_runs([files[0], files[0] / "results.json"])
