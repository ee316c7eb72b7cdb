"""Conclusions and cautions from leaderboards made by hand."""

import dataclasses

import polars as pl
import pytest

from benchmark.analysis.leaderboard import Leaderboard
from benchmark.analysis.planted import compare_with_truth
from benchmark.report.conclusions import cautions, conclusions, planted_found, risk_stated
from benchmark.synthetic import SyntheticCohort
from tests.benchmark import page_content

AVERAGED = [
    "Strategies, averaged over backbones: the highest AUC is 0.553 (partial); the other differs significantly from it "
    "(this holds for other patients, these trained models).",
    "Backbones, averaged over strategies: the highest AUC is 0.557 (timm:vit_tiny); 1 of 2 others differs "
    "significantly from it (this holds for other patients, these trained models).",
]


@pytest.fixture
def board():
    return page_content.board()


def changed(board: Leaderboard, **columns) -> Leaderboard:
    return dataclasses.replace(board, trials=board.trials.with_columns(**columns))


AGAINST = "AUC against 0.5, adjusted for 8 trials"
FALLS = "the AUC falls without vessels, and falls more than when as much is painted out elsewhere"


def test_cells_that_predict_and_depend_on_vessels(board):
    assert conclusions(board) == [
        f"All 8 trials are shown to predict better than chance ({AGAINST}).",
        f"Of the 8 trials that predict and were tested without vessels, 8 are shown to depend on them: {FALLS}.",
        "The highest AUC of these trained models is 0.800 (openclip-tiny, classifier_only); 4 of 7 others differ "
        "significantly from it.",
        "Of the 7 other trials, 3 are equivalent to the highest (AUC within 0.03); for 2, neither a difference nor "
        "equivalence is shown.",
        "The highest of 8 AUCs, 0.800, is too high on average, because it was selected for being the highest; "
        "corrected for this selection, it is 0.783.",
        *AVERAGED,
    ]


def test_nothing_is_made_of_models_that_learned_nothing(board):
    """The sentence says that no trial is shown to predict, not that no trial predicts."""
    chance = changed(board, predicts=pl.lit(False), tied_best=pl.lit(True))
    assert conclusions(chance)[:3] == [
        f"No trial is shown to predict better than chance ({AGAINST}).",
        "Vessel ratios are hard to interpret: an untrained model can also highlight vessels.",
        "Among these trained models, no AUC differs significantly from the highest.",
    ]


def test_one_that_predicts(board):
    best = pl.col("rank") == 1
    one = changed(board, predicts=best, tied_best=best)
    assert conclusions(one)[:4] == [
        f"1 of 8 trials is shown to predict better than chance ({AGAINST}).",
        "The vessel ratios of the 7 trials marked † are hard to interpret: an untrained model can also highlight "
        "vessels.",
        f"The one trial that predicts and was tested without vessels is shown to depend on them: {FALLS}.",
        "The highest AUC of these trained models is 0.800 (openclip-tiny, classifier_only); all 7 others differ "
        "significantly from it.",
    ]
    independent = changed(one, depends=pl.lit(False), above_null=pl.lit(False))
    assert conclusions(independent)[2].endswith("was tested without vessels is not shown to depend on them.")
    unasked = changed(one, depends=pl.lit(None, pl.Boolean))
    assert not any("depend" in sentence for sentence in conclusions(unasked))


def test_one_that_does_not_predict_is_named(board):
    worst = pl.col("rank") == 8
    assert conclusions(changed(board, predicts=~worst))[:2] == [
        f"7 of 8 trials are shown to predict better than chance ({AGAINST}).",
        "The vessel ratio of timm:vit_tiny lora (marked †) is hard to interpret: an untrained model can also highlight "
        "vessels.",
    ]


