"""The tables of a study with folds, from trial files written by hand."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, recall_score, roc_auc_score

from benchmark.analysis.comparisons import SEEDS_SCHEMA
from benchmark.analysis.cross_validation import (
    COMPARED,
    CROSS_VALIDATED_SCHEMA,
    FOLDS_SCHEMA,
    MEASURES,
    PAIRS_SCHEMA,
    VARIANCE_SCHEMA,
)
from stats.operating import best_f1_threshold
from tests.benchmark.folded import TRIALS, board_of, write_folds


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_folds(tmp_path_factory.mktemp("folds"))


@pytest.fixture(scope="module")
def board(run):
    return board_of(*run)


def predictions(run, trial):
    """Of each fold: (validation, test) tables."""
    directory, folds = run
    tables = [pl.read_parquet(directory.fold(fold.name).trial(trial).predictions) for fold in folds]
    return [(table.filter(split="val"), table.filter(split="test")) for table in tables]


def row_of(table, trial, **others):
    names = {"backbone": trial.backbone.name, "strategy": trial.strategy.name, "seed": trial.seed}
    return table.filter(**names, **others).row(0, named=True)


def test_the_tables_have_their_columns_and_rows(board):
    schemas = {
        "folds": FOLDS_SCHEMA,
        "cross_validated": CROSS_VALIDATED_SCHEMA,
        "comparisons": PAIRS_SCHEMA,
        "seeds": SEEDS_SCHEMA,
        "variance": VARIANCE_SCHEMA,
    }
    for name, table in board.tables().items():
        assert dict(table.schema) == schemas[name], name
    assert len(board.folds) == 4 * 6
    assert len(board.comparisons) == 6 * len(COMPARED)
    assert board.cross_validated["strategy"].to_list() == ["lora", "lora", "classifier_only", "classifier_only"]
    row = board.cross_validated.row(0, named=True)
    assert (row["n_folds"], row["n_repeats"], row["n_images"], row["n_patients"]) == (6, 2, 96, 48)
    assert (row["n_positive_patients"], row["n_negative_patients"]) == (24, 24)
    assert row["auc_lowest_fold"] < row["auc"] < row["auc_highest_fold"]
    for name in MEASURES:
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name


@pytest.mark.parametrize("trial", TRIALS[1:3], ids=lambda trial: trial.name)
def test_measures_are_scikit_learns_averaged_over_folds(run, board, trial):
    found = {name: [] for name in ("auc", "sensitivity", "specificity", "brier")}
    for validation, test in predictions(run, trial):
        threshold = best_f1_threshold(validation["label"].to_numpy(), validation["score"].to_numpy())
        labels, scores = test["label"].to_numpy(), test["score"].to_numpy()
        found["auc"].append(roc_auc_score(labels, scores))
        found["sensitivity"].append(recall_score(labels, scores >= threshold))
        found["specificity"].append(recall_score(1 - labels, scores < threshold))
        found["brier"].append(brier_score_loss(labels, scores))  # as many positive as negative images are trained on
    row = row_of(board.cross_validated, trial)
    for name, values in found.items():
        assert row[name] == pytest.approx(np.mean(values)), name
    first = row_of(board.folds, trial, repeat=1, fold=1)
    assert [first[name] for name in found] == pytest.approx([values[0] for values in found.values()])


def test_scores_of_different_models_are_not_ranked_together(run):
    """Adding a constant to the scores of one fold changes nothing."""
    directory, folds = run
    before = board_of(directory, folds, TRIALS[:1]).cross_validated.row(0, named=True)
    file = directory.fold(folds[0].name).trial(TRIALS[0]).predictions
    table = pl.read_parquet(file)
    table.with_columns(pl.col("score") / 100).write_parquet(file)
    after = board_of(directory, folds, TRIALS[:1]).cross_validated.row(0, named=True)
    table.write_parquet(file)
    assert (after["auc"], after["auc_low"]) == pytest.approx((before["auc"], before["auc_low"]))


def test_pairs_have_both_tests(board):
    both = board.comparisons.filter(measure="auc", strategy_a="classifier_only", strategy_b="lora")
    assert len(both) == 4
    for row in both.to_dicts():
        assert row["low"] < row["difference"] < row["high"] < 0
        assert row["p_value"] < 0.05
        assert row["p_value"] < row["corrected_p"] <= row["corrected_p_holm"]
        assert row["corrected_low"] < row["difference"] < row["corrected_high"]
        assert row["p_holm"] >= row["p_value"]
        assert (row["n_folds"], row["n_patients"]) == (6, 48)


def test_the_variance_has_a_source_for_every_row(board):
    of_auc = board.variance.filter(measure="auc")
    assert of_auc["source"].unique(maintain_order=True).to_list() == ["patients", "seeds", "splits", "rest", "total"]
    assert len(of_auc) == 5 * 3, "two cells, and both together"
    pooled = of_auc.filter(pl.col("backbone").is_null())
    assert pooled["n_cells"].to_list() == [2] * 5
    assert pooled.filter(pl.col("source") != "total")["share"].sum() == pytest.approx(1)
    total = pooled.filter(source="total").row(0, named=True)
    assert total["variance"] == pytest.approx(pooled.filter(pl.col("source") != "total")["variance"].sum())
    assert 0 < total["sd_of_mean"] < total["sd"]


def test_seeds_have_a_mean_with_an_interval(board):
    found = board.seeds.filter(measure="auc", strategy="lora").row(0, named=True)
    each = board.cross_validated.filter(strategy="lora")["auc"]
    assert found["mean"] == pytest.approx(each.mean())
    assert found["sd"] == pytest.approx(each.std())
    assert found["low"] < found["mean"] < found["high"]


def test_a_trial_that_failed_in_one_fold_has_the_reason_and_leaves_the_others_alone(tmp_path):
    directory, folds = write_folds(tmp_path)
    whole = board_of(directory, folds)
    failure = directory.fold("r2-f1").trial(TRIALS[0]).failure
    failure.write_text("train: out of memory\n")
    board = board_of(directory, folds)
    assert row_of(board.cross_validated, TRIALS[0])["status"] == "r2-f1: train: out of memory"
    assert row_of(board.cross_validated, TRIALS[0])["auc"] is None
    assert row_of(board.folds, TRIALS[0], repeat=2, fold=1)["status"] == "train: out of memory"
    assert row_of(board.folds, TRIALS[0], repeat=2, fold=2)["auc"] is not None
    assert row_of(board.cross_validated, TRIALS[3])["auc"] == row_of(whole.cross_validated, TRIALS[3])["auc"]
    pooled = board.variance.filter(pl.col("backbone").is_null(), measure="auc")
    assert pooled["n_cells"][0] == 1, "the cell with both seeds"


def test_no_trial_at_all(tmp_path):
    directory, folds = write_folds(tmp_path)
    for fold in folds:
        directory.fold(fold.name).trial(TRIALS[0]).saliency.unlink()
    board = board_of(directory, folds, TRIALS[:1])
    assert board.cross_validated["status"].to_list() == ["r1-f1: not finished"]
    assert board.comparisons.is_empty() and board.variance.is_empty()
