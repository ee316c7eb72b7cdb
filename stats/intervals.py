"""From how a statistic varies with the patients drawn to an interval, and to a p-value for a difference.

Either by the spread between patients (Student's t), or by the statistic in resamples of them (bootstrap). Which of them
holds what it promises, and from how many patients on, is simulated in docs/statistics.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import t as student_t

from stats.checks import tail_of
from stats.jackknife import Spread, skewness

Interval = tuple[float, float]
UNDEFINED: Interval = (np.nan, np.nan)

# On which Student's interval is symmetric: shares lie in (0, 1), ratios above 0, correlations in (-1, 1).
Scale = Literal["identity", "log", "logit", "atanh"]


@dataclass(frozen=True)
class _Scale:
    to: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    low: float = -math.inf
    high: float = math.inf


_SCALES: dict[Scale, _Scale] = {
    "identity": _Scale(to=float, back=float, slope=lambda _: 1.0),
    "log": _Scale(to=math.log, back=np.exp, slope=lambda x: 1 / x, low=0),
    "logit": _Scale(to=logit, back=expit, slope=lambda x: 1 / (x * (1 - x)), low=0, high=1),
    "atanh": _Scale(to=math.atanh, back=math.tanh, slope=lambda x: 1 / (1 - x * x), low=-1, high=1),
}


def student_interval(estimate: float, spread: Spread, confidence: float = 0.95, scale: Scale = "identity") -> Interval:
    """Estimate plus and minus Student's quantile times the standard error, on a scale that suits the statistic.

    scale: the interval is symmetric there, its standard error by the delta method, and its bounds keep inside the
    statistic's range (Agresti 2013, section 3.1; for the AUC Pepe 2003, chapter 5).

    (NaN, NaN) where the spread is undefined; where it is 0, since that nobody changes the statistic says nothing of its
    chance, but (0, 0) for a difference of 0, of two models that are alike; where the estimate lies at or beyond an end
    of its scale, as a sensitivity of 1, which has no logit; and where a bound would be infinite.

    Raises ValueError for a confidence outside (0, 1).
    """
    tail, on = tail_of(confidence), _SCALES[scale]
    if math.isnan(estimate) or math.isnan(spread.standard_error) or not on.low < estimate < on.high:
        return UNDEFINED
    if spread.standard_error == 0:
        return (0.0, 0.0) if estimate == 0 else UNDEFINED
    margin = student_t.isf(tail, spread.degrees_of_freedom) * spread.standard_error * on.slope(estimate)
    with np.errstate(over="ignore"):
        low, high = (float(on.back(on.to(estimate) + side)) for side in (-margin, margin))
    return (low, high) if math.isfinite(high) else UNDEFINED


def within_range(interval: Interval, scale: Scale) -> Interval:
    """An interval cut off at the ends of its scale, which an area or a ratio cannot lie beyond; NaN stays."""
    on = _SCALES[scale]
    low, high = (float(np.clip(bound, on.low, on.high)) for bound in interval)
    return low, high


def interval_at_end(share: float, patients: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a share of 0 or 1 (Clopper & Pearson 1934), as of so many independent patients all alike.

    A patient with several images is one trial, however many: no more is known of patients whose images all agree.

    Raises ValueError for another share, no patients, or a confidence outside (0, 1).
    """
    if share not in (0, 1) or patients < 1:
        raise ValueError(f"a share of 0 or 1 of at least one patient is expected, got {share} of {patients}")
    bound = tail_of(confidence) ** (1 / patients)
    return (bound, 1.0) if share == 1 else (0.0, 1 - bound)


def student_p_value(estimate: float, spread: Spread, null: float = 0, scale: Scale = "identity") -> float:
    """Two-sided p-value of an estimate against a null value, by Student's t on a scale, as `student_interval`.

    At most 1 - confidence exactly where the interval of that confidence does not hold the null value. A standard error
    of 0 leaves p = 1 for an estimate of the null value and NaN for any other; NaN where either is undefined, and where
    the estimate lies at an end of its scale.
    """
    if math.isnan(estimate) or math.isnan(spread.standard_error):
        return math.nan
    if spread.standard_error == 0:
        return 1.0 if estimate == null else math.nan
    distance = _distance(estimate, null, spread.standard_error, scale)
    return float(2 * student_t.sf(abs(distance), spread.degrees_of_freedom))


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> Interval:
    """The percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13), with linear interpolation.

    samples (resamples,): a statistic in each resample; NaN (undefined there) is left out. (NaN, NaN) where fewer than
    `2 / (1 - confidence)` are defined (40 for 95 %), since either tail then holds less than one of them.

    Raises ValueError for a confidence outside (0, 1).
    """
    tail = tail_of(confidence)
    return _between(_defined(samples), tail, 1 - tail)


