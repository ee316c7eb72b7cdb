"""What is said of a leaderboard, from cells made by hand."""

import dataclasses

import polars as pl
import pytest

from benchmark.conclusions import cautions, conclusions, risk_stated
from benchmark.leaderboard import Leaderboard
from tests.benchmark import page_content

AVERAGED = [
    "Strategies, averaged over backbones: highest AUC partial, 0.553; the other differs significantly (holds for other "
    "patients, these trained models).",
    "Backbones, averaged over strategies: highest AUC timm:vit_tiny, 0.557; 1 of 2 others differs significantly (holds "
    "for other patients, these trained models).",
]


@pytest.fixture
def board():
    return page_content.board()


def changed(board: Leaderboard, **columns) -> Leaderboard:
    return dataclasses.replace(board, cells=board.cells.with_columns(**columns))


def test_cells_that_predict_and_need_vessels(board):
    assert conclusions(board) == [
        "All 8 cells predict better than chance.",
        "Of the 8 that predict and were tried without vessels, 8 need the vessels: without vessels the AUC falls more "
        "than with as much painted elsewhere.",
        "Highest AUC of these trained models: openclip-tiny, classifier_only, 0.800; 4 of 7 others differ "
        "significantly.",
        *AVERAGED,
    ]


def test_nothing_is_made_of_models_that_learned_nothing(board):
    chance = changed(board, auc_low=pl.lit(0.4), tied_best=pl.lit(True))
    assert conclusions(chance) == [
        "None of 8 cells predicts better than chance: the interval of the AUC holds 0.5 or lies below it.",
        "Vessel ratios then say little: a model that has learned nothing can look at vessels, too.",
        "Among these trained models, no AUC differs significantly from the highest.",
        *AVERAGED,
    ]


def test_one_that_predicts(board):
    best = pl.col("rank") == 1
    one = changed(board, auc_low=pl.when(best).then(0.6).otherwise(0.4), tied_best=best)
    assert conclusions(one) == [
        "1 of 8 cells predicts better than chance (interval of the AUC above 0.5).",
        "It needs the vessels: without vessels the AUC falls more than with as much painted elsewhere.",
        "Highest AUC of these trained models: openclip-tiny, classifier_only, 0.800; all 7 others differ "
        "significantly.",
        *AVERAGED,
    ]
    unneeded = changed(one, auc_drop_difference_low=pl.lit(-0.01))
    assert conclusions(unneeded)[1] == "It is not shown to need the vessels."
    unasked = changed(one, auc_drop_difference_low=pl.lit(None, pl.Float64))
    assert len(conclusions(unasked)) == 2 + len(AVERAGED)


def test_a_perfect_model_is_not_said_to_fail(board):
    """An AUC of 1 has no interval."""
    perfect = changed(board, auc=pl.lit(1.0), auc_low=pl.lit(None, pl.Float64), tied_best=pl.lit(True))
    assert conclusions(perfect) == [
        "All 8 cells have no interval of the AUC: it is 0 or 1, or too few people are of one class.",
        "Among these trained models, no AUC differs significantly from the highest.",
        *AVERAGED,
    ]
    one = changed(board, auc_low=pl.when(pl.col("rank") == 1).then(None).otherwise("auc_low"))
    assert conclusions(one)[:2] == [
        "7 of 8 cells predict better than chance (interval of the AUC above 0.5).",
        "1 of 8 cells has no interval of the AUC: it is 0 or 1, or too few people are of one class.",
    ]


def test_a_single_cell(board):
    alone = dataclasses.replace(board, cells=board.cells.head(1))
    assert conclusions(alone)[0] == "The cell predicts better than chance."
    chance = changed(alone, auc_low=pl.lit(0.5))
    assert conclusions(chance)[0].startswith("The cell does not predict better than chance")


def test_cells_are_compared_over_their_seeds_where_there_are_several():
    """And not single trainings, which differ by their seeds alone."""
    board = page_content.board((0, 7))
    said = conclusions(board)[2]
    assert said == (
        "Cells, averaged over seeds: highest AUC timm:vit_tiny, lora, 0.573; 1 of 7 others differs significantly "
        "(holds for other patients, other trainings)."
    )
    of_trainings = dataclasses.replace(board, averages=board.averages.filter(pl.col("family") != "cells"))
    assert (
        "Highest AUC of these trained models: openclip-tiny, classifier_only, seed 0, 0.800"
        in conclusions(of_trainings)[2]
    )


def test_averages_that_do_not_differ(board):
    alike = dataclasses.replace(board, averages=board.averages.with_columns(group=pl.lit("a")))
    assert conclusions(alike)[-1] == (
        "Backbones, averaged over strategies: highest AUC timm:vit_tiny, 0.557; none of 2 others differs significantly "
        "(holds for other patients, these trained models)."
    )


def test_where_all_failed_nothing_is_said(board):
    failed = dataclasses.replace(board, cells=board.cells.filter(pl.col("status") != "ok"))
    assert conclusions(failed) == cautions(failed) == []


def test_cautions(board):
    assert cautions(board) == []
    worst = pl.col("rank") == 8
    doubtful = changed(
        board,
        n_map=pl.when(worst).then(50).otherwise("n_map"),
        n_ratio=pl.when(worst).then(47).when(pl.col("rank") == 7).then(900).otherwise("n_ratio"),
        outside_share=pl.when(worst).then(0.861).otherwise("outside_share"),
    )
    few, outside = cautions(doubtful)
    assert few == (
        "2 of 8 cells have a ratio for less than 80 % of the test images, the least for 47 of 1234 (1184 of its maps "
        "have no positive value)."
    )
    assert outside.startswith("In 1 of 8 cells more than 20 % of the maps, up to 86 %, lie outside the field of view")


def test_what_made_risks_of_scores_is_said(board):
    balanced = "Risks: scores from which the balancing of the classes in training is removed (-0.73 on the logit scale)"
    assert risk_stated(board).startswith(balanced)
    assert risk_stated(changed(board, risk_intercept=pl.lit(0.0))) == "Risks: the scores as the models give them."
    recalibrated = changed(board, risk_slope=pl.lit(0.8))
    assert risk_stated(recalibrated) == "Risks: scores recalibrated on validation (all 8 cells)."
