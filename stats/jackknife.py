"""How far a statistic varies with the patients drawn, from leaving them out one at a time.

A standard error needs no more than that, and no resample; a BCa interval takes its skewness from here.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import require_same_length
from stats.resamples import PatientsResamples

_ROUNDING = 1e-12  # of the largest value: what equal values may differ by from their mean


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Everyone once but for one patient, or one group of patients.

    resamples: any statistic in them, (groups,), is its jackknife values, as `spread` and `bca_interval` take them.
    strata (groups,): the stratum of who is left out, 0 without strata. patients (groups,): how many are.
    """

    resamples: PatientsResamples
    strata: np.ndarray
    patients: np.ndarray


def leave_out_patients(resamples: PatientsResamples, most: int = 2000) -> LeftOut:
    """One patient after the other, where there are no more than `most`.

    Of more, several are left out at a time (delete-a-group jackknife, Wolter 2007, chapter 4), so that neither time nor
    memory grows with the square of the patients. There are `most` groups at most, of one stratum each, drawn at random
    but always alike for the same patients, and as equal in size as can be. A stratum of up to half of `most` patients
    keeps a group for each, so that a rare class, on which an AUC hangs, is not told from a few groups.
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
    """What each patient adds to the statistic within the own stratum, (patients,).

    jackknife (patients,): the statistic without each patient in turn; strata (patients,): the stratum of each. A
    patient tells by the difference from the mean of the own stratum: where leaving out any positive lowers the
    statistic, as it does an F1, that common part is a change of prevalence.

    Raises ValueError for strata of other length than jackknife.
    """
    values, stratum = _by_stratum(jackknife, strata)
    # Of a sum over strata, each of size m: influence (m - 1) (mean - value), over m.
    return -(1 - 1 / np.bincount(stratum)[stratum]) * _within(values, stratum)


TAIL = 0.2  # skewness over the root of the patients, above which an interval of a mean is too narrow (Cochran's rule)


def skewness(jackknife: ArrayLike, strata: ArrayLike | None = None) -> float:
    """Of what each patient adds to the statistic, over the root of the number of patients.

    It says how far Student's interval of a mean is from what it promises: Cochran's rule asks for n > 25 G^2 patients
    of skewness G, that is for less than 0.2 here (Cochran 1977, section 2.15). A sixth of it is the acceleration of
    BCa.

    jackknife, strata: as of `influence`, which says what is raised. NaN where a value is, 0 where all are equal.
    """
    added = influence(jackknife, strata)
    spread = added @ added
    return 0.0 if spread == 0 else float((added**3).sum() / spread**1.5)


@dataclass(frozen=True)
class Spread:
    """A statistic's standard error over patients, and the degrees of freedom of its square.

    Both NaN where the statistic is undefined without some patient, who then alone carries it, or where all hangs on one
    patient. Degrees of freedom are NaN as well where the standard error is 0: nobody changes the statistic.
    """

    standard_error: float
    degrees_of_freedom: float


def spread(
    estimate: float, jackknife: ArrayLike, strata: ArrayLike | None = None, patients: ArrayLike | None = None
) -> Spread:
    """The jackknife's standard error (Efron & Stein 1981), with Welch's degrees of freedom over what it is made of.

    estimate: the statistic on all patients; jackknife, strata: as of `influence`, which says what is raised; patients:
    how many were left out for each value, one without. With strata the variance has three parts, each unbiased: how
    patients vary within each of two, with as many degrees of freedom as patients but one; and how many of either there
    are, which is as random in a cohort. The last is nothing for an AUC or a sensitivity, and most of it for
    calibration-in-the-large. Welch's sum keeps the few patients of a rare class few.

    A patient without whom the statistic is what it was, as one without any ratio, is counted in none of them. A stratum
    where one patient alone matters says nothing of its own spread: then all patients are one stratum.
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
    """The covariance matrix (k, k) of k statistics of the same patients; its diagonal is `spread`'s squared errors.

    estimates (k,); jackknife (k, patients): each without each patient in turn, or without each group; strata, patients:
    as of `spread`. A row and column of NaN where the spread is undefined. Otherwise a sum of squares, so that no linear
    combination of the statistics has a negative variance.
    """
    pairs = zip(np.asarray(estimates, dtype=np.float64), np.asarray(jackknife, dtype=np.float64), strict=True)
    added = np.stack([_added(float(estimate), values, strata, patients) for estimate, values in pairs])
    return added @ added.T


def _added(estimate: float, jackknife: np.ndarray, strata: ArrayLike | None, patients: ArrayLike | None) -> np.ndarray:
    """What each patient, then each stratum, adds to the error of a statistic: the squares sum up to its variance."""
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
    """Both (patients,): the values, and the stratum of each, counted from 0."""
    values = np.asarray(jackknife, dtype=np.float64)
    _, stratum = np.unique(np.zeros(len(values)) if strata is None else np.asarray(strata), return_inverse=True)
    require_same_length(jackknife=values, strata=stratum)
    return values, stratum


def _means(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    return np.bincount(stratum, weights=values) / np.bincount(stratum)


def _within(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Each value less the mean of its stratum."""
    return _unless_rounding(values - _means(values, stratum)[stratum], values)


def _between(values: np.ndarray, stratum: np.ndarray, estimate: float, members: np.ndarray) -> float:
    """The sum of squares that a patient's stratum alone adds: by how much leaving out one of its members moves the
    statistic, less what leaving out anyone does. A group moves it by as many times as it has members.
    """
    return float(members @ _moved(values, stratum, estimate, members) ** 2)


def _moved(values: np.ndarray, stratum: np.ndarray, estimate: float, members: np.ndarray) -> np.ndarray:
    """By how much leaving out one member of each stratum moves the statistic, less what leaving out anyone does."""
    moved = _unless_rounding(_means(values, stratum) - estimate, values) / (members / np.bincount(stratum))
    return moved - members @ moved / members.sum()


def _unless_rounding(differences: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Differences of values from what they may equal, 0 where no more than rounding."""
    return np.where(np.abs(differences) <= _ROUNDING * np.abs(values).max(), 0.0, differences)
