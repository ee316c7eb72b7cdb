"""Statistics over resampled patients, computed for all resamples at once from how often each drew each patient.

No resample is written out as rows. An image of a patient drawn three times weighs 3, an image of one not drawn weighs
0, and every function gives what the plain statistic gives on the repeated rows.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_nullable_numbers, as_numbers, require_same_length
from stats.quotient import divide_or_nan
from stats.resamples import PatientsResamples


def auc_resampled(labels: ArrayLike, scores: ArrayLike, resamples: PatientsResamples) -> np.ndarray:
    """AUC in each resample, (resamples,) float64, exactly as `auc` on the repeated rows; NaN where a class is missing.

    labels (n,) of 0/1, scores (n,). The images are passed once from the lowest score up, each step for all resamples:
    a positive wins the weight of the negatives below it and half of those tied with it.

    Raises ValueError for other labels, NaN scores, or lengths that differ from the resampled images.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores, resampled_images=resamples.patient_of_image)
    # Only a positive against a negative counts, so positives with no negative between them are one level.
    of_negatives = np.unique(scores[~positive])
    places = np.searchsorted(of_negatives, scores) + np.searchsorted(of_negatives, scores, side="right")
    negatives, positives, twice_won = np.zeros((3, len(resamples.counts)), dtype=_whole_numbers(resamples))
    for passed, here, tied in _levels(positive, places, resamples):
        negatives += passed
        positives += here
        twice_won += here * (2 * negatives + tied)
        negatives += tied
    return divide_or_nan(twice_won, 2 * positives * negatives)


def average_precision_resampled(labels: ArrayLike, scores: ArrayLike, resamples: PatientsResamples) -> np.ndarray:
    """Average precision in each resample, (resamples,) float64, as `average_precision` on the repeated rows.

    labels (n,) of 0/1, scores (n,). Passed once from the highest score down: each positive adds the PPV at its own
    score, equal scores called together. NaN where a resample has no positive.

    Raises ValueError for other labels, NaN scores, or lengths that differ from the resampled images.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores, resampled_images=resamples.patient_of_image)
    called, true_positives = np.zeros((2, len(resamples.counts)), dtype=_whole_numbers(resamples))
    precisions = np.zeros(len(called))
    for passed, here, tied in _levels(positive, -scores, resamples):
        called += passed + here + tied
        true_positives += here
        precisions += here * true_positives / np.maximum(called, 1)  # 0 where nobody is called yet
    return divide_or_nan(precisions, true_positives)


def mean_resampled(values: ArrayLike, resamples: PatientsResamples) -> np.ndarray:
    """Mean over the images of each resample, (resamples,) float64; NaN where a resample has no value.

    values (n,): NaN is a null (a ratio with an empty mask) and is left out of the sum and of the count.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    values = as_nullable_numbers("values", values)
    require_same_length(values=values, resampled_images=resamples.patient_of_image)
    known = ~np.isnan(values)
    sums, counts = resamples.totals(np.stack([np.where(known, values, 0), known], axis=1)).T
    return divide_or_nan(sums, counts)


def ratio_of_sums_resampled(numerators: ArrayLike, denominators: ArrayLike, resamples: PatientsResamples) -> np.ndarray:
    """Sum of numerators over sum of denominators in each resample, (resamples,) float64; NaN for a denominator of 0.

    numerators (n,) and denominators (n,), the latter at least 0: an image without either is NaN in one or both, and is
    left out of both sums.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    above, below = (
        as_nullable_numbers(name, values)
        for name, values in (("numerators", numerators), ("denominators", denominators))
    )
    require_same_length(numerators=above, denominators=below, resampled_images=resamples.patient_of_image)
    known = ~(np.isnan(above) | np.isnan(below))
    return divide_or_nan(*resamples.totals(np.stack([np.where(known, above, 0), np.where(known, below, 0)], axis=1)).T)


def patients_mean_resampled(values: ArrayLike, resamples: PatientsResamples) -> np.ndarray:
    """Mean over the patients of each resample of each one's mean over images, (resamples,) float64.

    A patient counts once for each time drawn, however many images there are. values (n,): NaN is a null; a patient of
    nulls alone is left out.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    values = as_nullable_numbers("values", values)
    require_same_length(values=values, resampled_images=resamples.patient_of_image)
    patients, known = resamples.counts.shape[1], ~np.isnan(values)
    patient = resamples.patient_of_image[known]
    means = divide_or_nan(
        np.bincount(patient, weights=values[known], minlength=patients), np.bincount(patient, minlength=patients)
    )
    return mean_resampled(means, PatientsResamples(resamples.counts, np.arange(patients)))


def _levels(
    positive: np.ndarray, scores: np.ndarray, resamples: PatientsResamples
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """From the lowest up, for each score that a positive has, how many images of three groups each resample drew.

    Each (resamples,): of the negatives between the score before and this one, of the positives of this score, of the
    negatives of this score. A last step has the negatives above every positive.
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
    """Sum of the rows of drawn (patients, resamples), (resamples,) of dtype.

    Up to `at_once` rows add up without overflow in their own type, one byte as a rule: that is most of the speed.
    """
    images = np.zeros(drawn.shape[1], dtype=dtype)
    for start in range(0, len(patients), at_once):
        images += drawn[patients[start : start + at_once]].sum(axis=0, dtype=drawn.dtype)
    return images


def _whole_numbers(resamples: PatientsResamples) -> np.dtype:
    """The smallest type that holds the product of any two counts of images in a resample, so that all are exact."""
    return np.min_scalar_type((int(resamples.counts.max()) * len(resamples.patient_of_image)) ** 2)
