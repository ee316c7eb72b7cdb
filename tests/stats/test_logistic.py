"""Against scikit-learn without a penalty, and against the information matrix by finite differences."""

import numpy as np
import pytest
from scipy.special import expit, log_expit
from sklearn.linear_model import LogisticRegression

from stats.logistic import fit_logistic, likelihood_ratio

RNG = np.random.default_rng(5)
N = 300
AGE, SEX, SCORE = RNG.normal(60, 8, N), RNG.integers(0, 2, N), RNG.normal(0, 1, N)
PREDICTORS = np.column_stack([AGE * 365, SEX, SCORE])  # in units as different as they come
LABELS = RNG.uniform(size=N) < expit(-6 + 0.1 * AGE + 0.5 * SEX + SCORE)


def test_coefficients_are_scikit_learns():
    fit = fit_logistic(LABELS, PREDICTORS)
    scaled = PREDICTORS / PREDICTORS.std(axis=0)
    found = LogisticRegression(penalty=None, solver="newton-cholesky", tol=1e-12).fit(scaled, LABELS)
    assert fit is not None
    np.testing.assert_allclose(fit.slopes, found.coef_[0] / PREDICTORS.std(axis=0), rtol=1e-7)
    assert fit.intercept == pytest.approx(found.intercept_[0], rel=1e-7)
    np.testing.assert_allclose(expit(fit.logits(PREDICTORS)), found.predict_proba(scaled)[:, 1], rtol=1e-7)


def test_the_covariance_is_the_inverse_of_the_curvature_of_the_likelihood():
    fit = fit_logistic(LABELS, np.column_stack([SEX, SCORE]))
    assert fit is not None
    design = np.column_stack([np.ones(N), SEX, SCORE])
    at, step = np.array([fit.intercept, *fit.slopes]), 1e-4

    def likelihood(coefficients):
        logits = design @ coefficients
        return log_expit(np.where(LABELS, logits, -logits)).sum()

    moves = np.eye(3) * step
    curvature = [
        [
            (likelihood(at + a + b) - likelihood(at + a - b) - likelihood(at - a + b) + likelihood(at - a - b))
            / (4 * step**2)
            for b in moves
        ]
        for a in moves
    ]
    np.testing.assert_allclose(np.linalg.inv(-np.array(curvature)), fit.covariance, rtol=1e-4)
    assert fit.log_likelihood == pytest.approx(likelihood(at))


def test_without_predictors_the_risk_is_the_prevalence():
    fit = fit_logistic(LABELS, np.empty((N, 0)))
    assert fit is not None
    assert expit(fit.intercept) == pytest.approx(LABELS.mean())


def test_the_likelihood_ratio_of_noise_is_uniform():
    """Its P value is below 0.05 in about one of twenty samples."""
    rng, small = np.random.default_rng(0), 0
    for _ in range(400):
        labels, noise = rng.uniform(size=80) < 0.4, rng.normal(size=(80, 2))
        smaller, larger = fit_logistic(labels, noise[:, :0]), fit_logistic(labels, noise)
        assert smaller is not None and larger is not None
        test = likelihood_ratio(smaller, larger)
        assert test.statistic >= 0 and test.degrees_of_freedom == 2
        small += test.p < 0.05
    assert 8 <= small <= 34  # 20 expected; binomial, 99.9 %


@pytest.mark.parametrize(
    ("labels", "predictors"),
    [
        ([0, 0, 1, 1], [[1.0], [2.0], [3.0], [4.0]]),
        ([0, 0, 1, 1], [[1.0], [2.0], [2.0], [4.0]]),
        ([1, 1, 1, 1], [[1.0], [2.0], [3.0], [4.0]]),
        ([0, 1, 0, 1], [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [4.0, 8.0]]),
        ([0, 1, 0, 1], [[1.0], [1.0], [1.0], [1.0]]),
    ],
    ids=["separated", "separated but for a tie", "one class", "twice the same", "constant"],
)
def test_a_fit_that_does_not_exist_is_none(labels, predictors):
    assert fit_logistic(labels, predictors) is None


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"predictors must be \(2, k\), got shape \(3, 1\)"):
        fit_logistic([0, 1], np.zeros((3, 1)))
    with pytest.raises(ValueError, match="found nan in row 1, column 0"):
        fit_logistic([0, 1], [[0.0], [np.nan]])
    fit = fit_logistic(LABELS, SEX[:, None])
    assert fit is not None
    with pytest.raises(ValueError, match="must have more predictors"):
        likelihood_ratio(fit, fit)
