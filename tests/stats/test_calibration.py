import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from stats.bootstrap import mean_resampled
from stats.calibration import (
    brier,
    calibration,
    calibration_bands,
    calibration_bins,
    calibration_resampled,
    expected_calibration_error,
    expected_calibration_error_resampled,
)
from stats.resamples import PatientResamples, draw_patients


def cohort(n, intercept=0.0, slope=1.0, seed=0):
    """(labels, probabilities) with a known calibration line."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1.5, n)
    return (rng.random(n) < expit(intercept + slope * logits)).astype(int), expit(logits)


@st.composite
def forecasts(draw):
    """Labels and probabilities so coarse that ties, separation and single classes are common."""
    n = draw(st.integers(1, 12))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    tenths = draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    return np.array(labels), np.array(tenths) / 10


def repeated_rows(resamples):
    images = np.arange(len(resamples.patient_of_image))
    return [np.repeat(images, drawn[resamples.patient_of_image]) for drawn in resamples.counts]


def minus_log_likelihood(line, labels, logits):
    return np.logaddexp(0, (1 - 2 * labels) * (line[0] + line[1] * logits)).sum()


@pytest.mark.parametrize("case", [cohort(60), cohort(400, 0.8, 0.6), cohort(3000, -2, 1.7), cohort(3000, 1, -0.5)])
def test_intercept_and_slope_are_those_of_independent_optimisers(case):
    labels, probabilities = case
    result = calibration(labels, probabilities)
    in_the_large = brentq(lambda a: expit(a + logit(probabilities)).mean() - labels.mean(), -20, 20, xtol=1e-13)
    assert result.intercept == pytest.approx(in_the_large, abs=1e-9)
    regression = LogisticRegression(penalty=None, tol=1e-10, max_iter=1000)
    regression.fit(logit(probabilities)[:, np.newaxis], labels)
    assert result.slope == pytest.approx(regression.coef_[0, 0], abs=1e-5)


def test_known_miscalibration_is_found_and_undone():
    labels, probabilities = cohort(200_000, intercept=0.7, slope=0.5)
    assert calibration(labels, probabilities).slope == pytest.approx(0.5, abs=0.02)
    labels, probabilities = cohort(200_000, intercept=0.7)
    result = calibration(labels, probabilities)
    assert result.intercept == pytest.approx(0.7, abs=0.02)
    assert calibration(labels, expit(logit(probabilities) + result.intercept)).intercept == pytest.approx(0, abs=1e-9)


@given(forecasts())
def test_estimates_exist_unless_a_class_is_missing_or_separated(case):
    labels, probabilities = case
    result = calibration(labels, probabilities)
    yes, no = probabilities[labels == 1], probabilities[labels == 0]
    assert math.isnan(result.intercept) == (yes.size == 0 or no.size == 0)
    separated = yes.size == 0 or no.size == 0 or yes.min() >= no.max() or no.min() >= yes.max()
    assert math.isnan(result.slope) == separated
    if not separated:
        best = minimize(minus_log_likelihood, [0, 0], (labels, logit(probabilities)), options={"gtol": 1e-9})
        assert result.slope == pytest.approx(best.x[1], rel=1e-4, abs=1e-4)


@given(forecasts())
def test_complement_turns_the_intercept_and_keeps_the_slope(case):
    labels, probabilities = case
    result, mirrored = calibration(labels, probabilities), calibration(1 - labels, 1 - probabilities)
    assert mirrored.intercept == pytest.approx(-result.intercept, abs=1e-9, nan_ok=True)
    assert mirrored.slope == pytest.approx(result.slope, rel=1e-7, abs=1e-9, nan_ok=True)


def test_certain_probabilities_count_as_far_as_numbers_reach():
    """0 and 1 are moved by 2.2e-16, to logits of -36 and 36, and no closer."""
    farthest = -math.log(np.finfo(float).eps)
    assert calibration([1, 0, 0], [0, 1, 1]).intercept == pytest.approx(-farthest, abs=1e-6)
    assert calibration([0, 1, 1], [0, 1, 1]).intercept == pytest.approx(math.log(2) / 2, abs=1e-6)
    labels, probabilities = cohort(500)
    before = calibration(labels, probabilities).slope
    worst = np.argmax(labels == 1)
    probabilities[worst] = 0
    near = np.where(np.arange(500) == worst, 1e-9, probabilities)
    assert calibration(labels, probabilities).slope < calibration(labels, near).slope < before - 0.1


def test_a_barely_overlapping_pair_among_separated_classes_has_a_steep_slope():
    below = np.append(np.linspace(-3, -0.01, 50), -1e-4)
    logits = np.append(below, -below)  # symmetric, so the line goes through the middle
    labels = np.repeat([0, 1, 1, 0], [50, 1, 50, 1])
    result = calibration(labels, expit(logits))
    assert result.intercept == pytest.approx(0, abs=1e-9)
    assert result.slope == pytest.approx(
        brentq(lambda slope: (labels - expit(slope * logits)) @ logits, 1, 1e5, xtol=1e-9), rel=1e-6
    )
    assert result.slope > 100


def test_all_the_same_probability_has_an_intercept_and_no_slope():
    result = calibration([0, 1, 1, 1], [0.5] * 4)
    assert result.intercept == pytest.approx(math.log(3), abs=1e-12)
    assert math.isnan(result.slope)


def test_resampled_estimates_are_those_of_the_repeated_rows():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(12), rng.integers(1, 4, 12))
    labels, probabilities = cohort(len(patients), seed=5)
    resamples = draw_patients(patients, labels, resamples=300, seed=0)
    values = calibration_resampled(labels, probabilities, resamples)
    expected = [calibration(labels[rows], probabilities[rows]) for rows in repeated_rows(resamples)]
    np.testing.assert_allclose(values.intercept, [one.intercept for one in expected], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(values.slope, [one.slope for one in expected], rtol=1e-9, atol=1e-9)
    assert 0 < np.isnan(values.slope).sum() < 300


def test_a_resample_of_one_class_is_undefined_and_leaves_the_others_alone():
    counts = np.array([[1, 1, 1, 1], [0, 2, 0, 2], [2, 2, 0, 0], [1, 1, 1, 1]], np.uint8)
    values = calibration_resampled([0, 1, 0, 1], [0.2, 0.3, 0.4, 0.6], PatientResamples(counts, np.arange(4)))
    assert np.isnan(values.intercept).tolist() == [False, True, False, False]
    assert np.isnan(values.slope).tolist() == [False, True, True, False]
    assert values.slope[0] == values.slope[3]


def test_five_hundred_resamples_are_a_matter_of_a_second():
    labels, probabilities = cohort(3000, 0.3, 0.7)
    resamples = draw_patients(np.repeat(np.arange(1500), 2), labels, resamples=500, seed=0)
    start = time.process_time()
    values = calibration_resampled(labels, probabilities, resamples)
    assert time.process_time() - start < 10  # about 0.5 s; a loop over scikit-learn takes 3 s for the slope alone
    assert not np.isnan(values.slope).any()


@given(forecasts())
def test_brier_score_is_scikit_learns(case):
    labels, probabilities = case
    expected = brier_score_loss(labels, probabilities, pos_label=1)
    assert brier(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_resampled_brier_score_is_a_mean():
    labels, probabilities = cohort(40)
    resamples = draw_patients(np.arange(40) // 2, labels, resamples=20, seed=0)
    values = mean_resampled((probabilities - labels) ** 2, resamples)
    expected = [brier(labels[rows], probabilities[rows]) for rows in repeated_rows(resamples)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize(("n", "bins"), [(100, 10), (103, 10), (7, 3), (5, 10), (40, 1)])
def test_bins_without_ties_are_of_equal_count(n, bins):
    labels, probabilities = cohort(n)
    points = calibration_bins(labels, probabilities, bins)
    assert len(points.n) == min(n, bins)
    assert points.n.sum() == n
    assert np.ptp(points.n) <= 1
    images = np.split(np.argsort(probabilities), np.cumsum(points.n)[:-1])
    np.testing.assert_allclose(points.mean_predicted, [probabilities[one].mean() for one in images], atol=1e-12)
    np.testing.assert_allclose(points.observed, [labels[one].mean() for one in images], atol=1e-12)
    assert [points.bin_of_image[one].tolist() for one in images] == [[k] * int(n) for k, n in enumerate(points.n)]


@given(forecasts(), st.integers(1, 6))
def test_bins_keep_ties_together_and_none_is_empty(case, bins):
    labels, probabilities = case
    points = calibration_bins(labels, probabilities, bins)
    assert len(points.n) <= bins
    assert (points.n > 0).all()
    assert (np.diff(points.mean_predicted) > 0).all()
    order = np.random.default_rng(0).permutation(len(labels))
    for name in ("mean_predicted", "observed", "n"):
        shuffled = getattr(calibration_bins(labels[order], probabilities[order], bins), name)
        np.testing.assert_allclose(shuffled, getattr(points, name), rtol=1e-12)


def test_a_bins_interval_counts_its_patients_and_always_has_width():
    """Ten patients with two images each, five in either bin; the lower one has no positive."""
    labels, probabilities = np.repeat([0, 0, 0, 0, 0, 1, 1, 0, 1, 1], 2), np.repeat(np.arange(10) / 10, 2)
    bins = calibration_bins(labels, probabilities, 2)
    bands = calibration_bands(bins, np.repeat(np.arange(10), 2), 0.9)
    for k, positive in enumerate((0, 4)):
        expected = binomtest(positive, 5).proportion_ci(0.9, method="wilson")
        assert (bands.low[k], bands.high[k]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    with pytest.raises(ValueError, match="same length"):
        calibration_bands(bins, np.arange(3))


def test_expected_calibration_error_by_hand():
    # Lower half: 0.15 predicted, 1/2 observed. Upper half: 0.65 predicted, 1/2 observed.
    value = expected_calibration_error([1, 0, 1, 0], [0.1, 0.2, 0.5, 0.8], bins=2)
    assert value == pytest.approx((0.35 + 0.15) / 2, abs=1e-12)


@given(forecasts(), st.integers(1, 6))
def test_expected_calibration_error_is_at_least_the_error_in_the_large(case, bins):
    labels, probabilities = case
    value = expected_calibration_error(labels, probabilities, bins)
    in_the_large = abs(labels.mean() - probabilities.mean())
    assert in_the_large - 1e-12 <= value <= 1
    assert expected_calibration_error(labels, probabilities, bins=1) == pytest.approx(in_the_large, abs=1e-12)


def test_resampled_expected_calibration_error_is_that_of_the_repeated_rows_in_the_same_bins():
    labels, probabilities = cohort(40)
    resamples = draw_patients(np.arange(40) // 2, labels, resamples=50, seed=0)
    values = expected_calibration_error_resampled(labels, probabilities, resamples, bins=4)
    bin_of_image = np.argsort(np.argsort(probabilities)) // 10
    for value, rows in zip(values, repeated_rows(resamples), strict=True):
        distances = [(probabilities - labels)[rows[bin_of_image[rows] == one]].sum() for one in range(4)]
        assert value == pytest.approx(np.abs(distances).sum() / len(rows), abs=1e-12)


def test_resampling_adds_chance_to_the_expected_calibration_error():
    labels, probabilities = cohort(1000)
    resamples = draw_patients(np.arange(1000), labels, resamples=200, seed=0)
    values = expected_calibration_error_resampled(labels, probabilities, resamples)
    assert values.mean() > 1.1 * expected_calibration_error(labels, probabilities)


@pytest.mark.parametrize("measure", [brier, calibration, calibration_bins, expected_calibration_error])
@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 2], [0.1, 0.2], "labels must be 0 or 1"),
        ([0, 1], [0.1, np.nan], "NaN at position 1"),
        ([0, 1], [-0.1, 0.5], r"found -0\.1 at position 0"),
        ([0, 1], [0.1, 3], r"found 3\.0 at position 1"),
        ([0, 1, 1], [0.1, 0.2], "same length"),
    ],
)
def test_invalid_probabilities_are_refused(measure, labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        measure(labels, probabilities)


def test_at_least_one_bin():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        calibration_bins([0, 1], [0.1, 0.2], bins=0)


@pytest.mark.parametrize("measure", [calibration_resampled, expected_calibration_error_resampled])
def test_other_images_than_those_resampled_are_refused(measure):
    resamples = draw_patients(["a", "b", "c"], [0, 1, 1], resamples=5, seed=0)
    with pytest.raises(ValueError, match="resampled_images has 3"):
        measure([0, 1], [0.2, 0.3], resamples)
