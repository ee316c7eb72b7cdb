"""Calibration: whether, for example, one in five of the patients with a predicted risk of 20 % has the disease."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from stats.checks import as_binary, as_ids, as_probabilities, require_same_length
from stats.resamples import PatientResamples
from stats.shares import Bounds, effective_patients, wilson_interval

Number = TypeVar("Number", float, np.ndarray)

_BLOCK = 1 << 16  # resamples x images per block: half a MB, which fits into the processor's cache
_STEPS = 100  # Newton steps; five to eight are usual, and more if the classes barely overlap
_SETTLED = 1e-7  # relative change of the logits in the last step; Newton's method converges quadratically


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score: mean squared difference between probability and label (Brier 1950).

    A model that gives every image the prevalence as probability has a score of `prevalence * (1 - prevalence)`. For
    resamples, use `stats.bootstrap.mean_resampled` of the squared differences.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].

    Returns:
        The score in [0, 1]; lower is better.

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], or lengths differ.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    return float(np.mean((probabilities - positive) ** 2))


@dataclass(frozen=True)
class Calibration(Generic[Number]):
    """Calibration intercept and slope. They are 0 and 1 for probabilities that are right on average and in spread.

    Attributes:
        intercept: calibration-in-the-large, the a of `logit P(label) = a + logit(p)`. Above 0, risks are
            underestimated.
        slope: the b of `logit P(label) = a' + b logit(p)`. Below 1, predictions are too extreme, as after overfitting.
    """

    intercept: Number
    slope: Number


def calibration(labels: ArrayLike, probabilities: ArrayLike) -> Calibration[float]:
    """Calibration intercept and slope by maximum likelihood (Cox 1958; Van Calster et al. 2019).

    Because 0 and 1 have no logit, probabilities within 2.2e-16 of either (float64's epsilon) are moved to that
    distance. Nothing else is clipped, so a confident error counts fully.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].

    Returns:
        Intercept and slope. Both are NaN if a class is missing. The slope is also NaN if a probability separates the
        classes (with or without ties at it), if all probabilities are the same, or if 100 Newton steps do not reach it
        (slopes in the hundreds, where some probabilities are certain and the others differ by less than 0.0001).

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], or lengths differ.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    intercepts, slopes = _recalibrate(positive, as_logits(probabilities), np.ones((1, len(positive))))
    return Calibration(float(intercepts[0]), float(slopes[0]))


def recalibration(labels: ArrayLike, probabilities: ArrayLike) -> tuple[float, float]:
    """Intercept a' and slope b of `logit P(label) = a' + b logit(p)`, fitted together by maximum likelihood.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].

    Returns:
        a' and b, both NaN if the slope of `calibration` is NaN.

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], or lengths differ.
    """
    positive, probabilities = _labelled_probabilities(labels, probabilities)
    intercepts, slopes = _fitted_line(positive, as_logits(probabilities), np.ones((1, len(positive))))
    return float(intercepts[0]), float(slopes[0])


