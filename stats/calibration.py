"""Do predicted probabilities mean what they say: of the patients given 20 %, does one in five have the disease?"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from stats.checks import as_binary, as_ids, as_probabilities, require_same_length
from stats.resamples import PatientsResamples
from stats.shares import Bounds, effective_patients, wilson_interval

Number = TypeVar("Number", float, np.ndarray)

_BLOCK = 1 << 16  # resamples x images worked on at once: half a MB stays in the processor's cache
_STEPS = 100  # of Newton; five to eight are usual, more where the classes barely overlap
_SETTLED = 1e-7  # change of the logits, as a share of them, in the last step; Newton squares what is left


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared difference between probability and label, in [0, 1], 0 best (Brier 1950).

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. The prevalence as everyone's probability gives
    `prevalence * (1 - prevalence)`. Its resampled form is `mean_resampled` of the squared differences.

    Raises ValueError for other labels or probabilities, or different lengths.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    return float(np.mean((probabilities - positive) ** 2))


@dataclass(frozen=True)
class Calibration(Generic[Number]):
    """Logistic recalibration of probabilities: 0 and 1 where they are right on average and right in their spread.

    intercept: calibration-in-the-large, the a of `logit P(label) = a + logit(p)`. Above 0 risks are underestimated.
    slope: the b of `logit P(label) = a' + b logit(p)`. Below 1 predictions are too extreme, as after overfitting.
    """

    intercept: Number
    slope: Number


def calibration(labels: ArrayLike, probabilities: ArrayLike) -> Calibration[float]:
    """Calibration intercept and slope by maximum likelihood (Cox 1958; Van Calster et al. 2019).

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. 0 and 1 have no logit, so probabilities closer than 2.2e-16 to
    either (float64's epsilon) are moved to that distance; nothing else is clipped, and a confident error counts fully.

    An estimate that does not exist is NaN: both where a class is missing; the slope also where one probability
    separates the classes, ties at it included, or where all probabilities are the same. So is a slope out of reach of
    100 Newton steps: in the hundreds, where some probabilities are certain and the others differ by less than 0.0001.

    Raises ValueError for other labels or probabilities, or different lengths.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    intercepts, slopes = _recalibrate(positive, as_logits(probabilities), np.ones((1, len(positive))))
    return Calibration(float(intercepts[0]), float(slopes[0]))


def recalibration(labels: ArrayLike, probabilities: ArrayLike) -> tuple[float, float]:
    """The a' and b of `logit P(label) = a' + b logit(p)` by maximum likelihood, both NaN where `calibration` has no
    slope.

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. Raises ValueError as `calibration` does.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    intercepts, slopes = _fitted_line(positive, as_logits(probabilities), np.ones((1, len(positive))))
    return float(intercepts[0]), float(slopes[0])


def calibration_resampled(
    labels: ArrayLike, probabilities: ArrayLike, resamples: PatientsResamples
) -> Calibration[np.ndarray]:
    """`calibration` in each resample: intercept and slope (resamples,) float64, NaN where they do not exist there.

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. Newton's method runs for a block of resamples at once.

    Raises ValueError for other labels or probabilities, or lengths that differ from the resampled images.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    require_same_length(labels=positive, resampled_images=resamples.patient_of_image)
    logits = as_logits(probabilities)
    intercepts, slopes = np.empty((2, len(resamples.counts)))
    step = max(1, _BLOCK // len(positive))
    for start in range(0, len(resamples.counts), step):
        block = slice(start, start + step)
        weights = resamples.counts[block, resamples.patient_of_image].astype(np.float64)
        intercepts[block], slopes[block] = _recalibrate(positive, logits, weights)
    return Calibration(intercepts, slopes)


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """The points of a calibration plot, by rising probability: k bins of about as many images each.

    mean_predicted (k,), observed (k,): mean probability and share of positives, float64 in [0, 1]. n (k,): images.
    bin_of_image (n,): the bin of each image, from 0.
    """

    mean_predicted: np.ndarray
    observed: np.ndarray
    n: np.ndarray
    bin_of_image: np.ndarray


def calibration_bins(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> CalibrationBins:
    """Groups images by probability into at most `bins` bins of equal count and averages each.

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. Equal probabilities share a bin, so the order of the images does
    not matter; ties and few images make the bins fewer and less equal, and none is empty.

    Raises ValueError for other labels or probabilities, different lengths, or fewer than one bin.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    images = len(probabilities)
    lower_edges = np.sort(probabilities)[np.arange(1, bins) * images // bins]
    _, bin_of_image = np.unique(np.searchsorted(lower_edges, probabilities, side="right"), return_inverse=True)
    n = np.bincount(bin_of_image)
    predicted, observed = (np.bincount(bin_of_image, weights=values) / n for values in (probabilities, positive))
    return CalibrationBins(predicted, observed, n, bin_of_image)


def calibration_bands(bins: CalibrationBins, patients: ArrayLike, confidence: float = 0.95) -> Bounds:
    """Interval of each bin's observed share, (k,) low and high: Wilson's, of as many images as effective patients.

    patients (n,): the id of the patient on each image, in the order of `bins.bin_of_image`. Bins are those of the data,
    so the interval is of the share of positives among images with probabilities like these.

    Raises ValueError for a missing id, a length that differs from the images in bins, or a confidence outside (0, 1).
    """
    ids = as_ids("patients", patients)
    require_same_length(bin_of_image=bins.bin_of_image, patients=ids)
    sizes = [effective_patients(ids[bins.bin_of_image == k]) for k in range(len(bins.n))]
    return wilson_interval(bins.observed, sizes, confidence)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Mean distance between probability and share of positives over `calibration_bins`, weighted by n, in [0, 1].

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. Naeini et al. 2015, with bins of equal count in place of equal
    width, which leave most bins empty for a rare disease. Above 0 by chance alone even for perfect probabilities, the
    more so the fewer images a bin holds: compare it at the same n and bins only.

    Raises ValueError for other labels or probabilities, different lengths, or fewer than one bin.
    """
    points = calibration_bins(labels, probabilities, bins)
    return float(np.average(np.abs(points.mean_predicted - points.observed), weights=points.n))


def expected_calibration_error_resampled(
    labels: ArrayLike, probabilities: ArrayLike, resamples: PatientsResamples, bins: int = 10
) -> np.ndarray:
    """Expected calibration error in each resample, (resamples,) float64, over the bins of the data, held fixed.

    labels (n,) of 0/1, probabilities (n,) in [0, 1]. A resample adds its own chance distances to those of the data, so
    these values lie above the estimate on average, and a percentile interval is shifted upwards.

    Raises ValueError for other labels or probabilities, lengths that differ from the resampled images, or fewer than
    one bin.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    require_same_length(labels=positive, resampled_images=resamples.patient_of_image)
    points = calibration_bins(positive, probabilities, bins)
    in_bin = points.bin_of_image[:, np.newaxis] == np.arange(len(points.n))
    distances = resamples.totals(in_bin * (probabilities - positive)[:, np.newaxis])
    images = resamples.totals(np.ones((len(positive), 1)))
    return np.abs(distances).sum(axis=1) / images[:, 0]


def _labelled_probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    positive, probabilities = as_binary("labels", labels), as_probabilities("probabilities", probabilities)
    require_same_length(labels=positive, probabilities=probabilities)
    return positive, probabilities


def as_logits(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (n,) in [0, 1] as finite logits: 0 and 1 are moved by float64's epsilon."""
    epsilon = np.finfo(np.float64).eps
    return logit(np.clip(probabilities, epsilon, 1 - epsilon))


def _recalibrate(positive: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Calibration intercept and slope for each row of weights (rows, n), both (rows,), NaN where they do not exist."""
    both_classes = (weights[:, positive].sum(axis=1) > 0) & (weights[:, ~positive].sum(axis=1) > 0)
    intercepts = np.full(len(weights), np.nan)
    intercepts[both_classes], _ = _newton(positive, logits, weights[both_classes], slope_free=False)
    return intercepts, _fitted_line(positive, logits, weights)[1]


def _fitted_line(positive: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope together for each row of weights (rows, n), both (rows,), NaN where they do not exist."""
    low, high = zip(*(_range(logits[of], weights[:, of]) for of in (positive, ~positive)), strict=True)
    # Neither class lies wholly at or above the other (Albert & Anderson 1984, for one variable).
    overlap = (low[0] < high[1]) & (low[1] < high[0])
    intercepts, slopes = np.full((2, len(weights)), np.nan)
    intercepts[overlap], slopes[overlap] = _newton(positive, logits, weights[overlap], slope_free=True)
    return intercepts, slopes


def _range(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest of values (n,) with a weight, for each row of weights (rows, n); (inf, -inf) for none."""
    weighted = weights > 0
    return (
        np.where(weighted, values, np.inf).min(axis=1, initial=np.inf),
        np.where(weighted, values, -np.inf).max(axis=1, initial=-np.inf),
    )


def _newton(
    positive: np.ndarray, x: np.ndarray, weights: np.ndarray, *, slope_free: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum likelihood of `logit P(positive) = a + b x` for each row of weights (rows, n): a and b, both (rows,).

    b is 1 unless free; NaN where `_STEPS` do not reach it. A Newton step is taken whole where it changes no logit by
    more than 1, and where the likelihood, which is concave, still rises at its end. Otherwise it is cut to the share
    log(1 + r) / r, with r the largest change: up to a share t the curvature grows by exp(r t) at most, so the
    likelihood rises this far (Sun & Tran-Dinh 2019).
    """
    centre = x.mean()  # logits that hardly differ would cancel in the curvature of b
    x = x - centre
    powers = np.stack([np.ones_like(x), x, x * x], axis=1)
    ends = powers[[x.argmin(), x.argmax()], :2].T
    against = np.where(positive, -1.0, 1.0)[:, np.newaxis] * powers[:, :2]  # times the line: logit of the other class
    b = np.full(len(weights), 0.0 if slope_free else 1.0)
    line = np.stack([b * centre, b], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_STEPS):
            wrong = expit(line @ against.T)
            expected = weights * wrong
            rise_a, rise_b = -(expected @ against).T
            curve_a, curve_ab, curve_b = ((expected * (1 - wrong)) @ powers).T
            mean_x = curve_ab / curve_a
            step_b = (rise_b - mean_x * rise_a) / (curve_b - mean_x * curve_ab) if slope_free else 0 * rise_b
            step = np.stack([(rise_a - curve_ab * step_b) / curve_a, step_b], axis=1)

            change = np.abs(step @ ends).max(axis=1)
            settled = change <= _SETTLED * (1 + np.abs(line @ ends).max(axis=1))
            far = np.flatnonzero(change > 1)
            rise_at_end = -(weights[far] * expit((line + step)[far] @ against.T)) @ against
            beyond = far[(rise_at_end * step[far]).sum(axis=1) < 0]
            step[beyond] *= (np.log1p(change[beyond]) / change[beyond])[:, np.newaxis]
            line += step
            if settled.all():
                break
    line[~settled] = np.nan
    return line[:, 0] - line[:, 1] * centre, line[:, 1]
