"""One score per patient from the scores of the patient's images, because a decision is about a person.

Patients come in the order of `numpy.unique(patients)`, which is also the order of `stats.resamples.PatientResamples`.
Results depend neither on the order of the images nor, through rounding, on how many images a patient has.
"""

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, as_numbers, require_same_length


def patient_mean(
    scores: ArrayLike, patients: ArrayLike, visits: ArrayLike | None = None, eyes: ArrayLike | None = None
) -> np.ndarray:
    """The mean of each patient's scores: over images of an eye, then over eyes of a visit, then over visits.

    Five photographs of one eye therefore count as much as one photograph of the other eye, and a visit with many
    photographs as much as a visit with one.

    Args:
        scores: (n,), one per image.
        patients: (n,), id of each image's patient.
        visits: (n,), id of each image's visit, None where it is unknown; None if there is one visit each. Images of
            unknown visits count as one visit.
        eyes: (n,), id of each image's eye, None where it is unknown; None if no eye is known. In each visit, images of
            unknown eyes count as one eye.

    Returns:
        (patients,) float64, between the lowest and the highest score of the patient; the score itself for a patient
        with one image.

    Raises:
        ValueError: a score is NaN, an id of a patient is missing, or lengths differ.
    """
    values = as_numbers("scores", scores)
    weights = image_weights(patients, visits, eyes)
    require_same_length(scores=values, patients=weights)
    _, patient = np.unique(as_ids("patients", patients), return_inverse=True)
    shares = weights * values
    in_order = np.lexsort((shares, patient))  # a sum depends on the order in its last digit
    means = np.bincount(patient[in_order], weights=shares[in_order])
    lowest, highest = -_maximum(-values, patient), _maximum(values, patient)
    return np.clip(means, lowest, highest)  # six times a sixth is not exactly one


def patient_max(scores: ArrayLike, patients: ArrayLike) -> np.ndarray:
    """The highest score of each patient's images, as a referral in which one suspicious image is enough.

    Args:
        scores: (n,), one per image.
        patients: (n,), id of each image's patient.

    Returns:
        (patients,) float64.

    Raises:
        ValueError: a score is NaN, an id is missing, or lengths differ.
    """
    values, ids = as_numbers("scores", scores), as_ids("patients", patients)
    require_same_length(scores=values, patients=ids)
    return _maximum(values, np.unique(ids, return_inverse=True)[1])


def patient_labels(labels: ArrayLike, patients: ArrayLike) -> np.ndarray:
    """The label of each patient: positive if any image (with labels per eye: if any eye) is positive.

    Args:
        labels: (n,) of 0/1.
        patients: (n,), id of each image's patient.

    Returns:
        (patients,) int64 of 0/1.

    Raises:
        ValueError: labels are not 0/1, an id is missing, or lengths differ.
    """
    positive, ids = as_binary("labels", labels), as_ids("patients", patients)
    require_same_length(labels=positive, patients=ids)
    return _maximum(positive.astype(np.float64), np.unique(ids, return_inverse=True)[1]).astype(np.int64)


def image_weights(patients: ArrayLike, visits: ArrayLike | None = None, eyes: ArrayLike | None = None) -> np.ndarray:
    """The weight of each image in `patient_mean`.

    Args:
        patients: (n,), id of each image's patient.
        visits: (n,), as in `patient_mean`.
        eyes: (n,), as in `patient_mean`.

    Returns:
        (n,) float64 in (0, 1], which add up to 1 for each patient.

    Raises:
        ValueError: an id of a patient is missing, or lengths differ.
    """
    ids = as_ids("patients", patients)
    visit, eye = _codes(visits, len(ids)), _codes(eyes, len(ids))
    require_same_length(patients=ids, visits=visit, eyes=eye)
    _, patient = np.unique(ids, return_inverse=True)
    levels = np.stack([patient, visit, eye])
    weights, part = np.ones(len(ids)), np.arange(len(ids))
    for depth in (3, 2, 1):  # images of an eye, eyes of a visit, visits of a patient
        groups, group = np.unique(levels[:depth], axis=1, return_inverse=True)
        group_of_part = np.zeros(part.max() + 1, dtype=np.int64)
        group_of_part[part] = group
        weights /= np.bincount(group_of_part, minlength=groups.shape[1])[group]
        part = group
    return weights


def _codes(ids: ArrayLike | None, length: int) -> np.ndarray:
    """Whole numbers from 1 for the ids, 0 where one is unknown."""
    if ids is None:
        return np.zeros(length, dtype=np.int64)
    values = np.asarray(ids, dtype=object)
    known = np.array([value is not None and value == value for value in values.tolist()], dtype=bool)
    codes = np.zeros(len(values), dtype=np.int64)
    codes[known] = np.unique(values[known].astype(str), return_inverse=True)[1] + 1
    return codes


def _maximum(values: np.ndarray, patient: np.ndarray) -> np.ndarray:
    found = np.full(patient.max() + 1, -np.inf)
    np.maximum.at(found, patient, values)
    return found
