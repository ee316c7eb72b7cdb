"""Differences between estimates from two groups of different patients, such as two cohorts."""

import math
from dataclasses import dataclass

from scipy.stats import t as student_t

from stats.checks import tail_of


@dataclass(frozen=True)
class IndependentDifference:
    """First estimate minus second.

    Attributes:
        value: the difference.
        low: lower bound of its interval.
        high: upper bound.
        p_value: two-sided, of no difference.
        degrees_of_freedom: of its variance.
    """

    value: float
    low: float
    high: float
    p_value: float
    degrees_of_freedom: float


def independent_difference(
    first: float,
    variance_of_first: float,
    freedom_of_first: float,
    second: float,
    variance_of_second: float,
    freedom_of_second: float,
    confidence: float = 0.95,
) -> IndependentDifference:
    """Welch's t interval and test (Welch 1947): variances add up, and so does their uncertainty.

    Args:
        first: an estimate.
        variance_of_first: its variance, at least 0.
        freedom_of_first: degrees of freedom of the variance; ignored for a variance of 0.
        second: the estimate in the other group.
        variance_of_second: as for the first.
        freedom_of_second: as for the first.
        confidence: in (0, 1).

    Returns:
        The difference; everything but its value is NaN if a variance is, or if both are 0.

    Raises:
        ValueError: the confidence is outside (0, 1).
    """
    value, variance = first - second, variance_of_first + variance_of_second
    tail, nan = tail_of(confidence), math.nan
    if not variance > 0:
        return IndependentDifference(value, nan, nan, nan, nan)
    parts = ((variance_of_first, freedom_of_first), (variance_of_second, freedom_of_second))
    freedom = variance**2 / sum(part**2 / free for part, free in parts if part > 0)
    error = math.sqrt(variance)
    half = float(student_t.isf(tail, freedom)) * error
    return IndependentDifference(
        value, value - half, value + half, float(2 * student_t.sf(abs(value) / error, freedom)), freedom
    )
