"""Resamples of patients: a patient's images come and go together, so intervals do not pretend that they are
independent.

A resample is stored as how often it drew each patient. One `PatientsResamples` serves every cell of a study, which
makes differences between cells paired.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, require_same_length

_BLOCK = 1 << 16  # numbers worked on at once: half a MB stays in the processor's cache


@dataclass(frozen=True, eq=False)
class PatientsResamples:
    """Resamples of patients, and which images each patient brings: as many as there are, none included.

    counts (resamples, patients): how often a resample drew a patient. Column-major from `draw_patients`, so that one
        patient's counts over all resamples lie together in memory.
    patient_of_image (n,): the column of `counts` that an image belongs to.
    strata (patients,): the stratum that a patient was drawn from; None where all were drawn from one.
    """

    counts: np.ndarray
    patient_of_image: np.ndarray
    strata: np.ndarray | None = None

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sum of values (n, k) over the images of each resample, (resamples, k) float64; values must be finite."""
        n_resamples, n_patients = self.counts.shape
        per_patient = np.zeros((n_patients, values.shape[1]))
        np.add.at(per_patient, self.patient_of_image, values)
        totals = np.zeros((n_resamples, values.shape[1]))
        step = max(1, _BLOCK // n_resamples)
        for start in range(0, n_patients, step):
            block = slice(start, start + step)
            totals += self.counts[:, block].astype(np.float64) @ per_patient[block]
        return totals


def draw_patients(patients: ArrayLike, labels: ArrayLike, resamples: int, seed: int) -> PatientsResamples:
    """Draws patients with replacement, separately among those with a positive image and those without.

    patients (n,): the id (string or integer) of the patient on each image; labels (n,) of 0/1. Each resample holds as
    many patients of either stratum as the data (stratified bootstrap, Davison & Hinkley 1997, section 3.2, on
    clusters). The same seed gives the same counts for each patient in whatever order the images come.

    Raises ValueError for a missing id, other labels, different lengths, or fewer than one resample.
    """
    ids, positive = as_ids("patients", patients), as_binary("labels", labels)
    require_same_length(patients=ids, labels=positive)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")

    names, patient_of_image = np.unique(ids, return_inverse=True)
    has_positive = np.bincount(patient_of_image, weights=positive) > 0
    # A patient is drawn once per resample on average; a count beyond 255 has probability below 1e-500.
    counts = np.zeros((resamples, len(names)), dtype=np.uint8, order="F")
    rng = np.random.default_rng(seed)
    for stratum in (np.flatnonzero(has_positive), np.flatnonzero(~has_positive)):
        if stratum.size:
            _draw_stratum(counts, stratum, rng)
    return PatientsResamples(counts, patient_of_image, strata=has_positive)


def _draw_stratum(counts: np.ndarray, stratum: np.ndarray, rng: np.random.Generator) -> None:
    size = len(stratum)
    step = max(1, _BLOCK // size)
    for start in range(0, len(counts), step):
        rows = min(step, len(counts) - start)
        drawn = rng.integers(size, size=(rows, size))
        drawn += size * np.arange(rows)[:, np.newaxis]  # each row counts into places of its own
        counts[start : start + rows, stratum] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
