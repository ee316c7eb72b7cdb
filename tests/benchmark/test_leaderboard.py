"""Leaderboard rows from trial files written by hand."""

import numpy as np
import polars as pl
import pytest

from benchmark.cells import Cell
from benchmark.config import BackboneChoice, Statistics, StrategyChoice
from benchmark.leaderboard import CORRELATION_SCHEMA, SCHEMA, build
from benchmark.rundir import RunDirectory, write_parquet
from xai.measures import VESSEL_MEASURES
from xai.saliency import MEANS, RATIOS

SETTINGS = Statistics(resamples=400)


def cell(strategy, seed=0):
    return Cell(BackboneChoice(name="dinov2-tiny"), StrategyChoice(name=strategy), seed)


@pytest.fixture
def directory(tmp_path):
    """40 people with two test images each, and 20 validation images."""
    people = [f"p{i // 2}" for i in range(80)] + [f"v{i}" for i in range(20)]
    labels = [i // 2 % 2 for i in range(80)] + [i % 2 for i in range(20)]
    cohort = pl.DataFrame(
        {
            "image": [f"{i}.png" for i in range(100)],
            "patient_id": people,
            "label": labels,
            "split": ["test"] * 80 + ["val"] * 20,
            "row": range(100),
        }
    )
    directory = RunDirectory(tmp_path)
    write_parquet(directory.cohort, cohort)
    return directory


def write_trial(directory, which, strength, ratio, seed=0):
    """A trial whose scores follow the label with a strength, and whose ratios scatter around `ratio`."""
    generator = np.random.default_rng(seed)
    cohort = pl.read_parquet(directory.cohort)
    scores = 1 / (1 + np.exp(-(strength * (cohort["label"].to_numpy() - 0.5) + generator.normal(size=len(cohort)))))
    folder = directory.trial(which)
    predictions = cohort.select("image", "patient_id", "label", pl.Series("score", scores), "split")
    write_parquet(folder.predictions, predictions.sample(fraction=1, shuffle=True, seed=1))
    test = cohort.filter(pl.col("split") == "test").select("image", "patient_id")
    values = {name: np.ones(len(test)) for name in MEANS}
    values |= {name: ratio + 0.1 * generator.normal(size=len(test)) for name in RATIOS}
    values |= {f"{name}_raw": values[name] for name in VESSEL_MEASURES}
    saliency = test.with_columns(**values)
    saliency = saliency.with_columns(
        pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise(pl.col(RATIOS)).name.keep()
    )
    write_parquet(folder.saliency, saliency)
    return predictions, saliency


def test_rows_columns_and_order(directory):
    cells = [cell("classifier_only"), cell("partial"), cell("lora"), cell("full")]
    write_trial(directory, cells[0], strength=0.2, ratio=1.0)
    write_trial(directory, cells[1], strength=3.0, ratio=1.3)
    directory.trial(cells[2]).path.mkdir(parents=True)
    directory.trial(cells[2]).failure.write_text("train: out of memory\n")
    board = build(directory, cells, SETTINGS)
    assert board.cells.columns == list(SCHEMA)
    assert board.cells["strategy"].to_list() == ["partial", "classifier_only", "full", "lora"]
    assert dict(board.cells.select("strategy", "status").iter_rows()) == {
        "partial": "ok",
        "classifier_only": "ok",
        "lora": "train: out of memory",
        "full": "not finished",
    }
    best = board.cells.row(0, named=True)
    assert (best["n_images"], best["n_patients"], best["n_positive"], best["n_ratio"]) == (80, 40, 40, 75)
    for name in ("auc", "f1", *RATIOS):
        assert best[f"{name}_low"] <= best[name] <= best[f"{name}_high"]
    assert best["auc_high"] <= 1
    assert board.correlation.columns == list(CORRELATION_SCHEMA)
    assert board.correlation["n_cells"].to_list() == [2, 2, 2]
    assert board.correlation["rho"].is_null().all(), "two cells have no rank correlation worth a number"


def test_ratio_is_the_mean_of_the_images_that_have_one(directory):
    which = cell("lora")
    _, saliency = write_trial(directory, which, strength=1.0, ratio=1.2)
    row = build(directory, [which], SETTINGS).cells.row(0, named=True)
    assert row["artery_ratio"] == pytest.approx(np.mean([v for v in saliency["artery_ratio"] if v is not None]))


def test_interval_is_over_people_not_images(directory):
    """Two identical images a person carry one person's information: the interval must not shrink."""
    which = cell("lora")
    cohort = pl.read_parquet(directory.cohort)
    write_trial(directory, which, strength=1.0, ratio=1.2)
    folder = directory.trial(which)
    twins = (
        pl.read_parquet(folder.predictions)
        .join(cohort.select("image", "row"), on="image")
        .sort("row")
        .with_columns(pl.col("score").first().over("patient_id"))
        .drop("row")
    )
    write_parquet(folder.predictions, twins)
    both = build(directory, [which], SETTINGS).cells.row(0, named=True)
    write_parquet(directory.cohort, cohort.unique("patient_id", keep="first", maintain_order=True))
    write_parquet(folder.predictions, twins.unique("patient_id", keep="first", maintain_order=True))
    one = build(directory, [which], SETTINGS).cells.row(0, named=True)
    assert both["auc"] == pytest.approx(one["auc"])
    assert both["auc_high"] - both["auc_low"] == pytest.approx(one["auc_high"] - one["auc_low"], abs=1e-9)


def test_correlation_over_cells(directory):
    cells = [cell("classifier_only", seed) for seed in range(4)]
    for number, which in enumerate(cells):
        write_trial(directory, which, strength=number, ratio=1 + number / 2, seed=number)
    found = build(directory, cells, SETTINGS).correlation.row(0, named=True)
    assert (found["performance"], found["explainability"]) == ("auc", "vessel_ratio")
    assert found["rho"] == pytest.approx(1)
    assert found["p_value"] == pytest.approx(2 / 24)
    assert found["rho_low"] <= found["rho"] <= found["rho_high"]
    assert found["method"] == "exact permutation"
