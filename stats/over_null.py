"""How many times as large a mean ratio is as it would be by chance, over resampled patients."""

import numpy as np
from numpy.typing import ArrayLike

from stats.bootstrap import mean_resampled, patients_mean_resampled
from stats.quotient import divide_or_nan
from stats.resamples import PatientsResamples


def over_null_resampled(
    ratios: ArrayLike, expected: ArrayLike, given: ArrayLike | None, resamples: PatientsResamples
) -> np.ndarray:
    """Mean ratio over its mean by chance in each resample, (resamples,) float64; NaN where either does not exist.

    What chance gives is a mean over pairs of patients, one whose maps are measured and one whose vessels are given. A
    resample draws both: its null is the mean of what its images get, plus how much more than average its patients give
    (the projection of a two-sample U-statistic on single patients: van der Vaart 1998, chapter 12). Without `given`
    chance has no second patient, as where a patient's own vessels are turned.

    ratios (n,): of each image; expected (n,): by chance; given (n,): the mean ratio of all other patients' maps against
    the vessels of the image's patient, alike for all images of one. NaN is a null: an image lacking ratio or
    expectation is left out of both means, a patient without `given` of what patients give.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    ratios, expected = (np.asarray(values, dtype=np.float64) for values in (ratios, expected))
    known = ~(np.isnan(ratios) | np.isnan(expected))
    observed, null = (mean_resampled(np.where(known, each, np.nan), resamples) for each in (ratios, expected))
    if given is not None:
        once = PatientsResamples(np.ones((1, resamples.counts.shape[1]), np.uint8), resamples.patient_of_image)
        null = null + patients_mean_resampled(given, resamples) - patients_mean_resampled(given, once)
    return divide_or_nan(observed, null)
