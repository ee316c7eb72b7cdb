"""Confidence intervals and p-values of a statistic over patients.

They come from the spread between patients (Student's t), or from resamples of patients (bootstrap). docs/statistics.md
simulates their coverage by the number of patients.
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

# The scale on which Student's interval is symmetric: logit for shares in (0, 1), log for ratios above 0, atanh for
# correlations in (-1, 1).
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


def on_scale(value: float, scale: Scale) -> tuple[float, float]:
    """A statistic on a scale, and the slope of the scale there, by which its standard error is multiplied.

    Args:
        value: the statistic.
        scale: the scale.

    Returns:
        Both are NaN for a value at or beyond an end of the scale.
    """
    on = _SCALES[scale]
    return (float(on.to(value)), float(on.slope(value))) if on.low < value < on.high else (math.nan, math.nan)


def student_interval(estimate: float, spread: Spread, confidence: float = 0.95, scale: Scale = "identity") -> Interval:
    """Student's t interval of an estimate, computed on a suitable scale.

    The interval is the estimate plus and minus Student's quantile times the standard error on the scale (by the delta
    method), transformed back. Its bounds therefore stay inside the statistic's range (Agresti 2013, section 3.1; for
    the AUC Pepe 2003, chapter 5).

    Args:
        estimate: the statistic on all patients.
        spread: its standard error and degrees of freedom, on the statistic's own scale.
        confidence: in (0, 1).
        scale: the scale on which the interval is symmetric.

    Returns:
        Low and high. (NaN, NaN) if the spread is undefined or 0 (if no patient changes the statistic, its uncertainty
        is not known), if the estimate lies at or beyond an end of the scale (a sensitivity of 1 has no logit), or if a
        bound would be infinite. The exception is a difference of 0 with a spread of 0, from two identical models:
        (0, 0).

    Raises:
        ValueError: the confidence is outside (0, 1).
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
    """An interval cut off at the ends of its scale, such as 0 and 1 for an AUC; NaN stays NaN."""
    on = _SCALES[scale]
    low, high = (float(np.clip(bound, on.low, on.high)) for bound in interval)
    return low, high


def interval_at_end(share: float, patients: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a share of 0 or 1 over independent patients (Clopper & Pearson 1934).

    A patient counts once, whatever the number of images, because images of one patient that all agree carry no more
    information than one.

    Args:
        share: 0 or 1.
        patients: number of patients, at least 1.
        confidence: in (0, 1).

    Returns:
        Low and high.

    Raises:
        ValueError: the share is neither 0 nor 1, there are no patients, or the confidence is outside (0, 1).
    """
    if share not in (0, 1) or patients < 1:
        raise ValueError(f"share must be 0 or 1 and patients at least 1, got a share of {share} over {patients}")
    bound = tail_of(confidence) ** (1 / patients)
    return (bound, 1.0) if share == 1 else (0.0, 1 - bound)


def student_p_value(estimate: float, spread: Spread, null: float = 0, scale: Scale = "identity") -> float:
    """Two-sided p-value of an estimate against a null value, by Student's t on a scale as in `student_interval`.

    It is at most 1 - confidence if and only if the interval of that confidence does not contain the null value.

    Args:
        estimate: the statistic on all patients.
        spread: its standard error and degrees of freedom.
        null: the null value.
        scale: the scale of the test.

    Returns:
        The p-value. With a standard error of 0: 1 if the estimate equals the null value, otherwise NaN. NaN also if the
        estimate or its spread is undefined, and if the estimate lies at an end of its scale.
    """
    if math.isnan(estimate) or math.isnan(spread.standard_error):
        return math.nan
    if spread.standard_error == 0:
        return 1.0 if estimate == null else math.nan
    distance = _distance(estimate, null, spread.standard_error, scale)
    return float(2 * student_t.sf(abs(distance), spread.degrees_of_freedom))


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> Interval:
    """The percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13), with linear interpolation.

    Args:
        samples: (resamples,), the statistic in each resample; NaN (undefined there) is left out.
        confidence: in (0, 1).

    Returns:
        Low and high. (NaN, NaN) if fewer than `2 / (1 - confidence)` samples are defined (40 for 95 %), because each
        tail then contains less than one sample.

    Raises:
        ValueError: the confidence is outside (0, 1).
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
    """The bias-corrected and accelerated (BCa) bootstrap interval (Efron 1987; Davison & Hinkley 1997, section 5.3).

    The percentiles are corrected for the median bias of the samples (a sample equal to the estimate counts as half
    below it) and for the change of the standard error with the statistic, estimated from the skewness of the patients'
    influence values.

    Args:
        estimate: the statistic on the data.
        samples: (resamples,), the statistic in each resample; NaN is left out.
        jackknife: (patients,), the statistic without each patient in turn (`stats.jackknife.leave_out_patients`).
        confidence: in (0, 1).
        strata: (patients,), stratum of each patient; None for one stratum.

    Returns:
        Low and high. (NaN, NaN) if the estimate is undefined or beyond all samples, if the statistic is undefined
        without one of the patients, or if one of the adjusted tails contains less than one defined sample.

    Raises:
        ValueError: the confidence is outside (0, 1), or jackknife and strata differ in length.
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
    if not (stretch > 0).all():  # otherwise the two levels would cross; also True for NaN
        return UNDEFINED
    return _between(defined, *ndtr(bias + shifted / stretch))


def bootstrap_p_value(estimate: float, samples: ArrayLike, null: float = 0, scale: Scale = "identity") -> float:
    """Two-sided p-value of an estimate against a null value, by a z test with the bootstrap standard error.

    See Efron & Tibshirani 1993, chapters 6 and 13. The share of samples beyond the null value would not assume a normal
    distribution. It cannot be below 2 / (resamples + 1), however, which is too high after adjustment for many tests.

    Args:
        estimate: the statistic, such as the difference between two cells.
        samples: (resamples,), the statistic in each resample; NaN is left out. The resamples of a difference must be
            shared by both cells, so that it is paired.
        null: the null value.
        scale: the scale of the test, as in `student_interval`.

    Returns:
        The p-value. With a standard error of 0: 1 if the estimate equals the null value, otherwise NaN. NaN also if the
        estimate is undefined or at an end of its scale, or if fewer than two samples are defined.
    """
    defined = _defined(samples)
    if np.isnan(estimate) or len(defined) < 2:
        return np.nan
    standard_error = float(defined.std(ddof=1))
    if standard_error == 0:
        return 1.0 if estimate == null else np.nan
    return float(2 * ndtr(-abs(_distance(estimate, null, standard_error, scale))))


def _distance(estimate: float, null: float, standard_error: float, scale: Scale) -> float:
    """Distance of an estimate from a null value, in standard errors on a scale; NaN at an end of the scale."""
    on = _SCALES[scale]
    if not on.low < estimate < on.high:
        return math.nan
    return (on.to(estimate) - on.to(null)) / (standard_error * on.slope(estimate))


def _defined(samples: ArrayLike) -> np.ndarray:
    samples = np.asarray(samples, dtype=np.float64)
    return samples[~np.isnan(samples)]


def _between(samples: np.ndarray, low: float, high: float) -> Interval:
    """The quantiles at two levels; (NaN, NaN) if the tail beyond one of them contains less than one sample."""
    if len(samples) * min(low, 1 - high) < 1 - 1e-9:
        return UNDEFINED
    bounds = np.quantile(samples, [low, high])
    return float(bounds[0]), float(bounds[1])
