"""Logistic regression of a label on several predictors, one row per patient, without penalty."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog
from scipy.special import log_expit
from scipy.stats import chi2

from stats.checks import as_binary

_STEPS = 100  # Newton steps; five to eight are usual
_SETTLED = 1e-10  # relative change of the log likelihood in the last step
_ROUNDING = 1e-9  # of sums of standardised predictors


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted model `logit P(label) = intercept + predictors @ slopes`.

    Attributes:
        intercept: on the logit scale.
        slopes: (k,), log odds ratios per unit of each predictor.
        covariance: (1 + k, 1 + k), inverse of the information matrix, the intercept first.
        log_likelihood: of the labels at the fit, at most 0.
    """

    intercept: float
    slopes: np.ndarray
    covariance: np.ndarray
    log_likelihood: float

    def logits(self, predictors: ArrayLike) -> np.ndarray:
        """The linear predictor of new rows.

        Args:
            predictors: (m, k).

        Returns:
            (m,) float64.
        """
        return self.intercept + np.asarray(predictors, dtype=np.float64) @ self.slopes


def fit_logistic(labels: ArrayLike, predictors: ArrayLike) -> Logistic | None:
    """Maximum likelihood by Newton's method (iteratively reweighted least squares; McCullagh & Nelder 1989).

    Args:
        labels: (n,) of 0/1.
        predictors: (n, k), k at least 0, without NaN; a category has one column of 0 and 1 for each level but one.

    Returns:
        The fit. None if it does not exist: a class is missing, a combination of predictors separates the classes, or
        one predictor is a combination of the others.

    Raises:
        ValueError: labels are not 0/1, a predictor is not finite, or the arrays do not fit together.
    """
    positive = as_binary("labels", labels)
    values = np.asarray(predictors, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(positive):
        raise ValueError(f"predictors must be ({len(positive)}, k), got shape {values.shape}")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"predictors must be finite, found {values[row, column]} in row {row}, column {column}")
    # Newton's method is exact in any units, but not its arithmetic: age in days next to shares.
    centre, spread = values.mean(axis=0), values.std(axis=0)
    if not spread.all() or positive.all() or not positive.any():
        return None
    design = np.column_stack([np.ones(len(values)), (values - centre) / spread])
    if np.linalg.matrix_rank(design) < design.shape[1] or _separates(design, positive):
        return None
    coefficients, information = _newton(design, positive)
    # Back to the units of the predictors: logits are the same.
    back = np.diag(np.concatenate([[1.0], 1 / spread]))
    back[0, 1:] = -centre / spread
    coefficients, covariance = back @ coefficients, back @ np.linalg.inv(information) @ back.T
    logits = coefficients[0] + values @ coefficients[1:]
    likelihood = float(log_expit(np.where(positive, logits, -logits)).sum())
    return Logistic(float(coefficients[0]), coefficients[1:], covariance, likelihood)


def _separates(design: np.ndarray, positive: np.ndarray) -> bool:
    """Whether some combination has no row on the wrong side of 0, and one on the right side (Albert & Anderson 1984).

    A linear programme decides it exactly (Konis 2007): the likelihood then grows forever in that direction.
    """
    sides = np.where(positive[:, None], design, -design)
    best = linprog(-sides.sum(axis=0), A_ub=-sides, b_ub=np.zeros(len(sides)), bounds=(-1, 1))
    return bool(-best.fun > _ROUNDING * len(sides))


def _newton(design: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and information matrix, for classes that overlap."""
    coefficients = np.zeros(design.shape[1])
    before = -math.inf
    for _ in range(_STEPS):
        likelihood = _likelihood(design, positive, coefficients)
        risks = np.exp(log_expit(design @ coefficients))
        information = design.T @ ((risks * (1 - risks))[:, None] * design)
        if likelihood - before <= _SETTLED * abs(likelihood):
            break
        step = np.linalg.solve(information, design.T @ (positive - risks))
        # A full step may overshoot where classes barely overlap; a short one in its direction never does.
        while _likelihood(design, positive, coefficients + step) < likelihood - _SETTLED * abs(likelihood):
            step /= 2
        coefficients, before = coefficients + step, likelihood
    return coefficients, information


def _likelihood(design: np.ndarray, positive: np.ndarray, coefficients: np.ndarray) -> float:
    logits = design @ coefficients
    return float(log_expit(np.where(positive, logits, -logits)).sum())


@dataclass(frozen=True)
class LikelihoodRatio:
    """Whether a larger model fits better than a smaller one that it contains.

    Attributes:
        statistic: twice the difference of the log likelihoods, at least 0.
        degrees_of_freedom: number of predictors that only the larger model has.
        p: P value by the chi-squared distribution (Wilks 1938).
    """

    statistic: float
    degrees_of_freedom: int
    p: float


def likelihood_ratio(smaller: Logistic, larger: Logistic) -> LikelihoodRatio:
    """Likelihood-ratio test of nested models fitted to the same rows.

    Args:
        smaller: the model with fewer predictors, all of which `larger` has.
        larger: the other.

    Raises:
        ValueError: the larger model does not have more predictors.
    """
    more = len(larger.slopes) - len(smaller.slopes)
    if more < 1:
        raise ValueError(f"the larger model must have more predictors, got {len(larger.slopes)}")
    statistic = max(0.0, 2 * (larger.log_likelihood - smaller.log_likelihood))
    return LikelihoodRatio(statistic, more, float(chi2.sf(statistic, more)))
