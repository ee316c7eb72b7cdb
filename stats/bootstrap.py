"""Statistics in bootstrap resamples of patients, computed for all resamples at once.

The rows of a resample are not repeated. Instead each image is weighted by the number of times its patient was drawn
(3 if drawn three times, 0 if not drawn). Every function returns what the plain statistic returns on the repeated rows.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_nullable_numbers, as_numbers, require_same_length
from stats.quotient import divide_or_nan
from stats.resamples import PatientResamples


def auc_resampled(labels: ArrayLike, scores: ArrayLike, resamples: PatientResamples) -> np.ndarray:
    """AUC in each resample, exactly as `stats.metrics.auc` on the repeated rows.

    One pass over the images, from the lowest score to the highest, serves all resamples: each positive adds the weight
    of the negatives with a lower score and half the weight of the negatives with the same score.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) on any scale.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN for a resample with only one class.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, or lengths differ.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores, resampled_images=resamples.patient_of_image)
    # Only pairs of a positive and a negative count, so positives with no negative between them form one level.
    of_negatives = np.unique(scores[~positive])
    places = np.searchsorted(of_negatives, scores) + np.searchsorted(of_negatives, scores, side="right")
    negatives, positives, twice_won = np.zeros((3, len(resamples.counts)), dtype=_whole_numbers(resamples))
    for passed, here, tied in _levels(positive, places, resamples):
        negatives += passed
        positives += here
        twice_won += here * (2 * negatives + tied)
        negatives += tied
    return divide_or_nan(twice_won, 2 * positives * negatives)


def average_precision_resampled(labels: ArrayLike, scores: ArrayLike, resamples: PatientResamples) -> np.ndarray:
    """Average precision in each resample, as `stats.metrics.average_precision` on the repeated rows.

    One pass over the images, from the highest score to the lowest, serves all resamples: each positive adds the PPV at
    the threshold of its own score. Images with equal scores are called positive together.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) on any scale.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64 in (0, 1]; NaN for a resample without a positive.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, or lengths differ.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores, resampled_images=resamples.patient_of_image)
    called, true_positives = np.zeros((2, len(resamples.counts)), dtype=_whole_numbers(resamples))
    precisions = np.zeros(len(called))
    for passed, here, tied in _levels(positive, -scores, resamples):
        called += passed + here + tied
        true_positives += here
        precisions += here * true_positives / np.maximum(called, 1)  # 0 as long as no image is called positive
    return divide_or_nan(precisions, true_positives)


def mean_resampled(values: ArrayLike, resamples: PatientResamples) -> np.ndarray:
    """Mean over the images of each resample.

    Args:
        values: (n,); NaN marks a missing value (such as a ratio with an empty mask), which is left out.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN for a resample without a value.

    Raises:
        ValueError: a value is infinite, or lengths differ.
    """
    values = as_nullable_numbers("values", values)
    require_same_length(values=values, resampled_images=resamples.patient_of_image)
    known = ~np.isnan(values)
    sums, counts = resamples.totals(np.stack([np.where(known, values, 0), known], axis=1)).T
    return divide_or_nan(sums, counts)


def ratio_of_sums_resampled(numerators: ArrayLike, denominators: ArrayLike, resamples: PatientResamples) -> np.ndarray:
    """Sum of the numerators divided by the sum of the denominators in each resample.

    Args:
        numerators: (n,); NaN marks a missing value.
        denominators: (n,), at least 0; NaN marks a missing value. An image with either value missing is left out of
            both sums.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN for a denominator of 0.

    Raises:
        ValueError: a value is infinite, or lengths differ.
    """
    above, below = (
        as_nullable_numbers(name, values)
        for name, values in (("numerators", numerators), ("denominators", denominators))
    )
    require_same_length(numerators=above, denominators=below, resampled_images=resamples.patient_of_image)
    known = ~(np.isnan(above) | np.isnan(below))
    return divide_or_nan(*resamples.totals(np.stack([np.where(known, above, 0), np.where(known, below, 0)], axis=1)).T)


def patients_mean_resampled(values: ArrayLike, resamples: PatientResamples) -> np.ndarray:
    """Mean over the patients of each resample, where a patient's value is the mean over that patient's images.

    A patient counts once for each time it was drawn, whatever its number of images.

    Args:
        values: (n,); NaN marks a missing value. A patient with only missing values is left out.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN for a resample without a value.

    Raises:
        ValueError: a value is infinite, or lengths differ.
    """
    values = as_nullable_numbers("values", values)
    require_same_length(values=values, resampled_images=resamples.patient_of_image)
    patients, known = resamples.counts.shape[1], ~np.isnan(values)
    patient = resamples.patient_of_image[known]
    means = divide_or_nan(
        np.bincount(patient, weights=values[known], minlength=patients), np.bincount(patient, minlength=patients)
    )
    return mean_resampled(means, PatientResamples(resamples.counts, np.arange(patients)))


def _levels(
    positive: np.ndarray, scores: np.ndarray, resamples: PatientResamples
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The number of images of three groups in each resample, for each score of a positive, in ascending order.

    The groups, each (resamples,), are the negatives between the previous score and this one, the positives with this
    score, and the negatives with this score. A last step has the negatives above all positives.
    """
    of_positives = np.unique(scores[positive])
    level = np.searchsorted(of_positives, scores)
    tied = np.searchsorted(of_positives, scores, side="right") > level
    group = 3 * level + np.where(positive, 1, 2 * tied)
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(1, 3 * len(of_positives) + 3))
    patients = np.split(resamples.patient_of_image[order], ends)

    most, dtype = int(resamples.counts.max()), _whole_numbers(resamples)
    drawn = np.ascontiguousarray(resamples.counts.T, dtype=np.min_scalar_type(most))
    at_once = np.iinfo(drawn.dtype).max // max(1, most)
    images = (_images_drawn(drawn, of_group, at_once, dtype) for of_group in patients)
    return zip(images, images, images, strict=True)


def _images_drawn(drawn: np.ndarray, patients: np.ndarray, at_once: int, dtype: np.dtype) -> np.ndarray:
    """Sum of some rows of drawn (patients, resamples), as (resamples,) of `dtype`.

    Up to `at_once` rows are summed in their own dtype (usually one byte) without overflow, which makes this fast.
    """
    images = np.zeros(drawn.shape[1], dtype=dtype)
    for start in range(0, len(patients), at_once):
        images += drawn[patients[start : start + at_once]].sum(axis=0, dtype=drawn.dtype)
    return images


def _whole_numbers(resamples: PatientResamples) -> np.dtype:
    """The smallest dtype that can hold the product of two counts of images in a resample, so that all are exact."""
    return np.min_scalar_type((int(resamples.counts.max()) * len(resamples.patient_of_image)) ** 2)