def calibration_resampled(
    labels: ArrayLike, probabilities: ArrayLike, resamples: PatientResamples
) -> Calibration[np.ndarray]:
    """`calibration` in each resample. Newton's method runs for a block of resamples at once.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].
        resamples: the resamples of the patients.

    Returns:
        Intercept and slope, each (resamples,) float64, NaN as in `calibration`.

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], or lengths differ.
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
    """The points of a calibration plot: k bins of about equal count, by ascending probability.

    Attributes:
        mean_predicted: (k,) float64 in [0, 1], mean probability in each bin.
        observed: (k,) float64 in [0, 1], share of positives in each bin.
        n: (k,) int, number of images in each bin.
        bin_of_image: (n,) int, the bin of each image, from 0.
    """

    mean_predicted: np.ndarray
    observed: np.ndarray
    n: np.ndarray
    bin_of_image: np.ndarray


def calibration_bins(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> CalibrationBins:
    """Groups images by probability into bins of equal count, and averages probabilities and labels in each.

    Images with equal probabilities share a bin, so the order of the images does not matter. With ties or few images
    there are fewer bins and their counts differ more, but no bin is empty.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].
        bins: maximum number of bins.

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], lengths differ, or `bins` is below 1.
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
    """Wilson's interval of the share of positives in each bin, with the effective number of patients as sample size.

    The bins are treated as fixed: the interval is for the share of positives among images with such probabilities.

    Args:
        bins: the bins.
        patients: (n,), id of each image's patient, in the order of `bins.bin_of_image`.
        confidence: in (0, 1).

    Returns:
        Low and high, each (k,).

    Raises:
        ValueError: an id is missing, lengths differ, or the confidence is outside (0, 1).
    """
    ids = as_ids("patients", patients)
    require_same_length(bin_of_image=bins.bin_of_image, patients=ids)
    sizes = [effective_patients(ids[bins.bin_of_image == k]) for k in range(len(bins.n))]
    return wilson_interval(bins.observed, sizes, confidence)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015) over `calibration_bins`.

    It is the mean distance between mean probability and share of positives over the bins, weighted by their number of
    images. Bins have equal count instead of equal width, because with a rare disease most bins of equal width would be
    empty. The error is above 0 by chance even for perfect probabilities, and more so with fewer images per bin. Compare
    it therefore only for the same number of images and bins.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].
        bins: maximum number of bins.

    Returns:
        The error in [0, 1]; lower is better.

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], lengths differ, or `bins` is below 1.
    """
    points = calibration_bins(labels, probabilities, bins)
    return float(np.average(np.abs(points.mean_predicted - points.observed), weights=points.n))


def expected_calibration_error_resampled(
    labels: ArrayLike, probabilities: ArrayLike, resamples: PatientResamples, bins: int = 10
) -> np.ndarray:
    """Expected calibration error in each resample, with the bins of the original data.

    Resampling adds random distances to those in the data. The values are therefore above the estimate on average, and a
    percentile interval is shifted upwards.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].
        resamples: the resamples of the patients.
        bins: maximum number of bins.

    Returns:
        (resamples,) float64 in [0, 1].

    Raises:
        ValueError: labels are not 0/1, probabilities are outside [0, 1], lengths differ, or `bins` is below 1.
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
    """Finite logits (n,) of probabilities (n,) in [0, 1]; 0 and 1 are first moved by float64's epsilon."""
    epsilon = np.finfo(np.float64).eps
    return logit(np.clip(probabilities, epsilon, 1 - epsilon))


def _recalibrate(positive: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Calibration intercept and slope, each (rows,), for each row of weights (rows, n); NaN if they do not exist."""
    both_classes = (weights[:, positive].sum(axis=1) > 0) & (weights[:, ~positive].sum(axis=1) > 0)
    intercepts = np.full(len(weights), np.nan)
    intercepts[both_classes], _ = _newton(positive, logits, weights[both_classes], slope_free=False)
    return intercepts, _fitted_line(positive, logits, weights)[1]


def _fitted_line(positive: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jointly fitted intercept and slope, each (rows,), for each row of weights (rows, n); NaN if they do not exist."""
    low, high = zip(*(_range(logits[of], weights[:, of]) for of in (positive, ~positive)), strict=True)
    # The estimates exist if neither class lies entirely at or above the other (Albert & Anderson 1984, one variable).
    overlap = (low[0] < high[1]) & (low[1] < high[0])
    intercepts, slopes = np.full((2, len(weights)), np.nan)
    intercepts[overlap], slopes[overlap] = _newton(positive, logits, weights[overlap], slope_free=True)
    return intercepts, slopes


def _range(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest of values (n,) with a weight above 0, for each row of weights (rows, n).

    (inf, -inf) for a row without such a value.
    """
    weighted = weights > 0
    return (
        np.where(weighted, values, np.inf).min(axis=1, initial=np.inf),
        np.where(weighted, values, -np.inf).max(axis=1, initial=-np.inf),
    )


def _newton(
    positive: np.ndarray, x: np.ndarray, weights: np.ndarray, *, slope_free: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood estimates of `logit P(positive) = a + b x` for each row of weights (rows, n).

    Returns a and b, each (rows,); b is 1 unless `slope_free`. NaN if `_STEPS` steps do not reach the estimate. A full
    Newton step is taken if it changes no logit by more than 1, or if the likelihood, which is concave, still rises at
    its end. Otherwise the step is shortened by the factor log(1 + r) / r, where r is the largest change: at a share t
    of the step the curvature has grown by at most exp(r t), so the likelihood rises up to there (Sun & Tran-Dinh 2019).
    """
    centre = x.mean()  # without centring, similar logits would cancel in the curvature of b
    x = x - centre
    powers = np.stack([np.ones_like(x), x, x * x], axis=1)
    ends = powers[[x.argmin(), x.argmax()], :2].T
    against = np.where(positive, -1.0, 1.0)[:, np.newaxis] * powers[:, :2]  # times `line`: logit of the other class
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
