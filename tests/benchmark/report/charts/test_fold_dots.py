"""The chart of every trial in every fold."""

import re

import polars as pl

from benchmark.report.charts.fold_dots import fold_dots
from tests.benchmark.folded import board_of, write_folds


def test_every_mark_says_its_numbers_and_names_its_trial(tmp_path):
    board = board_of(*write_folds(tmp_path))
    chart = fold_dots(board.cross_validated, board.folds)
    titles = re.findall(r"<title>(.*?)</title>", chart.svg)
    for row in board.folds.to_dicts():
        said = f"repeat {row['repeat']}, fold {row['fold']}: AUC {row['auc']:.3f}"
        name = f"{row['backbone']}, {row['strategy']}, seed {row['seed']}"
        assert any(title.startswith(f"{name}: {said}") for title in titles)
    best = board.cross_validated.row(0, named=True)
    assert any(f"mean AUC over 6 folds {best['auc']:.3f}" in title for title in titles)
    assert len(set(re.findall(r'data-cell="(.*?)"', chart.svg))) == 4


def test_without_a_complete_trial_there_is_no_chart(tmp_path):
    board = board_of(*write_folds(tmp_path))
    nothing = board.cross_validated.with_columns(auc=pl.lit(None, pl.Float64))
    assert fold_dots(nothing, board.folds) is None
