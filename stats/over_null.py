"""The mean ratio divided by its mean under the vessel permutation test, in resamples of patients."""

import numpy as np
from numpy.typing import ArrayLike

from stats.bootstrap import mean_resampled, patients_mean_resampled
from stats.quotient import divide_or_nan
from stats.resamples import PatientResamples


def over_null_resampled(
    ratios: ArrayLike, expected: ArrayLike, given: ArrayLike | None, resamples: PatientResamples
) -> np.ndarray:
    """Mean ratio divided by its mean expected by chance, in each resample.

    The mean expected by chance is a mean over pairs of patients: one whose maps are measured and one whose vessels are
    used. A resample draws both. Its expectation is the mean of `expected` over its images, plus the deviation of its
    mean of `given` from that of all patients (the projection of a two-sample U-statistic on single patients: van der
    Vaart 1998, chapter 12).

    Args:
        ratios: (n,), ratio of each image; NaN marks a missing value.
        expected: (n,), ratio of each image expected by chance; NaN marks a missing value. An image with either value
            missing is left out of both means.
        given: (n,), mean ratio of all other patients' maps on the vessels of the image's patient, equal for all images
            of a patient; NaN marks a missing value. None if there is no second patient, as when a patient's own vessels
            are rotated.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN if either mean does not exist.

    Raises:
        ValueError: a value is infinite, or lengths differ.
    """
    ratios, expected = (np.asarray(values, dtype=np.float64) for values in (ratios, expected))
    known = ~(np.isnan(ratios) | np.isnan(expected))
    observed, null = (mean_resampled(np.where(known, each, np.nan), resamples) for each in (ratios, expected))
    if given is not None:
        once = PatientResamples(np.ones((1, resamples.counts.shape[1]), np.uint8), resamples.patient_of_image)
        null = null + patients_mean_resampled(given, resamples) - patients_mean_resampled(given, once)
    return divide_or_nan(observed, null)
