"""The results of a study with folds."""

import json

from benchmark.report.results_of_folds import (
    comparisons_of_folds,
    cross_validation_result,
    fold_methods,
    seeds_of_folds,
    trial_results_of_folds,
)
from tests.benchmark.folded import SPLITS, TRIALS, board_of, write_folds


def test_results_have_every_number_with_its_method(tmp_path):
    board = board_of(*write_folds(tmp_path))
    methods = fold_methods(0.95)
    trials, result = trial_results_of_folds(board), cross_validation_result(board, SPLITS)
    assert (result.folds, result.repeats, len(result.by_fold)) == (3, 2, 24)
    row = board.cross_validated.row(0, named=True)
    first = trials[0].measures["auc"]
    assert (first.value, first.low, first.high, first.n) == (row["auc"], row["auc_low"], row["auc_high"], 96)
    pairs = comparisons_of_folds(board)
    assert [pair.difference.value for pair in pairs] == board.comparisons["difference"].to_list()
    numbers = [*(m for trial in trials for m in trial.measures.values()), *(pair.difference for pair in pairs)]
    numbers += [m for fold in result.by_fold for m in fold.measures.values()]
    numbers += [each.mean for each in seeds_of_folds(board)] + [each.difference for each in result.corrected]
    numbers += [each.of_one for each in result.variance]
    assert {number.method for number in numbers if number.method} == set(methods)
    json.loads(result.model_dump_json())


def test_a_failed_trial_has_its_reason_and_no_numbers(tmp_path):
    directory, folds = write_folds(tmp_path)
    directory.fold("r1-f1").trial(TRIALS[0]).failure.write_text("train: broken")
    board = board_of(directory, folds)
    failed = [trial for trial in trial_results_of_folds(board) if trial.status != "ok"]
    assert [(trial.status, trial.measures) for trial in failed] == [("r1-f1: train: broken", {})]
    by_fold = cross_validation_result(board, SPLITS).by_fold
    assert [fold.status for fold in by_fold if not fold.measures] == ["train: broken"]
