"""Standardised differences: how far two groups of patients differ in a covariate, in units of its spread.

Unlike a P value, they do not grow with the number of patients. A value above 0.1 is usually called imbalance (Austin
2009, Stat Med 28:3083).
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from stats.checks import as_numbers, tail_of


def standardised_difference(first: ArrayLike, second: ArrayLike) -> float:
    """Difference of two means, divided by the root of the mean of the two variances (Austin 2009).

    For values of 0 and 1, this is the standardised difference of proportions, up to the n - 1 in the variances.

    Args:
        first: (n,), the covariate in the first group.
        second: (m,), in the second.

    Returns:
        The difference, positive if the first mean is higher; 0 for two equal constants, infinite for two others, NaN if
        a group has fewer than two values.

    Raises:
        ValueError: a value is NaN.
    """
    a, b = as_numbers("first", first), as_numbers("second", second)
    if min(len(a), len(b)) < 2:
        return math.nan
    apart = float(a.mean() - b.mean())
    spread = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    if spread == 0:
        return 0.0 if apart == 0 else math.copysign(math.inf, apart)
    return apart / spread


def standardised_interval(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Normal interval of `standardised_difference` for groups with different variances (Bonett 2008, eq. 8).

    Args:
        first: (n,), the covariate in the first group, one value per patient.
        second: (m,), in the second.
        confidence: in (0, 1).

    Returns:
        Low and high; NaN if the difference is not finite, or if neither group varies.

    Raises:
        ValueError: a value is NaN, or the confidence is out of range.
    """
    a, b = as_numbers("first", first), as_numbers("second", second)
    difference = standardised_difference(a, b)
    of_a, of_b = (group.var(ddof=1) if len(group) > 1 else math.nan for group in (a, b))
    mean = (of_a + of_b) / 2
    if not math.isfinite(difference) or not mean > 0:
        return math.nan, math.nan
    free_a, free_b = len(a) - 1, len(b) - 1
    variance = difference**2 * (of_a**2 / free_a + of_b**2 / free_b) / (8 * mean**2)
    variance += (of_a / free_a + of_b / free_b) / mean
    half = norm.isf(tail_of(confidence)) * math.sqrt(variance)
    return difference - half, difference + half


def standardised_difference_of_categories(first: ArrayLike, second: ArrayLike) -> float:
    """Mahalanobis distance between the shares of the categories in two groups (Yang & Dalton 2012).

    With two categories, it is the absolute standardised difference of the proportion of one of them.

    Args:
        first: (n,), category of each patient of the first group, of any type that can be compared.
        second: (m,), of the second group.

    Returns:
        The distance, at least 0; infinite if a category is the only one in one group and absent in the other; NaN if a
        group is empty.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.size == 0 or b.size == 0:
        return math.nan
    names = np.unique(np.concatenate([a, b]))
    # The shares add up to 1, so one category is left out; which one does not matter.
    p, q = (np.array([np.mean(group == name) for name in names[1:]]) for group in (a, b))
    covariance = (_multinomial(p) + _multinomial(q)) / 2
    apart = p - q
    if not apart.any():
        return 0.0
    solution, _, rank, _ = np.linalg.lstsq(covariance, apart, rcond=None)
    if rank < len(apart) and not np.allclose(covariance @ solution, apart):
        return math.inf
    return math.sqrt(apart @ solution)


def standardised_interval_of_categories(
    distance: float, first: int, second: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Normal interval of `standardised_difference_of_categories` (Yang & Dalton 2012, as Hedges & Olkin 1985).

    Args:
        distance: the distance.
        first: number of patients of the first group.
        second: of the second.
        confidence: in (0, 1).

    Returns:
        Low, at least 0, and high; NaN if the distance is infinite or NaN.

    Raises:
        ValueError: the confidence is out of range.
    """
    tail = tail_of(confidence)
    if not math.isfinite(distance) or min(first, second) < 1:
        return math.nan, math.nan
    variance = (first + second) / (first * second) + distance**2 / (2 * (first + second))
    half = norm.isf(tail) * math.sqrt(variance)
    return max(distance - half, 0.0), distance + half


def _multinomial(shares: np.ndarray) -> np.ndarray:
    """Covariance matrix of one draw of a category."""
    return np.diag(shares) - np.outer(shares, shares)
