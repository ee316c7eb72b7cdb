import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from stats.decision import decision_bands, decision_curve
from stats.metrics import confusion

THRESHOLDS = np.array([0.05, 0.2, 0.5, 0.9])


def cohort(n, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.random(n).round(1)
    return (rng.random(n) < probabilities).astype(int), probabilities


def test_net_benefit_by_hand():
    # At 0.25 a false positive costs 1/3: the model treats 2 true and 1 false of 5, everyone 2 and 3.
    curve = decision_curve([1, 1, 0, 0, 0], [0.9, 0.25, 0.6, 0.1, 0.2], [0.25, 0.5])
    np.testing.assert_allclose(curve.model, [(2 - 1 / 3) / 5, 0], atol=1e-15)
    np.testing.assert_allclose(curve.treat_all, [(2 - 3 / 3) / 5, -1 / 5], atol=1e-15)


def test_net_benefit_is_that_of_the_counts():
    labels, probabilities = cohort(300)
    curve = decision_curve(labels, probabilities, THRESHOLDS)
    for threshold, model, treat_all in zip(THRESHOLDS, curve.model, curve.treat_all, strict=True):
        for value, treated in ((model, probabilities >= threshold), (treat_all, np.ones(300))):
            table = confusion(labels, treated)
            expected = (table.tp - table.fp * threshold / (1 - threshold)) / 300
            assert value == pytest.approx(expected, abs=1e-12)


def test_certain_probabilities_are_treating_all_none_or_the_right_ones():
    labels, _ = cohort(50)
    everyone = decision_curve(labels, np.ones(50), THRESHOLDS)
    np.testing.assert_array_equal(everyone.model, everyone.treat_all)
    assert (decision_curve(labels, np.zeros(50), THRESHOLDS).model == 0).all()
    np.testing.assert_allclose(decision_curve(labels, labels, THRESHOLDS).model, labels.mean(), atol=1e-15)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(any), min_size=1, max_size=6))
def test_calibrated_probabilities_never_lose_to_treating_all_or_none(groups):
    """If the probability of every group is its share of positives."""
    labels = np.concatenate([[1] * yes + [0] * no for yes, no in groups])
    probabilities = np.concatenate([[yes / (yes + no)] * (yes + no) for yes, no in groups])
    curve = decision_curve(labels, probabilities, THRESHOLDS)
    assert (curve.model >= np.maximum(curve.treat_all, 0) - 1e-12).all()


def test_treating_all_breaks_even_at_the_prevalence():
    labels = np.arange(100) < 30
    assert decision_curve(labels, np.ones(100), [0.3]).treat_all[0] == pytest.approx(0, abs=1e-15)


def by_hand(gained, lost, n, z=1.96):
    """Interval of the weighted share of the first minus that of the second, by the formulas of Wilson and MOVER."""
    parts = []
    for weight, share in (gained, lost):
        score = score_interval(share, n, z)
        parts.append((weight * share, weight * score[0], weight * score[1]))
    (a, a_low, a_high), (b, b_low, b_high) = parts
    p, q = gained[1], lost[1]
    r = -math.sqrt(p * q / ((1 - p) * (1 - q)))
    low = a - b - math.sqrt((a - a_low) ** 2 + (b_high - b) ** 2 - 2 * r * (a - a_low) * (b_high - b))
    high = a - b + math.sqrt((a_high - a) ** 2 + (b - b_low) ** 2 - 2 * r * (a_high - a) * (b - b_low))
    return low, high


def score_interval(share, n, z):
    """The roots of (share - p)^2 = z^2 p (1 - p) / n."""
    return sorted(np.roots([1 + z * z / n, -(2 * share + z * z / n), share * share]).real)


def test_bands_are_those_of_the_shares_of_true_and_false_calls():
    """Forty patients with two images each count as forty images."""
    labels, probabilities = cohort(80)
    patients = np.arange(80) // 2
    bands = decision_bands(labels, probabilities, THRESHOLDS, patients, confidence=1 - 2 * norm.sf(1.96))
    for k, threshold in enumerate(THRESHOLDS[:3]):
        table = confusion(labels, probabilities >= threshold)
        harm = threshold / (1 - threshold)
        model = by_hand((1, table.tp / 80), (harm, table.fp / 80), 40)
        assert (bands.model.low[k], bands.model.high[k]) == pytest.approx(model, abs=1e-9)
        difference = by_hand((harm, table.tn / 80), (1, table.fn / 80), 40)
        assert (bands.difference.low[k], bands.difference.high[k]) == pytest.approx(difference, abs=1e-9)


@given(st.integers(0, 10_000))
def test_bands_hold_the_curve_and_always_have_width(seed):
    """Also if no image or every image is called positive, or a class is missing."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    labels, probabilities, patients = rng.random(n) < rng.random(), rng.random(n).round(1), rng.integers(0, n, size=n)
    curve = decision_curve(labels, probabilities, THRESHOLDS)
    bands = decision_bands(labels, probabilities, THRESHOLDS, patients)
    for value, (low, high) in ((curve.model, bands.model), (curve.model - curve.treat_all, bands.difference)):
        assert (low < high).all()
        assert (low <= value + 1e-12).all() and (value - 1e-12 <= high).all()


def test_more_images_of_the_same_patients_say_no_more():
    labels, probabilities = cohort(40)
    once = decision_bands(labels, probabilities, THRESHOLDS, np.arange(40))
    thrice = decision_bands(
        *(np.repeat(values, 3) for values in (labels, probabilities)), THRESHOLDS, np.arange(120) // 3
    )
    np.testing.assert_allclose(thrice.model, once.model, atol=1e-12)
    np.testing.assert_allclose(thrice.difference, once.difference, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "probabilities", "thresholds", "message"),
    [
        ([0, 2], [0.1, 0.2], [0.5], "labels must be 0 or 1"),
        ([0, 1], [0.1, 1.2], [0.5], r"found 1\.2 at position 1"),
        ([0, 1], [0.1, np.nan], [0.5], "NaN at position 1"),
        ([0, 1, 1], [0.1, 0.2], [0.5], "same length"),
        ([0, 1], [0.1, 0.2], [0.5, 1], "above 0 and below 1"),
        ([0, 1], [0.1, 0.2], [0, 0.5], "above 0 and below 1"),
        ([0, 1], [0.1, 0.2], 0.5, "one-dimensional"),
    ],
)
def test_what_has_no_net_benefit(labels, probabilities, thresholds, message):
    with pytest.raises(ValueError, match=message):
        decision_curve(labels, probabilities, thresholds)


def test_a_patient_for_each_image_is_needed():
    with pytest.raises(ValueError, match="patients has 1"):
        decision_bands([0, 1], [0.2, 0.3], [0.5], ["a"])
