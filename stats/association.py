"""How closely two numbers are related over patients, with an interval."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from stats.checks import as_numbers, require_same_length, tail_of


@dataclass(frozen=True)
class Association:
    """A coefficient over n patients; NaN where it does not exist.

    A coefficient of -1 or 1, or of fewer than four patients, has neither an interval nor a P value.

    Attributes:
        value: the coefficient.
        low: lower bound of its confidence interval.
        high: upper bound.
        p: two-sided P value of no association.
        n: number of patients.
    """

    value: float
    low: float
    high: float
    p: float
    n: int


def rank_association(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Association:
    """Spearman's rho with the interval of Bonett & Wright (2000), on Fisher's z scale.

    The variance on that scale is (1 + rho^2 / 2) / (n - 3) for the interval, and 1.06 / (n - 3) for the test of no
    association (Fieller, Hartley & Pearson 1957).

    Args:
        x: (n,), one value per patient.
        y: (n,), likewise.
        confidence: in (0, 1).

    Raises:
        ValueError: a value is NaN, lengths differ, or the confidence is outside (0, 1).
    """
    a, b = _pair(x, y)
    rho = _correlation(rankdata(a), rankdata(b))
    return _on_z_scale(rho, len(a), 1 + rho**2 / 2, 1.06, confidence)


def linear_association(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Association:
    """R squared of a straight line: the share of the variance of one number that the other explains.

    Args:
        x: (n,), one value per patient.
        y: (n,), likewise.
        confidence: in (0, 1).

    Returns:
        R squared in [0, 1], with the squared bounds of Pearson's correlation (Fisher 1921); the lower one is 0 if the
        interval of the correlation contains 0.

    Raises:
        ValueError: a value is NaN, lengths differ, or the confidence is outside (0, 1).
    """
    a, b = _pair(x, y)
    r = _on_z_scale(_correlation(a, b), len(a), 1.0, 1.0, confidence)
    low, high = sorted((abs(r.low), abs(r.high)))
    return Association(r.value**2, 0.0 if r.low <= 0 <= r.high else low**2, high**2, r.p, r.n)


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = as_numbers("x", x), as_numbers("y", y)
    require_same_length(x=a, y=b)
    return a, b


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN if one of the numbers does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / size, -1, 1)) if size > 0 else math.nan


def _on_z_scale(r: float, n: int, variance: float, null: float, confidence: float) -> Association:
    """The interval and the test of a correlation, whose variances are `variance` and `null` divided by n - 3."""
    tail = tail_of(confidence)
    if n < 4 or math.isnan(r) or abs(r) == 1:
        return Association(r, math.nan, math.nan, math.nan, n)
    z, margin = math.atanh(r), -float(ndtri(tail)) * math.sqrt(variance / (n - 3))
    p = 2 * float(ndtr(-abs(z) / math.sqrt(null / (n - 3))))
    return Association(r, math.tanh(z - margin), math.tanh(z + margin), p, n)
