import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.metrics import confusion, f1
from stats.operating import (
    best_f1_threshold,
    confusion_resampled,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from stats.resamples import PatientResamples, draw_patients

MEASURES = ["sensitivity", "specificity", "ppv", "npv", "balanced_accuracy", "f1"]


@st.composite
def labelled_scores(draw):
    """Labels with both classes and scores on so coarse a grid that ties are common."""
    n = draw(st.integers(2, 30))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))]
    scores = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    return np.array(labels), np.array(scores) / 4


@given(labelled_scores())
def test_best_threshold_is_the_highest_of_all_that_reach_the_best_f1(case):
    labels, scores = case
    tried = {t: f1(labels, scores >= t) for t in np.unique(scores)}
    best = max(tried.values())
    assert best_f1_threshold(labels, scores) == max(t for t, value in tried.items() if value == best)


def test_best_threshold_on_single_precision_scores_calls_the_image_it_came_from():
    scores = np.array([0.1, 0.2, 0.7, 0.9], dtype=np.float32)
    threshold = best_f1_threshold([0, 0, 1, 1], scores)
    assert (scores >= threshold).tolist() == [False, False, True, True]


def test_best_threshold_takes_the_highest_of_equals():
    # At 0.8: tp 1, called 1, positives 2. At 0.2: tp 2, called 4, positives 2. Both 2/3.
    assert best_f1_threshold([1, 0, 0, 1], [0.8, 0.5, 0.4, 0.2]) == 0.8


def test_best_threshold_needs_a_positive():
    with pytest.raises(ValueError, match="no label is positive"):
        best_f1_threshold([0, 0], [0.1, 0.2])


@given(labelled_scores(), st.sampled_from([0.05, 1 / 3, 0.5, 0.8, 0.9, 1.0]))
def test_thresholds_at_a_target_are_the_best_of_all(case, target):
    labels, scores = case
    tried = {t: confusion(labels, scores >= t) for t in (*np.unique(scores), np.inf)}

    best = max((c.specificity, c.sensitivity) for c in tried.values() if c.sensitivity >= target)
    chosen = tried[threshold_at_sensitivity(labels, scores, target)]
    assert (chosen.specificity, chosen.sensitivity) == best

    best = max((c.sensitivity, c.specificity) for c in tried.values() if c.specificity >= target)
    chosen = tried[threshold_at_specificity(labels, scores, target)]
    assert (chosen.sensitivity, chosen.specificity) == best


def test_thresholds_by_hand():
    labels = [1, 0, 1, 1, 0, 1, 1, 0, 0, 0]
    scores = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    # At 0.5 four of five positives are called; 0.4 calls the fifth as well without a false positive.
    assert threshold_at_sensitivity(labels, scores, 0.8) == 0.4
    assert threshold_at_sensitivity(labels, scores, 0.6) == 0.7
    assert threshold_at_specificity(labels, scores, 0.8) == 0.7
    # All thresholds from 0.4 down to 0.1 call all positives; 0.4 has the fewest false positives.
    assert threshold_at_specificity(labels, scores, 0.1) == 0.4


def test_calling_nothing_may_be_all_that_reaches_a_specificity():
    assert threshold_at_specificity([0, 1, 0], [0.9, 0.5, 0.1], 0.9) == math.inf
    assert threshold_at_specificity([0, 1], [0.5, 0.5], 0.9) == math.inf


@pytest.mark.parametrize("choose", [threshold_at_sensitivity, threshold_at_specificity])
def test_a_share_given_in_decimals_is_reached_exactly(choose):
    """4 of 5 and 9 of 10: rounding does not shift the threshold by one image."""
    for n in (5, 10, 20, 50):
        labels, scores = np.repeat([0, 1], n), np.tile(np.arange(n), 2) + np.repeat([0, 0.5], n)
        for target in (0.8, 0.9):
            table = confusion(labels, scores >= choose(labels, scores, target))
            reached = table.sensitivity if choose is threshold_at_sensitivity else table.specificity
            assert reached == math.ceil(round(n * target, 9)) / n


@pytest.mark.parametrize("choose", [threshold_at_sensitivity, threshold_at_specificity])
@pytest.mark.parametrize(
    ("labels", "scores", "target", "message"),
    [
        ([0, 0], [0.1, 0.2], 0.8, "only one class"),
        ([1, 1], [0.1, 0.2], 0.8, "only one class"),
        ([0, 1], [0.1, np.nan], 0.8, "NaN at position 1"),
        ([0, 1], [0.1, np.inf], 0.8, "infinite"),
        ([0, 1, 1], [0.1, 0.2], 0.8, "same length"),
        ([0, 1], [0.1, 0.2], 80, "at most 1, got 80"),
        ([0, 1], [0.1, 0.2], 0, "above 0"),
    ],
)
def test_what_no_threshold_can_be_chosen_on(choose, labels, scores, target, message):
    with pytest.raises(ValueError, match=message):
        choose(labels, scores, target)


def test_resampled_tables_are_those_of_the_repeated_rows():
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(8), [1, 2, 3, 1, 2, 2, 1, 1])
    labels, predicted = rng.integers(0, 2, (2, len(patients)))
    resamples = draw_patients(patients, labels, resamples=200, seed=0)
    tables = confusion_resampled(labels, predicted, resamples)
    for position, counts in enumerate(resamples.counts):
        rows = np.repeat(np.arange(len(patients)), counts[resamples.patient_of_image])
        table = confusion(labels[rows], predicted[rows])
        for measure in MEASURES:
            value = getattr(tables, measure)[position]
            assert value == pytest.approx(getattr(table, measure), abs=1e-15, nan_ok=True)


def test_a_measure_is_undefined_only_where_nothing_is_in_its_denominator():
    # Resamples: all images; only the positive that is called; only the negative.
    resamples = PatientResamples(np.array([[1, 1], [2, 0], [0, 2]], np.uint8), np.array([0, 1]))
    tables = confusion_resampled([1, 0], [1, 0], resamples)
    np.testing.assert_array_equal(tables.sensitivity, [1, 1, np.nan])
    np.testing.assert_array_equal(tables.specificity, [1, np.nan, 1])
    np.testing.assert_array_equal(tables.balanced_accuracy, [1, np.nan, np.nan])
    np.testing.assert_array_equal(tables.ppv, [1, 1, np.nan])
    np.testing.assert_array_equal(tables.npv, [1, np.nan, 1])


def test_other_images_than_those_resampled_are_refused():
    resamples = draw_patients(["a", "b", "c"], [0, 1, 1], resamples=5, seed=0)
    with pytest.raises(ValueError, match="resampled_images has 3"):
        confusion_resampled([0, 1], [0, 1], resamples)
