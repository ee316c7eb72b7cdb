"""How far a statistic varies with the people drawn, from leaving them out one at a time.

A standard error needs no more than that, no resample and no seed; a BCa interval takes its skewness from here.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import require_same_length
from stats.resamples import PeopleResamples


def jackknife_people(resamples: PeopleResamples, most: int = 2000) -> tuple[PeopleResamples, np.ndarray]:
    """Everyone once but for one person, and the stratum of who is left out, (people,), 0 without strata.

    Any statistic in these resamples, (people,), is its jackknife values, as `spread` and `bca_interval` take them.

    More than `most` people are left out in about as many groups at a time, random ones of equal size within a stratum,
    always the same for the same people (delete-a-group jackknife, Efron & Tibshirani 1993, section 11.5): the standard
    error of the standard error is then 1 / sqrt(2 most), 1.6 %, and neither time nor memory grows with the square of
    the people.
    """
    people = resamples.counts.shape[1]
    stratum = np.zeros(people, dtype=np.int64) if resamples.strata is None else resamples.strata.astype(np.int64)
    group = np.arange(people)
    if people > most:
        group = _groups(stratum, most)
    counts = np.ones((int(group.max()) + 1, people), dtype=np.uint8, order="F")
    counts[group, np.arange(people)] = 0
    of_group = np.zeros(len(counts), dtype=np.int64)
    of_group[group] = stratum
    return replace(resamples, counts=counts), of_group


def _groups(stratum: np.ndarray, most: int) -> np.ndarray:
    """The group of each person, (people,) from 0, within strata and as equal in size as can be."""
    rng, group, groups = np.random.default_rng(0), np.empty(len(stratum), dtype=np.int64), 0
    for members in (np.flatnonzero(stratum == value) for value in np.unique(stratum)):
        parts = min(len(members), max(2, round(most * len(members) / len(stratum))))
        group[rng.permutation(members)] = groups + np.arange(len(members)) * parts // len(members)
        groups += parts
    return group


def influence(jackknife: ArrayLike, strata: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What each person adds to the statistic, (people,), and each one's stratum, counted from 0, (people,).

    jackknife (people,): the statistic without each person in turn; strata (people,): the stratum of each. People are
    sampled within strata, so a person tells by the difference from the mean of the own stratum, not from all: where
    leaving out any positive lowers the statistic, as it does an F1, that common part is a change of prevalence.

    Raises ValueError for strata of other length than jackknife.
    """
    jackknife = np.asarray(jackknife, dtype=np.float64)
    _, stratum = np.unique(np.zeros(len(jackknife)) if strata is None else np.asarray(strata), return_inverse=True)
    require_same_length(jackknife=jackknife, strata=stratum)
    sizes = np.bincount(stratum)
    means = np.bincount(stratum, weights=jackknife) / sizes
    # Of a sum over strata, each of size m: influence (m - 1) (mean - value), over m.
    return (1 - 1 / sizes[stratum]) * (means[stratum] - jackknife), stratum


@dataclass(frozen=True)
class Spread:
    """A statistic's standard error over people, and the degrees of freedom of its square.

    Both NaN where the statistic is undefined without some person, who then alone carries it. Degrees of freedom are NaN
    as well where the standard error is 0: no person changes the statistic.
    """

    standard_error: float
    degrees_of_freedom: float


def spread(jackknife: ArrayLike, strata: ArrayLike | None = None) -> Spread:
    """The stratified jackknife's standard error (Davison & Hinkley 1997, section 3.2), with Welch's degrees of freedom.

    jackknife, strata: as of `influence`, which says what is raised. Each stratum adds a variance of its own, unbiased;
    one with a single person adds none.
    """
    added, stratum = influence(jackknife, strata)
    if np.isnan(added).any():
        return Spread(math.nan, math.nan)
    others, squares = np.bincount(stratum) - 1, np.bincount(stratum, weights=added**2)
    varies = (others > 0) & (squares > 0)
    if not varies.any():
        return Spread(0.0, math.nan)
    others = others[varies]
    variances = squares[varies] * (1 + 1 / others)
    return Spread(float(np.sqrt(variances.sum())), float(variances.sum() ** 2 / (variances**2 / others).sum()))