def test_cells_whose_map_and_erasure_disagree_are_named(board):
    first, second = pl.col("rank") == 1, pl.col("rank") == 2
    mixed = changed(board, depends=~first, above_null=~second)
    assert conclusions(mixed)[2:4] == [
        "Map and erasure do not agree for openclip-tiny classifier_only: the vessel ratio is higher than with other "
        "patients’ vessels, but the model is not shown to depend on the vessels.",
        "Map and erasure do not agree for openclip-tiny partial: the model is shown to depend on the vessels, but the "
        "vessel ratio is not shown to be higher than with other patients’ vessels.",
    ]
    unable = changed(mixed, predicts=~(first | second))
    assert not any("do not agree" in sentence for sentence in conclusions(unable)), "neither ratio can be interpreted"


def test_a_cell_that_painting_misleads_is_named_and_said_to_leave_open_what_it_needs(board):
    first = pl.col("rank") == 1
    sentences = conclusions(changed(board, depends=~first, erased_reversed=first))
    (sentence,) = (sentence for sentence in sentences if "in reverse order" in sentence)
    assert "openclip-tiny classifier_only ranks" in sentence and "not known whether" in sentence
    assert not any("do not agree" in other for other in sentences), "its erasure has no answer to disagree with"


def test_a_perfect_model_is_not_said_to_fail(board):
    """An AUC of 1 has no interval."""
    perfect = changed(board, auc=pl.lit(1.0), predicts=pl.lit(None, pl.Boolean), tied_best=pl.lit(True))
    assert conclusions(perfect)[:2] == [
        "The AUC of all 8 trials has no interval: it is 0 or 1, or one class has too few patients.",
        "Among these trained models, no AUC differs significantly from the highest.",
    ]
    one = changed(board, predicts=pl.when(pl.col("rank") == 1).then(None).otherwise("predicts"))
    assert conclusions(one)[:2] == [
        f"7 of 8 trials are shown to predict better than chance ({AGAINST}).",
        "The AUC of 1 of 8 trials has no interval: it is 0 or 1, or one class has too few patients.",
    ]


def test_cells_of_which_none_is_shown_to_be_equivalent(board):
    unknown = board.comparisons.with_columns(verdict=pl.lit("not known"))
    sentences = conclusions(dataclasses.replace(board, comparisons=unknown))
    assert (
        "Whether any of the 7 other trials is equivalent to the highest (AUC within 0.03) is not known: neither a "
        "difference nor equivalence is shown."
    ) in sentences


def test_a_single_cell(board):
    alone = dataclasses.replace(board, trials=board.trials.head(1), averages=board.averages.clear())
    assert conclusions(alone)[0] == "The trial is shown to predict better than chance (AUC against 0.5)."
    chance = changed(alone, predicts=pl.lit(False))
    assert conclusions(chance)[0] == "The trial is not shown to predict better than chance (AUC against 0.5)."
    assert not any("highest" in sentence.lower() for sentence in conclusions(alone))


def test_cells_are_compared_over_their_seeds_where_there_are_several():
    """Single trainings are not compared, because they differ only by their seeds."""
    board = page_content.board((0, 7))
    (found,) = (sentence for sentence in conclusions(board) if sentence.startswith("Cells"))
    assert found == (
        "Cells, averaged over seeds: the highest AUC is 0.573 (timm:vit_tiny, lora); 1 of 7 others differs "
        "significantly from it (this holds for other patients, other trainings)."
    )
    of_trainings = dataclasses.replace(board, averages=board.averages.filter(pl.col("family") != "cells"))
    assert (
        "The highest AUC of these trained models is 0.800 (openclip-tiny, classifier_only, seed 0)"
        in conclusions(of_trainings)[2]
    )


def test_averages_that_do_not_differ(board):
    alike = dataclasses.replace(board, averages=board.averages.with_columns(group=pl.lit("a")))
    assert conclusions(alike)[-1] == (
        "Backbones, averaged over strategies: the highest AUC is 0.557 (timm:vit_tiny); none of 2 others differs "
        "significantly from it (this holds for other patients, these trained models)."
    )


def test_where_all_failed_nothing_is_said(board):
    failed = dataclasses.replace(board, trials=board.trials.filter(pl.col("status") != "ok"))
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
        "2 of 8 trials have a ratio for less than 80 % of the test images; the fewest are 47 of 1234, where 1184 maps "
        "have no positive value."
    )
    assert outside.startswith("In 1 of 8 trials, more than 20 % of the saliency (up to 86 %) lies outside the field")


