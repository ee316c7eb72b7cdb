"""Bootstrap resamples of patients. All images of a patient are drawn together, because they are not independent.

A resample is stored as the number of times each patient was drawn. All cells of a study use the same
`PatientResamples`, so differences between cells are paired.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, require_same_length

_BLOCK = 1 << 16  # numbers per block: half a MB, which fits into the processor's cache


@dataclass(frozen=True, eq=False)
class PatientResamples:
    """Resamples of patients, and the images of each patient. A patient may have any number of images, including none.

    Attributes:
        counts: (resamples, patients), number of times each patient was drawn in each resample. Column-major from
            `draw_patients`, so that one patient's counts are contiguous in memory.
        patient_of_image: (n,) int, column of `counts` of each image.
        strata: (patients,), stratum of each patient; None for one stratum.
    """

    counts: np.ndarray
    patient_of_image: np.ndarray
    strata: np.ndarray | None = None

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sums over the images of each resample.

        Args:
            values: (n, k), finite.

        Returns:
            (resamples, k) float64.
        """
        n_resamples, n_patients = self.counts.shape
        per_patient = np.zeros((n_patients, values.shape[1]))
        np.add.at(per_patient, self.patient_of_image, values)
        totals = np.zeros((n_resamples, values.shape[1]))
        step = max(1, _BLOCK // n_resamples)
        for start in range(0, n_patients, step):
            block = slice(start, start + step)
            totals += self.counts[:, block].astype(np.float64) @ per_patient[block]
        return totals


def draw_patients(patients: ArrayLike, labels: ArrayLike, resamples: int, seed: int) -> PatientResamples:
    """Draws patients with replacement, separately from those with a positive image and from those without.

    Each resample has the same number of patients of each stratum as the data (stratified bootstrap of clusters, Davison
    & Hinkley 1997, section 3.2). The counts of a patient depend on the seed, but not on the order of the images.

    Args:
        patients: (n,), id (string or integer) of each image's patient.
        labels: (n,) of 0/1.
        resamples: number of resamples, at least 1.
        seed: seed of the draws.

    Raises:
        ValueError: an id is missing, labels are not 0/1, lengths differ, or `resamples` is below 1.
    """
    ids, positive = as_ids("patients", patients), as_binary("labels", labels)
    require_same_length(patients=ids, labels=positive)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")

    names, patient_of_image = np.unique(ids, return_inverse=True)
    has_positive = np.bincount(patient_of_image, weights=positive) > 0
    # On average a patient is drawn once per resample; a count above 255 has a probability below 1e-500.
    counts = np.zeros((resamples, len(names)), dtype=np.uint8, order="F")
    rng = np.random.default_rng(seed)
    for stratum in (np.flatnonzero(has_positive), np.flatnonzero(~has_positive)):
        if stratum.size:
            _draw_stratum(counts, stratum, rng)
    return PatientResamples(counts, patient_of_image, strata=has_positive)


def _draw_stratum(counts: np.ndarray, stratum: np.ndarray, rng: np.random.Generator) -> None:
    size = len(stratum)
    step = max(1, _BLOCK // size)
    for start in range(0, len(counts), step):
        rows = min(step, len(counts) - start)
        drawn = rng.integers(size, size=(rows, size))
        drawn += size * np.arange(rows)[:, np.newaxis]  # separate bins for each row
        counts[start : start + rows, stratum] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
