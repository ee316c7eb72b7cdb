"""From a statistic in each resample to an interval, and to a p-value for a difference."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri
from scipy.stats import t as student_t

from stats.checks import require_same_length

Interval = tuple[float, float]
UNDEFINED: Interval = (np.nan, np.nan)


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> Interval:
    """The percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13), with linear interpolation.

    samples (resamples,): a statistic in each resample; NaN (undefined there) is left out. (NaN, NaN) where fewer than
    `2 / (1 - confidence)` are defined (40 for 95 %), since either tail then holds less than one of them.

    Raises ValueError for a confidence outside (0, 1).
    """
    tail = _tail(confidence)
    return _between(_defined(samples), tail, 1 - tail)


def bca_interval(
    estimate: float,
    samples: ArrayLike,
    jackknife: ArrayLike,
    confidence: float = 0.95,
    *,
    strata: ArrayLike | None = None,
    widened: bool = False,
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval (Efron 1987; Davison & Hinkley 1997, section 5.3).

    The percentiles are shifted for the samples' median bias (a sample equal to the estimate counts as half below it),
    and for how the standard error changes with the statistic, told from the skewness of what each person adds to it.

    estimate: the statistic on the data itself. samples (resamples,): in each resample; NaN is left out. jackknife
    (people,): without each person in turn, from the same function as the samples and `jackknife_people`. strata
    (people,): `PeopleResamples.strata`. A stratified resample keeps each stratum's size, so a person tells by the
    difference from the mean of the own stratum, not from all: where leaving out any positive lowers the statistic, as
    it does an F1, that common part is a change of prevalence, which no resample makes.

    widened: for few people, whose resamples vary too little: by (m - 1) / m for m people, and not by as much as their
    own spread is uncertain. The normal quantile becomes Student's times the root of the missing factor (expanded
    percentiles, Hesterberg 2015), with Welch's degrees of freedom over the strata. What it does is simulated in
    docs/statistics.md. Four people in the stratum that decides are too few for it with 2,000 resamples.

    (NaN, NaN) where the estimate is undefined or beyond all samples; where the statistic is undefined without some
    person, since that one alone carries it; and, as in `percentile_interval`, where either adjusted tail holds less
    than one defined sample.

    Raises ValueError for a confidence outside (0, 1), or strata of other length than jackknife.
    """
    tail = _tail(confidence)
    defined = _defined(samples)
    influence, stratum = _influence(np.asarray(jackknife, dtype=np.float64), strata)
    acceleration = _acceleration(influence)
    twice_below = np.count_nonzero(defined < estimate) + np.count_nonzero(defined <= estimate)
    if not 0 < twice_below < 2 * len(defined):
        return UNDEFINED
    bias = ndtri(twice_below / (2 * len(defined)))
    quantile = _widened_quantile(tail, influence, stratum) if widened else -ndtri(tail)
    shifted = bias + np.array([-quantile, quantile])
    stretch = 1 - acceleration * shifted
    if not (stretch > 0).all():  # beyond, the two levels would cross; NaN ends here, too
        return UNDEFINED
    return _between(defined, *ndtr(bias + shifted / stretch))


def bootstrap_p_value(difference: float, samples: ArrayLike) -> float:
    """Two-sided p-value of a difference held against its bootstrap standard error, from the normal distribution.

    difference: one cell's statistic less another's; samples (resamples,): the same in shared resamples, so that it is
    paired; NaN is left out (Efron & Tibshirani 1993, chapters 6 and 13). Counting the samples beyond 0 would need no
    normal distribution, but could not go below 2 / (resamples + 1), which is too much once pairs are adjusted for.

    A standard error of 0 leaves p = 1 for no difference and NaN for any other. NaN where the difference is undefined,
    or fewer than two samples are defined.
    """
    defined = _defined(samples)
    if np.isnan(difference) or len(defined) < 2:
        return np.nan
    standard_error = defined.std(ddof=1)
    if standard_error == 0:
        return 1.0 if difference == 0 else np.nan
    return float(2 * ndtr(-abs(difference) / standard_error))


def _influence(jackknife: np.ndarray, strata: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """What each person adds to the statistic, (people,), and the stratum of each from 0, (people,)."""
    _, stratum = np.unique(np.zeros(len(jackknife)) if strata is None else np.asarray(strata), return_inverse=True)
    require_same_length(jackknife=jackknife, strata=stratum)
    sizes = np.bincount(stratum)
    means = np.bincount(stratum, weights=jackknife) / sizes
    # Of a sum over strata, each of size m: influence (m - 1) (mean - value), over m.
    return (1 - 1 / sizes[stratum]) * (means[stratum] - jackknife), stratum


def _acceleration(influence: np.ndarray) -> float:
    """A sixth of the skewness of the people's influence; NaN where a value is, 0 where all are equal."""
    spread = influence @ influence
    return 0.0 if spread == 0 else float((influence**3).sum() / (6 * spread**1.5))


def _widened_quantile(tail: float, influence: np.ndarray, stratum: np.ndarray) -> float:
    """Student's upper quantile times the root of (unbiased variance / variance of the resamples)."""
    others = np.bincount(stratum) - 1
    resampled = np.bincount(stratum, weights=influence**2)
    varies = (others > 0) & (resampled != 0)
    if not varies.any():
        return -float(ndtri(tail))
    others, resampled = others[varies], resampled[varies]
    unbiased = resampled * (1 + 1 / others)
    freedom = unbiased.sum() ** 2 / (unbiased**2 / others).sum()
    return float(student_t.isf(tail, freedom) * np.sqrt(unbiased.sum() / resampled.sum()))


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return (1 - confidence) / 2


def _defined(samples: ArrayLike) -> np.ndarray:
    samples = np.asarray(samples, dtype=np.float64)
    return samples[~np.isnan(samples)]


def _between(samples: np.ndarray, low: float, high: float) -> Interval:
    """The quantiles at two levels, unless a tail beyond one of them holds less than one sample."""
    if len(samples) * min(low, 1 - high) < 1 - 1e-9:
        return UNDEFINED
    bounds = np.quantile(samples, [low, high])
    return float(bounds[0]), float(bounds[1])
