"""One summary of a measure over several cohorts, and how much the cohorts differ (random-effects meta-analysis).

The measure in each cohort is an estimate with a standard error, on a scale on which it is roughly normal (an AUC: its
logit). The true value is allowed to differ between cohorts, with variance `tau_squared`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import chi2
from scipy.stats import t as student_t

from stats.checks import as_numbers, require_same_length, tail_of


@dataclass(frozen=True)
class Pooled:
    """The summary of k cohorts.

    Attributes:
        estimate: mean of the true values over cohorts, on the scale of the estimates.
        low: lower bound of its confidence interval; with one cohort, of that cohort's normal interval.
        high: upper bound.
        new_low: lower bound of the prediction interval, which holds the true value in one new cohort (Higgins, Thompson
            & Spiegelhalter 2009); NaN with fewer than three cohorts.
        new_high: upper bound.
        tau_squared: variance of the true values between cohorts (Paule & Mandel 1982); NaN with one cohort.
        q: Cochran's statistic of heterogeneity (Cochran 1954); NaN with one cohort.
        p: its P value, chi-squared with k - 1 degrees of freedom; a small one says that the cohorts differ.
        i_squared: share of the variation between estimates that is not sampling error, `max(0, (q - k + 1) / q)`
            (Higgins & Thompson 2002).
        cohorts: k.
    """

    estimate: float
    low: float
    high: float
    new_low: float
    new_high: float
    tau_squared: float
    q: float
    p: float
    i_squared: float
    cohorts: int


def pool(estimates: ArrayLike, standard_errors: ArrayLike, confidence: float = 0.95) -> Pooled:
    """Random-effects summary with the interval of Hartung & Knapp (2001) and Sidik & Jonkman (2002).

    With few cohorts, the usual normal interval is far too narrow; Student's t with k - 1 degrees of freedom and a
    variance from the spread of the estimates is not. Where the estimates agree better than by chance, that variance
    would be too small, so it is never below the usual one (Röver, Knapp & Friede 2015).

    Args:
        estimates: (k,), at least one.
        standard_errors: (k,), above 0.
        confidence: in (0, 1).

    Raises:
        ValueError: a value is NaN, a standard error is not above 0, lengths differ, or the confidence is out of range.
    """
    values, errors = as_numbers("estimates", estimates), as_numbers("standard_errors", standard_errors)
    require_same_length(estimates=values, standard_errors=errors)
    strange = np.flatnonzero(~(errors > 0) | np.isinf(errors))
    if strange.size:
        raise ValueError(f"standard_errors must be above 0 and finite, found {errors[strange[0]]} at {strange[0]}")
    tail, k = tail_of(confidence), len(values)
    if k == 1:
        half = float(student_t.isf(tail, np.inf) * errors[0])
        nan = math.nan
        return Pooled(float(values[0]), values[0] - half, values[0] + half, nan, nan, nan, nan, nan, nan, 1)
    variances = errors**2
    q = _cochran(values, variances, 0.0)
    tau_squared = _paule_mandel(values, variances)
    weights = 1 / (variances + tau_squared)
    estimate = float(np.average(values, weights=weights))
    scale = max(1.0, _cochran(values, variances, tau_squared) / (k - 1))
    variance = scale / weights.sum()
    half = float(student_t.isf(tail, k - 1)) * math.sqrt(variance)
    new = float(student_t.isf(tail, k - 2)) * math.sqrt(variance + tau_squared) if k > 2 else math.nan
    return Pooled(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        new_low=estimate - new,
        new_high=estimate + new,
        tau_squared=tau_squared,
        q=q,
        p=float(chi2.sf(q, k - 1)),
        i_squared=max(0.0, (q - k + 1) / q) if q > 0 else 0.0,
        cohorts=k,
    )


def _cochran(values: np.ndarray, variances: np.ndarray, tau_squared: float) -> float:
    """Weighted sum of squares around the weighted mean, with tau squared in the weights."""
    weights = 1 / (variances + tau_squared)
    return float(weights @ (values - np.average(values, weights=weights)) ** 2)


def _paule_mandel(values: np.ndarray, variances: np.ndarray) -> float:
    """The variance between cohorts at which Cochran's statistic has its expectation; 0 if it is below that at 0."""
    wanted = len(values) - 1
    if _cochran(values, variances, 0.0) <= wanted:
        return 0.0
    # With at least this variance, every weight is so low that the sum of squares cannot reach the expectation.
    most = float(((values - values.mean()) ** 2).sum())
    return float(brentq(lambda between: _cochran(values, variances, between) - wanted, 0.0, most, xtol=1e-14 * most))
