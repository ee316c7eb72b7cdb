"""Planned precision compared with published values and with simulated studies."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from stats.calibration import calibration
from stats.delong import delong
from stats.sample_size import (
    auc_standard_error,
    auc_width,
    binormal_predictor,
    calibration_precision,
    patients_for_auc_width,
    patients_for_observed_expected_width,
    patients_for_slope_width,
)

AUC, PREVALENCE = st.floats(0.55, 0.97), st.floats(0.03, 0.97)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(200)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def test_the_example_of_hanley_and_mcneil():
    """109 CT images of 51 abnormal and 58 normal patients, an area of 0.893: 0.032 (Radiology 1982)."""
    assert auc_standard_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.001)


def test_the_standard_error_is_that_of_exponential_scores():
    """Exponential scores, for which it is exact: the AUC is r / (1 + r) if positives are r times larger on average."""
    rng, ratio = np.random.default_rng(4), 3.0
    positives, negatives = ratio * rng.exponential(size=(4000, 20)), rng.exponential(size=(4000, 60))
    areas = (positives[:, :, None] > negatives[:, None, :]).mean(axis=(1, 2))
    assert areas.mean() == pytest.approx(0.75, abs=0.004)
    assert areas.std() == pytest.approx(auc_standard_error(0.75, 20, 60), rel=0.04)


@pytest.mark.parametrize(("positives", "too_wide"), [(50, 1.0), (20, 1.2)], ids=["half", "a fifth"])
@pytest.mark.parametrize("auc", [0.75, 0.85])
def test_the_width_is_about_that_of_delongs_interval_of_normal_scores(auc, positives, too_wide):
    """With few positives it is conservative by a fifth, because exponential scores vary more among positives."""
    rng, labels = np.random.default_rng(6), np.repeat([0, 1], [100 - positives, positives])
    gap = math.sqrt(2) * norm.ppf(auc)
    widths = [
        float(np.diff(delong(labels, [rng.normal(size=100) + gap * labels]).logit_intervals()[0])[0])
        for _ in range(300)
    ]
    assert auc_width(auc, positives, 100 - positives) / np.mean(widths) == pytest.approx(too_wide, rel=0.06)


@given(AUC, PREVALENCE, st.floats(0.02, 0.3))
def test_the_number_of_patients_is_the_least_that_is_enough(auc, prevalence, width):
    n = patients_for_auc_width(auc, prevalence, width)
    assert auc_width(auc, n * prevalence, n * (1 - prevalence)) <= width * (1 + 1e-9)
    if (n - 1) * min(prevalence, 1 - prevalence) >= 1:
        assert auc_width(auc, (n - 1) * prevalence, (n - 1) * (1 - prevalence)) > width


@given(st.floats(0.6, 0.85), PREVALENCE)
def test_half_the_width_takes_about_four_times_the_patients(auc, prevalence):
    wide, narrow = (patients_for_auc_width(auc, prevalence, width) for width in (0.04, 0.02))
    assert narrow / wide == pytest.approx(4, rel=0.06)


def test_observed_over_expected_as_published():
    """Riley et al. 2021, section 3.1.1, from standard errors rounded to 0.051 and 0.175."""
    published = {(0.5, 0.2): 385, (0.1, 0.2): 3461, (0.1, 0.7): 294}
    for (prevalence, width), patients in published.items():
        assert patients_for_observed_expected_width(prevalence, width) == pytest.approx(patients, rel=0.005)
        logit = np.log(prevalence / (1 - prevalence))
        precision = calibration_precision(patients, logit + np.array([-1e-6, 1e-6]))
        margin = norm.isf(0.025) * precision.log_observed_expected
        assert math.exp(margin) - math.exp(-margin) == pytest.approx(width, rel=0.005)


def normal_predictor(auc, prevalence):
    """Mean and standard deviation of normal logits of a calibrated model, found by integration."""

    def of(mean, spread):
        logits = mean + spread * NODES
        risks = expit(logits)
        order = np.argsort(logits)
        cases, controls = (risks * WEIGHTS)[order], ((1 - risks) * WEIGHTS)[order]
        below = np.cumsum(controls) - controls / 2
        return cases.sum(), (cases * below).sum() / (cases.sum() * controls.sum())

    def mean_of(spread):
        return brentq(lambda mean: of(mean, spread)[0] - prevalence, -15, 5)

    spread = brentq(lambda spread: of(mean_of(spread), spread)[1] - auc, 0.05, 4)
    return mean_of(spread), spread


def test_slope_and_intercept_as_by_sampsizeval():
    """The R package's own test (Pavlou et al. 2021): prevalence 0.057, C 0.77, normal logits, standard errors 0.15."""
    mean, spread = normal_predictor(0.77, 0.057)
    of_one = calibration_precision(1, mean + spread * NODES, WEIGHTS)
    assert (of_one.slope / 0.15) ** 2 == pytest.approx(934, rel=0.03)
    assert (of_one.intercept / 0.15) ** 2 == pytest.approx(897, rel=0.03)


@given(AUC, PREVALENCE)
def test_the_binormal_predictor_has_its_prevalence_and_is_calibrated(auc, prevalence):
    logits, shares = binormal_predictor(auc, prevalence)
    positive = shares[: len(shares) // 2].sum()
    assert (positive, shares.sum()) == pytest.approx((prevalence, 1))
    assert shares @ expit(logits) == pytest.approx(prevalence, abs=1e-3), "mean risk"


def test_the_binormal_predictor_has_its_auc():
    logits, shares = binormal_predictor(0.8, 0.3)
    labels = np.repeat([1, 0], len(logits) // 2)
    assert roc_auc_score(labels, logits, sample_weight=shares) == pytest.approx(0.8, abs=0.01)


def test_slope_and_intercept_vary_over_studies_as_planned():
    rng, n = np.random.default_rng(8), 400
    gap = math.sqrt(2) * norm.ppf(0.8)
    slopes, intercepts = [], []
    for _ in range(400):
        labels = rng.random(n) < 0.3
        scores = gap * (labels - 0.5) + rng.normal(size=n)
        found = calibration(labels, expit(math.log(0.3 / 0.7) + gap * scores))
        slopes.append(found.slope)
        intercepts.append(found.intercept)
    planned = calibration_precision(n, *binormal_predictor(0.8, 0.3))
    assert np.std(slopes) == pytest.approx(planned.slope, rel=0.12)
    assert np.std(intercepts) == pytest.approx(planned.intercept, rel=0.12)
    patients = patients_for_slope_width(0.8, 0.3, 2 * norm.isf(0.025) * planned.slope)
    assert patients == pytest.approx(n, abs=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc_standard_error(1.0, 10, 10), "auc must be between 0 and 1"),
        (lambda: auc_standard_error(0.8, 0, 10), "each class needs at least one patient"),
        (lambda: patients_for_auc_width(0.8, 0.0, 0.1), "prevalence must be between 0 and 1"),
        (lambda: patients_for_auc_width(0.8, 0.5, 0.0), "width must be between 0 and 1"),
        (lambda: patients_for_auc_width(0.8, 0.5, 1e-7), "more than 1,000,000,000 patients"),
        (lambda: binormal_predictor(0.5, 0.5), "auc must be between 0.5 and 1"),
        (lambda: calibration_precision(0, [0.1, 0.2]), "patients must be at least 1"),
        (lambda: patients_for_slope_width(0.8, 0.5, 0), "width must be above 0"),
        (lambda: patients_for_observed_expected_width(0.5, -1), "width must be above 0"),
    ],
)
def test_what_cannot_be_planned_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