def test_few_patients_of_a_class_are_said_first(board):
    few, *others = cautions(changed(board, n_positive_patients=pl.lit(8)))
    assert few.startswith("The test images are from 8 positive patients. With fewer than 10 patients of a class")
    assert not others


def test_heavy_tails_are_named_with_what_to_read_instead(board):
    tails = pl.when(pl.col("rank") <= 2).then(0.21).otherwise("vessel_ratio_fov_skewness")
    (heavy,) = cautions(changed(board, vessel_ratio_fov_skewness=tails))
    assert heavy.startswith("The interval of the vessel ratio is likely too narrow in 2 of 8 trials: ")
    assert "geometric mean" in heavy


def test_what_made_risks_of_scores_is_said(board):
    balanced = "Risks are scores corrected for the balancing of classes in training (-0.73 on the logit scale)"
    assert risk_stated(board).startswith(balanced)
    assert risk_stated(changed(board, risk_intercept=pl.lit(0.0))) == "Risks are the uncorrected scores of the models."
    recalibrated = changed(board, risk_slope=pl.lit(0.8))
    assert risk_stated(recalibrated) == "Risks are scores recalibrated on validation (all 8 trials)."


def found(board: Leaderboard, signal="vessels", best_auc=0.9, effect=1.0, **columns) -> str:
    return planted_found(
        compare_with_truth(
            changed(board, **columns).trials, SyntheticCohort(signal=signal, best_auc=best_auc, effect=effect)
        )
    )


def test_for_how_many_cells_each_measure_names_the_vessels(board):
    """One of eight trials does not predict and is not counted; one has no result of erasure."""
    number = pl.col("rank")
    columns = {
        "predicts": number < 8,
        "depends": pl.when(number != 2).then(number != 1),
        "above_null": number == 8,
        "other_above_null": number < 4,
        "vessel_ratio_fov_low": pl.when(number > 3).then(1.2).otherwise(0.7),
        "vessel_ratio_fov_high": pl.when(number == 1).then(0.9).otherwise(1.3),
    }
    first, second = found(board, **columns), found(board, "periphery", **columns)
    assert first == (
        "The signal is in the arteries. 7 of 8 trials are shown to predict better than chance. "
        "Vessel erasure indicates the vessels for 5 of 6, the vessel permutation test for none of 7, "
        "the permutation test of the other class’s maps for 3 of 7 "
        "and the ratio in the field of view for 4 of 7 (it wrongly indicates another place for 1)."
    )
    assert second == (
        "The signal is in spots of the periphery, away from the vessels. "
        "7 of 8 trials are shown to predict better than chance. "
        "Vessel erasure wrongly indicates the vessels for 5 of 6, the vessel permutation test for none of 7, "
        "the permutation test of the other class’s maps for 3 of 7 "
        "and the ratio in the field of view for 4 of 7 (it rightly indicates another place for 1)."
    )


def test_a_truth_that_no_cell_learned_or_no_measure_was_asked_about(board):
    assert found(board, predicts=pl.lit(False)) == (
        "The signal is in the arteries. No trial is shown to predict better than chance, so no measure is judged: a "
        "model cannot use what it has not learned."
    )
    assert found(board, best_auc=0.5) == (
        "No signal was planted: the best possible AUC is 0.5, so no measure is judged."
    )
    assert found(board, effect=0) == (
        "No signal was planted: severity does not show (effect 0), so no measure is judged."
    )
    one = pl.col("rank") == 1
    nothing = {"depends": None, "above_null": None, "other_above_null": None, "vessel_ratio_fov_low": None}
    unasked = {name: pl.lit(value) for name, value in nothing.items()}
    assert found(board, predicts=one, **unasked) == (
        "The signal is in the arteries. 1 of 8 trials is shown to predict better than chance. No measure has a verdict."
    )
    only_ratio = {name: pl.lit(None) for name in ("depends", "above_null", "other_above_null")}
    assert found(board, predicts=one, **only_ratio).endswith(
        "The ratio in the field of view indicates the vessels for 1 of 1."
    )
