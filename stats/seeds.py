"""Cells trained from several seeds and tested on the same patients: other patients and other seeds would give others.

A training is to a cell what a reader is to an imaging method: every one sees the same patients, and both are a sample
(multi-reader multi-case studies: Obuchowski & Rockette 1995; Gallas et al. 2009).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import f as f_distribution
from scipy.stats import t as student_t

from stats.checks import as_numbers, tail_of
from stats.intervals import UNDEFINED, Interval, Scale, student_interval, student_p_value, within_range
from stats.jackknife import Spread

_LEAST_TAIL = 1e-15  # SciPy has no quantile of t for some much smaller ones


@dataclass(frozen=True)
class OverSeeds:
    """The mean of a statistic over seeds, with its interval.

    sd: standard deviation over the seeds (ddof 1), NaN for one. low, high: the interval of the mean, for new patients
    and new seeds; of one seed, for new patients and this very seed.
    """

    mean: float
    sd: float
    low: float
    high: float
    n_seeds: int


def over_seeds(
    estimates: ArrayLike, of_patients: Interval, confidence: float = 0.95, scale: Scale = "identity"
) -> OverSeeds:
    """Mean of a statistic over S seeds, and an interval for its expectation over all seeds in the whole population.

    estimates (S,): the statistic of each seed; of_patients: the interval of their mean for new patients, all seeds
    tested on the same, by any method and of the same confidence. A seed that failed is left out of both beforehand.

    Noise of seed and patients together enters both margins of `add_seeds`, which errs on the wide side. Two seeds tell
    little of their variance (t = 12.7): the interval is wide. With five it covers 95 to 97 %.

    One seed tells nothing of it: the interval is that of patients alone, and sd NaN. Bounds are NaN where those of
    patients are, and within the range of the statistic's scale.

    Raises ValueError for NaN in estimates, or a confidence outside (0, 1).
    """
    estimates = as_numbers("estimates", estimates)
    tail_of(confidence)
    n_seeds, mean, (low, high) = len(estimates), float(estimates.mean()), of_patients
    if n_seeds == 1:
        return OverSeeds(mean, np.nan, low, high, n_seeds)
    low, high = add_seeds(mean, of_patients, spread_of_seeds([estimates], [1.0]), confidence, scale)
    return OverSeeds(mean, float(estimates.std(ddof=1)), low, high, n_seeds)


def spread_of_seeds(estimates: Sequence[ArrayLike], weights: ArrayLike) -> Spread:
    """How far a weighted sum of cells' means varies with their seeds, the patients tested being the same.

    estimates: k arrays (S_i,) of two or more, the statistic of each seed of a cell; weights (k,), as 1 and -1 for the
    difference of two cells. Seeds of two cells are independent trainings. Degrees of freedom are Welch's over the
    cells; without variance there are none.
    """
    seeds = np.array([len(as_numbers("estimates", values)) for values in estimates])
    variances = np.array([np.asarray(values, dtype=np.float64).var(ddof=1) for values in estimates])
    parts = as_numbers("weights", weights) ** 2 * variances / seeds
    total = parts.sum()
    if total == 0:
        return Spread(0.0, np.nan)
    # Of shares: the squares of variances as small as 1e-200 would be 0.
    return Spread(float(np.sqrt(total)), float(1 / ((parts / total) ** 2 / (seeds - 1)).sum()))


@dataclass(frozen=True)
class TwoWay:
    """How a weighted sum of cells' means over seeds varies.

    patients: with patients, the seeds being these. seeds: with seeds, the patients being these; a standard error of 0
    where there is one seed of each cell. Noise of seed and patients together is in both; patients_alone is without it.
    """

    patients: Spread
    seeds: Spread
    patients_alone: Spread


def two_way(
    patients: Spread, estimates: Sequence[ArrayLike], weights: ArrayLike, interactions: Sequence[ArrayLike]
) -> TwoWay:
    """Of cells with two or more seeds each (two-way variance: Cameron, Gelbach & Miller 2011; Owen 2007).

    estimates, weights: as of `spread_of_seeds`; interactions: of each cell (S_i,), the variances over patients of each
    seed's statistic less their mean.

    The interaction is taken off the variance of patients. Taken off that of seeds, it would leave 0 too often by chance
    where there are two: of nine equal normal cells some pair then differed in up to 25 % of simulated studies.
    """
    of_cells = [as_numbers("interactions", variances) for variances in interactions]
    shared = np.array([own.sum() / (len(own) - 1) / len(own) for own in of_cells])
    alone = patients.standard_error**2 - float(as_numbers("weights", weights) ** 2 @ shared)
    without = Spread(float(np.sqrt(np.maximum(alone, 0))), patients.degrees_of_freedom)
    return TwoWay(patients, spread_of_seeds(estimates, weights), without)


def seeds_covariance(estimates: Sequence[np.ndarray], shared: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """The covariance (m, m) of m statistics over seeds, pooled over cells, without what is of seed and patients
    together.

    estimates: of each cell (m, S_i), S_i of two or more; shared: of each cell S_i covariances (m, m) over patients, of
    each seed's statistics less their means, as in `two_way`. The nearest matrix without a negative variance; NaN where
    one of them is.
    """
    freedom = sum(of_cell.shape[1] - 1 for of_cell in estimates)
    deviations = [of_cell - of_cell.mean(axis=1, keepdims=True) for of_cell in estimates]
    pooled = sum(own @ own.T for own in deviations) - sum(sum(of_cell) for of_cell in shared)
    if np.isnan(pooled).any():
        return np.full_like(pooled, np.nan)
    values, vectors = np.linalg.eigh(pooled / freedom)
    return (vectors * np.maximum(values, 0)) @ vectors.T


def add_seeds(
    value: float, of_patients: Interval, of_seeds: Spread, confidence: float = 0.95, scale: Scale = "identity"
) -> Interval:
    """An interval for new patients and new seeds, from that for new patients and how the value varies with seeds.

    Two margins, on either side, are added in quadrature: from the value to the bound for patients; and t quantile times
    standard error of seeds. Assumed: the seeds are a random draw, and their effects (of initial weights, order,
    augmentation: whatever the seed decides) are normal and independent of the patients. Margins with a quantile each
    then cover at least at the stated confidence, whatever the share of either (Banerjee 1960); a single t quantile on
    the summed variance (Welch-Satterthwaite) covers less with two or three seeds. Bounds stay within the range of the
    scale.

    Raises ValueError for a confidence outside (0, 1).
    """
    tail, (low, high) = tail_of(confidence), of_patients
    margin = _margin(tail, of_seeds)
    # A bootstrap interval may lie beside the estimate; its margin on that side is then nothing, not negative.
    below, above = (np.hypot(np.maximum(side, 0), margin) for side in (value - low, high - value))
    return within_range((value - float(below), value + float(above)), scale)


def two_way_interval(value: float, varies: TwoWay, confidence: float = 0.95, scale: Scale = "identity") -> Interval:
    """For new patients and new seeds: `add_seeds` to Student's interval for patients alone; no narrower than for
    patients.

    (NaN, NaN) where the spread over patients is undefined. Raises ValueError for a confidence outside (0, 1).
    """
    of_patients = student_interval(value, varies.patients, confidence, scale)
    if varies.seeds.standard_error == 0 or np.isnan(of_patients).any():
        return of_patients
    alone = (value, value)
    if varies.patients_alone.standard_error > 0:
        alone = student_interval(value, varies.patients_alone, confidence, scale)
    low, high = add_seeds(value, alone, varies.seeds, confidence, scale)
    return min(low, of_patients[0]), max(high, of_patients[1])


def two_way_p_value(difference: float, varies: TwoWay) -> float:
    """Two-sided p-value of a difference: the least 1 - confidence at which `two_way_interval` does not hold 0.

    Without a spread over patients as `stats.intervals.student_p_value`. Seeds leave no p-value below 2e-15.
    """
    of_patients = student_p_value(difference, varies.patients)
    if varies.seeds.standard_error == 0 or np.isnan(of_patients) or difference == 0:
        return of_patients

    def short(log_tail: float) -> float:
        """By how much the margin stays below the difference."""
        tail = float(np.exp(log_tail))
        return abs(difference) - float(np.hypot(_margin(tail, varies.patients_alone), _margin(tail, varies.seeds)))

    least, most = np.log(_LEAST_TAIL), np.log(0.5)
    of_both = least if short(least) > 0 else brentq(short, least, most)
    return max(of_patients, float(2 * np.exp(of_both)))


def _margin(tail: float, spread: Spread) -> float:
    if spread.standard_error == 0:
        return 0.0
    return float(student_t.isf(tail, spread.degrees_of_freedom)) * spread.standard_error


@dataclass(frozen=True)
class Repeatability:
    """How much of the variance between trainings is between cells: the intraclass correlation.

    icc: at most 1, below 0 where trainings of one cell differ more than cells do; low, high: its interval. sd_cells,
    sd_seeds: standard deviations between cells (0 where icc is below 0) and between trainings of one cell. n_cells,
    n_trainings: of which. All numbers NaN with fewer than two cells, or where nothing varies.
    """

    icc: float
    low: float
    high: float
    sd_cells: float
    sd_seeds: float
    n_cells: int
    n_trainings: int


def repeatability(estimates: Sequence[ArrayLike], confidence: float = 0.95) -> Repeatability:
    """ICC(1) of a statistic over cells, with trainings from different seeds as repetitions (Shrout & Fleiss 1979).

    estimates: one array (S_i,) of two or more seeds per cell. The interval is the F distribution's of a one-way random
    effects model (McGraw & Wong 1996); of unequal numbers of seeds, with their average n0 (Searle 1971), which is an
    approximation. All cells are tested on the same patients: it is a statement about these patients.

    Raises ValueError for NaN, a cell of fewer than two seeds, or a confidence outside (0, 1).
    """
    tail, values = tail_of(confidence), [as_numbers("estimates", of_cell) for of_cell in estimates]
    seeds = np.array([len(of_cell) for of_cell in values])
    if (seeds < 2).any():
        raise ValueError("estimates: a cell has one seed; leave it out")
    cells, trainings = len(values), int(seeds.sum())
    unknown = Repeatability(np.nan, *UNDEFINED, np.nan, np.nan, cells, trainings)
    if cells < 2:
        return unknown
    means, every = np.array([of_cell.mean() for of_cell in values]), np.concatenate(values)
    freedom, within = cells - 1, trainings - cells
    between = float(seeds @ (means - every.mean()) ** 2) / freedom
    noise = float(sum(((of_cell - of_cell.mean()) ** 2).sum() for of_cell in values)) / within
    if between + noise == 0:
        return unknown
    average = float(trainings - (seeds**2).sum() / trainings) / freedom

    def icc(ratio: float) -> float:
        return (ratio - 1) / (ratio + average - 1)

    sd_cells = float(np.sqrt(max(between - noise, 0) / average))
    if noise == 0:
        return Repeatability(1.0, *UNDEFINED, sd_cells, 0.0, cells, trainings)
    ratio = between / noise
    low = icc(ratio / float(f_distribution.isf(tail, freedom, within)))
    high = icc(ratio * float(f_distribution.isf(tail, within, freedom)))
    return Repeatability(icc(ratio), low, high, sd_cells, float(np.sqrt(noise)), cells, trainings)
