"""The jackknife over patients: standard errors from leaving out one patient at a time.

It needs no resamples. BCa intervals also take the skewness from here.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import require_same_length
from stats.resamples import PatientResamples

_ROUNDING = 1e-12  # relative to the largest value; smaller differences are rounding errors


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Jackknife samples: all patients once, except for one patient or one group of patients.

    Attributes:
        resamples: the jackknife samples. A statistic in them, (groups,), gives the jackknife values for `spread` and
            `stats.intervals.bca_interval`.
        strata: (groups,), stratum of the left-out patients; 0 without strata.
        patients: (groups,), number of left-out patients.
    """

    resamples: PatientResamples
    strata: np.ndarray
    patients: np.ndarray


def leave_out_patients(resamples: PatientResamples, most: int = 2000) -> LeftOut:
    """Leaves out one patient at a time, or one group of patients at a time if there are more than `most` patients.

    Groups (delete-a-group jackknife, Wolter 2007, chapter 4) keep time and memory from growing with the square of the
    number of patients. There are at most `most` groups, each within one stratum and of nearly equal size. They are
    drawn at random, but are always the same for the same patients. A stratum of up to half of `most` patients has one
    group per patient, because the error of an AUC depends mainly on the rare class.

    Args:
        resamples: any resamples of the patients; only the images of each patient and the strata are used.
        most: maximum number of groups.
    """
    patients = resamples.counts.shape[1]
    stratum = np.zeros(patients, dtype=np.int64) if resamples.strata is None else resamples.strata.astype(np.int64)
    group = np.arange(patients) if patients <= most else _groups(stratum, most)
    size = np.bincount(group)
    counts = np.ones((len(size), patients), dtype=np.uint8, order="F")
    counts[group, np.arange(patients)] = 0
    of_group = np.zeros(len(counts), dtype=np.int64)
    of_group[group] = stratum
    return LeftOut(replace(resamples, counts=counts), of_group, size)