def bca_interval(
    estimate: float,
    samples: ArrayLike,
    jackknife: ArrayLike,
    confidence: float = 0.95,
    *,
    strata: ArrayLike | None = None,
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval (Efron 1987; Davison & Hinkley 1997, section 5.3).

    The percentiles are shifted for the samples' median bias (a sample equal to the estimate counts as half below it),
    and for how the standard error changes with the statistic, told from the skewness of what each patient adds to it.

    estimate: the statistic on the data itself. samples (resamples,): in each resample; NaN is left out. jackknife,
    strata (patients,): the statistic without each patient in turn and the stratum of each, by `leave_out_patients`.

    (NaN, NaN) where the estimate is undefined or beyond all samples; where the statistic is undefined without some
    patient, since that one alone carries it; and, as in `percentile_interval`, where either adjusted tail holds less
    than one defined sample.

    Raises ValueError for a confidence outside (0, 1), or strata of other length than jackknife.
    """
    tail = tail_of(confidence)
    defined = _defined(samples)
    acceleration = skewness(jackknife, strata) / 6
    twice_below = np.count_nonzero(defined < estimate) + np.count_nonzero(defined <= estimate)
    if not 0 < twice_below < 2 * len(defined):
        return UNDEFINED
    bias = ndtri(twice_below / (2 * len(defined)))
    shifted = bias + ndtri([tail, 1 - tail])
    stretch = 1 - acceleration * shifted
    if not (stretch > 0).all():  # beyond, the two levels would cross; NaN ends here, too
        return UNDEFINED
    return _between(defined, *ndtr(bias + shifted / stretch))


def bootstrap_p_value(estimate: float, samples: ArrayLike, null: float = 0, scale: Scale = "identity") -> float:
    """Two-sided p-value of an estimate against a null value, from its bootstrap standard error and the normal's tails.

    estimate: such as one cell's statistic less another's; samples (resamples,): the same in each resample, shared for a
    difference so that it is paired; NaN is left out (Efron & Tibshirani 1993, chapters 6 and 13). Counting the samples
    beyond the null value would need no normal distribution, but could not go below 2 / (resamples + 1), which is too
    much once tests are adjusted for their number. scale: as of `student_interval`.

    A standard error of 0 leaves p = 1 for an estimate of the null value and NaN for any other. NaN where the estimate
    is undefined or at an end of its scale, or fewer than two samples are defined.
    """
    defined = _defined(samples)
    if np.isnan(estimate) or len(defined) < 2:
        return np.nan
    standard_error = float(defined.std(ddof=1))
    if standard_error == 0:
        return 1.0 if estimate == null else np.nan
    return float(2 * ndtr(-abs(_distance(estimate, null, standard_error, scale))))


def _distance(estimate: float, null: float, standard_error: float, scale: Scale) -> float:
    """Of an estimate from a null value, in standard errors on a scale; NaN at an end of the scale."""
    on = _SCALES[scale]
    if not on.low < estimate < on.high:
        return math.nan
    return (on.to(estimate) - on.to(null)) / (standard_error * on.slope(estimate))


def _defined(samples: ArrayLike) -> np.ndarray:
    samples = np.asarray(samples, dtype=np.float64)
    return samples[~np.isnan(samples)]


def _between(samples: np.ndarray, low: float, high: float) -> Interval:
    """The quantiles at two levels, unless a tail beyond one of them holds less than one sample."""
    if len(samples) * min(low, 1 - high) < 1 - 1e-9:
        return UNDEFINED
    bounds = np.quantile(samples, [low, high])
    return float(bounds[0]), float(bounds[1])
