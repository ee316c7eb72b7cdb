"""Sample size: the precision to expect from a number of patients, and the number of patients that a precision needs.

All formulas are for independent patients. A patient with several images counts once, because images of the same patient
are similar and add little information.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm

from stats.checks import as_numbers, tail_of

MOST = 10**9  # patients; larger sample sizes are an error


def auc_standard_error(auc: float, positives: float, negatives: float) -> float:
    """Standard error of an AUC (Hanley & McNeil 1982, Radiology 143:29).

    The variance is exact for scores that are exponentially distributed in both classes. For normal scores it is right
    with as many positives as negatives, and conservative with few positives (intervals are a fifth too wide with 20
    positives of 100).

    Args:
        auc: the expected AUC, in (0, 1).
        positives: number of positive patients, at least 1; may be fractional.
        negatives: number of negative patients, likewise.

    Raises:
        ValueError: the AUC is outside (0, 1), or a class has less than one patient.
    """
    _require_share("auc", auc)
    if positives < 1 or negatives < 1:
        raise ValueError(
            f"each class needs at least one patient, got {positives:g} positive and {negatives:g} negative"
        )
    of_two_positives, of_two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (positives - 1) * (of_two_positives - auc**2) + (negatives - 1) * (of_two_negatives - auc**2)
    ) / (positives * negatives)
    return math.sqrt(variance)


def auc_width(auc: float, positives: float, negatives: float, confidence: float = 0.95) -> float:
    """Width of the interval of an AUC, which is symmetric on the logit scale like the intervals of a study.

    Args:
        auc: the expected AUC, in (0, 1).
        positives: number of positive patients, at least 1; may be fractional.
        negatives: number of negative patients, likewise.
        confidence: in (0, 1).

    Raises:
        ValueError: the AUC or the confidence is outside (0, 1), or a class has less than one patient.
    """
    half = norm.isf(tail_of(confidence)) * auc_standard_error(auc, positives, negatives) / (auc * (1 - auc))
    low, high = expit(logit(auc) + np.array([-half, half]))
    return float(high - low)


def patients_for_auc_width(auc: float, prevalence: float, width: float, confidence: float = 0.95) -> int:
    """The smallest number of patients for an interval of an AUC of at most a given width.

    Args:
        auc: the expected AUC, in (0, 1).
        prevalence: share of positive patients, in (0, 1).
        width: width of the interval, in (0, 1).
        confidence: in (0, 1).

    Raises:
        ValueError: an argument is outside (0, 1), or more than `MOST` patients are needed.
    """
    _require_share("prevalence", prevalence)
    _require_share("width", width)
    fewest = math.ceil(1 / min(prevalence, 1 - prevalence))
    return _least(
        lambda n: auc_width(auc, max(1, n * prevalence), max(1, n * (1 - prevalence)), confidence) <= width, fewest
    )


@dataclass(frozen=True)
class CalibrationPrecision:
    """Standard errors of the calibration measures of a calibrated model.

    Attributes:
        slope: standard error of the calibration slope.
        intercept: standard error of the calibration intercept (calibration-in-the-large).
        log_observed_expected: standard error of log(observed / expected positives).
    """

    slope: float
    intercept: float
    log_observed_expected: float


def calibration_precision(
    patients: float, linear_predictor: ArrayLike, weights: np.ndarray | None = None
) -> CalibrationPrecision:
    """Precision of a calibrated model's calibration measures (Riley et al. 2021, Stat Med 40:4230).

    The standard error of the slope is that of logistic regression (their section 3.2). That of the intercept is for a
    slope of 1, and that of log(observed / expected) follows from the prevalence (section 3.1).

    Args:
        patients: number of patients, at least 1; may be fractional.
        linear_predictor: (m,), logits of the risks, with their distribution among patients.
        weights: (m,), relative frequency of each logit; None if all are equally frequent.

    Raises:
        ValueError: a logit is NaN, or there is less than one patient.
    """
    values = as_numbers("linear_predictor", linear_predictor)
    if patients < 1:
        raise ValueError(f"patients must be at least 1, got {patients:g}")
    risks = expit(values)
    information = risks * (1 - risks)
    one, first, second = (np.average(information * values**power, weights=weights) for power in (0, 1, 2))
    prevalence = np.average(risks, weights=weights)
    return CalibrationPrecision(
        slope=math.sqrt(one / (one * second - first**2) / patients),
        intercept=math.sqrt(1 / one / patients),
        log_observed_expected=math.sqrt((1 - prevalence) / prevalence / patients),
    )


def binormal_predictor(auc: float, prevalence: float, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """The distribution of the risks of a calibrated model, from its AUC and the prevalence alone.

    Scores are assumed to be normal with the same variance in both classes (Riley et al. 2021, section 4.6.3). The logit
    of the risk is then the logit of the prevalence plus a log-likelihood ratio. This ratio is normal with a variance of
    2 z(auc)^2 and a mean of plus or minus half the variance. The points are Gauss-Hermite nodes.

    Args:
        auc: the expected AUC, in (0.5, 1).
        prevalence: share of positive patients, in (0, 1).
        points: number of nodes for each class.

    Returns:
        Logits of the risks and their relative frequencies, each (2 points,).

    Raises:
        ValueError: the AUC is outside (0.5, 1) or the prevalence outside (0, 1).
    """
    _require_share("prevalence", prevalence)
    if not 0.5 < auc < 1:
        raise ValueError(f"auc must be between 0.5 and 1, got {auc}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    variance = 2 * norm.ppf(auc) ** 2
    ratios = [side * variance / 2 + math.sqrt(variance) * nodes for side in (1, -1)]
    shares = [share * weights / weights.sum() for share in (prevalence, 1 - prevalence)]
    return logit(prevalence) + np.concatenate(ratios), np.concatenate(shares)


def patients_for_slope_width(auc: float, prevalence: float, width: float, confidence: float = 0.95) -> int:
    """The smallest number of patients for an interval of a calibration slope of 1 of at most a given width.

    Args:
        auc: the expected AUC, in (0.5, 1).
        prevalence: share of positive patients, in (0, 1).
        width: width of the interval, above 0.
        confidence: in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    of_one = calibration_precision(1, *binormal_predictor(auc, prevalence)).slope
    return _patients(of_one, _standard_error(width, confidence))


def patients_for_observed_expected_width(prevalence: float, width: float, confidence: float = 0.95) -> int:
    """The smallest number of patients for an interval of observed / expected positives of at most a given width.

    The interval is around 1 and symmetric on the log scale: exp(z s) - exp(-z s) is `width`, so z s is
    asinh(width / 2), where s is the standard error.

    Args:
        prevalence: share of positive patients, in (0, 1).
        width: width of the interval, above 0.
        confidence: in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    _require_share("prevalence", prevalence)
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    of_one = math.sqrt((1 - prevalence) / prevalence)
    return _patients(of_one, math.asinh(width / 2) / float(norm.isf(tail_of(confidence))))


def _standard_error(width: float, confidence: float) -> float:
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    return width / (2 * float(norm.isf(tail_of(confidence))))


def _patients(of_one: float, standard_error: float) -> int:
    """The number of patients that reduces a standard error `of_one` patient to `standard_error`."""
    return math.ceil((of_one / standard_error) ** 2 - 1e-9)


def _least(enough: Callable[[int], bool], fewest: int) -> int:
    """The smallest number, at least `fewest`, that is enough; if a number is enough, all larger ones must be."""
    high = max(1, fewest)
    while not enough(high):
        if high > MOST:
            raise ValueError(f"more than {MOST:,} patients are needed; choose a larger width")
        high *= 2
    low = max(fewest, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _require_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")