def _groups(stratum: np.ndarray, most: int) -> np.ndarray:
    """The group of each patient, (patients,) from 0."""
    rng, group, groups = np.random.default_rng(0), np.empty(len(stratum), dtype=np.int64), 0
    members_of = sorted((np.flatnonzero(stratum == value) for value in np.unique(stratum)), key=len)
    for place, members in enumerate(members_of):
        parts = min(len(members), (most - groups) // (len(members_of) - place))
        group[rng.permutation(members)] = groups + np.arange(len(members)) * parts // len(members)
        groups += parts
    return group


def influence(jackknife: ArrayLike, strata: ArrayLike | None = None) -> np.ndarray:
    """Influence of each patient on the statistic, relative to the mean of the patient's stratum.

    The mean of the stratum is subtracted because it is the effect of a change of prevalence. Leaving out any positive
    patient lowers an F1, for example.

    Args:
        jackknife: (patients,), the statistic without each patient in turn.
        strata: (patients,), stratum of each patient; None for one stratum.

    Returns:
        (patients,) float64.

    Raises:
        ValueError: jackknife and strata differ in length.
    """
    values, stratum = _by_stratum(jackknife, strata)
    # For strata of m patients: (m - 1) (mean - value) / m.
    return -(1 - 1 / np.bincount(stratum)[stratum]) * _within(values, stratum)


TAIL = 0.2  # limit of `skewness`, above which an interval of a mean is too narrow (Cochran's rule)


def skewness(jackknife: ArrayLike, strata: ArrayLike | None = None) -> float:
    """Skewness of the patients' influence values, divided by the square root of the number of patients.

    It measures how far the coverage of Student's interval of a mean is from the nominal level: Cochran's rule asks for
    n > 25 G^2 patients for a skewness of G, which is a value below 0.2 here (Cochran 1977, section 2.15). One sixth of
    it is the acceleration of a BCa interval.

    Args:
        jackknife: (patients,), the statistic without each patient in turn.
        strata: (patients,), stratum of each patient; None for one stratum.

    Returns:
        The skewness; NaN if a jackknife value is NaN, 0 if all are equal.

    Raises:
        ValueError: jackknife and strata differ in length.
    """
    added = influence(jackknife, strata)
    spread = added @ added
    return 0.0 if spread == 0 else float((added**3).sum() / spread**1.5)


@dataclass(frozen=True)
class Spread:
    """A statistic's standard error over patients.

    Both values are NaN if the statistic is undefined without one of the patients, or if only one patient changes it.

    Attributes:
        standard_error: the standard error; 0 if no patient changes the statistic.
        degrees_of_freedom: degrees of freedom of its square; NaN for a standard error of 0.
    """

    standard_error: float
    degrees_of_freedom: float


def spread(
    estimate: float, jackknife: ArrayLike, strata: ArrayLike | None = None, patients: ArrayLike | None = None
) -> Spread:
    """The jackknife standard error (Efron & Stein 1981), with Welch's degrees of freedom over its components.

    With two strata the variance has three components, each estimated without bias: the variation between patients
    within each stratum, with one degree of freedom less than patients, and the variation of the number of patients in
    each stratum, which is random in a cohort. This last component is 0 for an AUC or a sensitivity, and it is the
    largest one for calibration-in-the-large. Welch's formula keeps the degrees of freedom low if a class is rare.

    A patient who does not change the statistic, such as one without a ratio, is not counted. If only one patient of a
    stratum changes the statistic, the variation within this stratum cannot be estimated, and all patients are treated
    as one stratum.

    Args:
        estimate: the statistic on all patients.
        jackknife: (groups,), the statistic without each patient (or group of patients) in turn.
        strata: (groups,), stratum of each; None for one stratum.
        patients: (groups,), number of patients left out for each value; None for one each.

    Raises:
        ValueError: jackknife and strata differ in length.
    """
    values, stratum = _by_stratum(jackknife, strata)
    if np.isnan(values).any():
        return Spread(math.nan, math.nan)
    matter = np.bincount(stratum, weights=_unless_rounding(values - estimate, values) != 0)
    members = np.bincount(stratum, weights=None if patients is None else np.asarray(patients, dtype=np.float64))
    squares = np.append(
        np.bincount(stratum, weights=_within(values, stratum) ** 2), _between(values, stratum, estimate, members)
    )
    counted = np.append(matter, matter.sum())
    if (matter == 1).any():
        squares, counted = squares.sum(keepdims=True), counted[-1:]
    varies = squares > 0
    if counted[-1] == 1:
        return Spread(math.nan, math.nan)
    if not varies.any():
        return Spread(0.0, math.nan)
    variances = squares[varies] * (1 - 1 / counted[varies])
    freedom = variances.sum() ** 2 / (variances**2 / (counted[varies] - 1)).sum()
    return Spread(float(np.sqrt(variances.sum())), float(min(freedom, counted[-1] - 1)))


def covariance(
    estimates: ArrayLike, jackknife: ArrayLike, strata: ArrayLike | None = None, patients: ArrayLike | None = None
) -> np.ndarray:
    """Jackknife covariance matrix of k statistics of the same patients.

    Its diagonal has the squared standard errors of `spread`. It is a sum of squares, so no linear combination of the
    statistics has a negative variance.

    Args:
        estimates: (k,), the statistics on all patients.
        jackknife: (k, groups), each statistic without each patient (or group of patients) in turn.
        strata: (groups,), stratum of each; None for one stratum.
        patients: (groups,), number of patients left out for each value; None for one each.

    Returns:
        (k, k) float64; NaN in the row and column of a statistic whose spread is undefined.

    Raises:
        ValueError: jackknife and strata differ in length.
    """
    pairs = zip(np.asarray(estimates, dtype=np.float64), np.asarray(jackknife, dtype=np.float64), strict=True)
    added = np.stack([_added(float(estimate), values, strata, patients) for estimate, values in pairs])
    return added @ added.T


def _added(estimate: float, jackknife: np.ndarray, strata: ArrayLike | None, patients: ArrayLike | None) -> np.ndarray:
    """Contributions of each patient, then of each stratum, to the error of a statistic; their squares add up to its
    variance.
    """
    values, stratum = _by_stratum(jackknife, strata)
    matter = np.bincount(stratum, weights=_unless_rounding(values - estimate, values) != 0)
    if np.isnan(values).any() or matter.sum() == 1:
        return np.full(len(values) + len(matter), np.nan)
    members = np.bincount(stratum, weights=None if patients is None else np.asarray(patients, dtype=np.float64))
    moved = _moved(values, stratum, estimate, members)
    every = matter.sum()
    counted = np.full(len(matter), every) if (matter == 1).any() else matter
    return np.concatenate(
        [
            np.sqrt(1 - 1 / np.maximum(counted, 1))[stratum] * _within(values, stratum),
            np.sqrt((1 - 1 / max(every, 1)) * members) * moved,
        ]
    )


def _by_stratum(jackknife: ArrayLike, strata: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """The values and their strata, counted from 0, each (patients,)."""
    values = np.asarray(jackknife, dtype=np.float64)
    _, stratum = np.unique(np.zeros(len(values)) if strata is None else np.asarray(strata), return_inverse=True)
    require_same_length(jackknife=values, strata=stratum)
    return values, stratum


def _means(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    return np.bincount(stratum, weights=values) / np.bincount(stratum)


def _within(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Each value minus the mean of its stratum."""
    return _unless_rounding(values - _means(values, stratum)[stratum], values)


def _between(values: np.ndarray, stratum: np.ndarray, estimate: float, members: np.ndarray) -> float:
    """The sum of squares of the component between strata; `members` (strata,) is the number of patients in each."""
    return float(members @ _moved(values, stratum, estimate, members) ** 2)


def _moved(values: np.ndarray, stratum: np.ndarray, estimate: float, members: np.ndarray) -> np.ndarray:
    """Mean change of the statistic when one patient of each stratum is left out, minus the mean over all patients."""
    moved = _unless_rounding(_means(values, stratum) - estimate, values) / (members / np.bincount(stratum))
    return moved - members @ moved / members.sum()


def _unless_rounding(differences: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Differences, with those set to 0 that are no larger than rounding errors of `values`."""
    return np.where(np.abs(differences) <= _ROUNDING * np.abs(values).max(), 0.0, differences)
