"""How precise a test set of so many patients can be, and how many a precision needs, before anything is measured.

All formulas are for independent patients. A patient with several images is one: images of a patient agree, so that
they add little.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm

from stats.checks import as_numbers, tail_of

MOST = 10**9  # patients, beyond which no number is given


def auc_standard_error(auc: float, positives: float, negatives: float) -> float:
    """Of an AUC from so many patients of either class (Hanley & McNeil 1982, Radiology 143:29).

    auc in (0, 1). Their variance is that of scores that are exponential in either class. For normal scores it is right
    with as many positives as negatives, and on the safe side with few positives (a fifth too wide at 20 of 100).

    Raises ValueError for an AUC outside (0, 1), or less than one patient of a class.
    """
    _require_share("auc", auc)
    if positives < 1 or negatives < 1:
        raise ValueError(f"at least one patient of each class is needed, got {positives:g} and {negatives:g}")
    of_two_positives, of_two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (positives - 1) * (of_two_positives - auc**2) + (negatives - 1) * (of_two_negatives - auc**2)
    ) / (positives * negatives)
    return math.sqrt(variance)


def auc_width(auc: float, positives: float, negatives: float, confidence: float = 0.95) -> float:
    """Width of the interval of an AUC, symmetric on the logit scale as the study's own; raises as the former."""
    half = norm.isf(tail_of(confidence)) * auc_standard_error(auc, positives, negatives) / (auc * (1 - auc))
    low, high = expit(logit(auc) + np.array([-half, half]))
    return float(high - low)


def patients_for_auc_width(auc: float, prevalence: float, width: float, confidence: float = 0.95) -> int:
    """The least number of patients, a share of them positive, whose interval of an AUC is no wider than that.

    Raises ValueError for an AUC, prevalence or width outside (0, 1).
    """
    _require_share("prevalence", prevalence)
    _require_share("width", width)
    fewest = math.ceil(1 / min(prevalence, 1 - prevalence))
    return _least(
        lambda n: auc_width(auc, max(1, n * prevalence), max(1, n * (1 - prevalence)), confidence) <= width, fewest
    )


@dataclass(frozen=True)
class CalibrationPrecision:
    """Standard errors of a calibrated model's calibration slope, intercept and log(observed / expected)."""

    slope: float
    intercept: float
    log_observed_expected: float


def calibration_precision(
    patients: float, linear_predictor: ArrayLike, weights: np.ndarray | None = None
) -> CalibrationPrecision:
    """What a calibrated model's calibration is known to from so many patients (Riley et al. 2021, Stat Med 40:4230).

    linear_predictor (m,): logits of the risks as they are distributed among patients; weights (m,): how common each is.
    The slope's standard error is that of logistic regression (their section 3.2), the intercept's
    (calibration-in-the-large) that with a slope of 1, and log(O / E)'s follows from the prevalence (section 3.1).

    Raises ValueError for NaN, or fewer than one patient.
    """
    values = as_numbers("linear_predictor", linear_predictor)
    if patients < 1:
        raise ValueError(f"at least one patient is needed, got {patients:g}")
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
    """Logits of the risks of a calibrated model with an AUC and a prevalence, and how common each is, (2 points,) each.

    Scores are normal with one variance in either class (Riley et al. 2021, section 4.6.3, from the AUC alone). The
    logit of the risk is then that of the prevalence plus a log-likelihood ratio, which is normal around plus or minus
    half its variance, 2 z(auc)^2. Gauss-Hermite points.

    Raises ValueError for an AUC outside (0.5, 1) or a prevalence outside (0, 1).
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
    """The least number of patients whose interval of a calibration slope around 1 is no wider than that.

    Raises ValueError as `binormal_predictor`, and for a width that is not above 0.
    """
    of_one = calibration_precision(1, *binormal_predictor(auc, prevalence)).slope
    return _patients(of_one, _standard_error(width, confidence))


def patients_for_observed_expected_width(prevalence: float, width: float, confidence: float = 0.95) -> int:
    """The least number of patients whose interval of observed / expected positives around 1 is no wider than that.

    The interval is symmetric on the log scale: exp(z s) - exp(-z s) is `width`, so z s is asinh(width / 2).

    Raises ValueError for a prevalence outside (0, 1), or a width that is not above 0.
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
    """How many patients bring a standard error of one patient down to another one."""
    return math.ceil((of_one / standard_error) ** 2 - 1e-9)


def _least(enough: Callable[[int], bool], fewest: int) -> int:
    """The least number from `fewest` on that is enough, where all larger numbers are."""
    high = max(1, fewest)
    while not enough(high):
        if high > MOST:
            raise ValueError(f"more than {MOST:,} patients would be needed")
        high *= 2
    low = max(fewest, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _require_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")
