"""Inference for cells trained from several seeds and tested on the same patients; both vary at random.

A trial corresponds to a reader in a multi-reader multi-case study of an imaging method: all readers see the same
patients, and readers and patients are both samples (Obuchowski & Rockette 1995; Gallas et al. 2009).
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

_LEAST_TAIL = 1e-15  # SciPy fails to compute some t quantiles for much smaller tails


@dataclass(frozen=True)
class OverSeeds:
    """The mean of a statistic over seeds, with its interval.

    Attributes:
        mean: mean over the seeds.
        sd: standard deviation over the seeds (ddof 1); NaN for one seed.
        low: lower bound of the interval of the mean for new patients and new seeds; with one seed, for new patients
            and this seed only.
        high: upper bound, likewise.
        n_seeds: number of seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    n_seeds: int


def over_seeds(
    estimates: ArrayLike, of_patients: Interval, confidence: float = 0.95, scale: Scale = "identity"
) -> OverSeeds:
    """Mean of a statistic over S seeds, with an interval for its expectation over all seeds and all patients.

    The interaction of seeds and patients enters both margins of `add_seeds`, so the interval is conservative. With two
    seeds the variance between seeds is poorly known (t = 12.7), and the interval is wide. With five seeds its coverage
    is 95 to 97 %. With one seed the interval includes the variation over patients only, and `sd` is NaN.

    Args:
        estimates: (S,), the statistic of each seed. Leave out a seed that failed, here and in `of_patients`.
        of_patients: interval of the mean of `estimates` for new patients, by any method, with all seeds tested on the
            same patients and with the same confidence.
        confidence: in (0, 1).
        scale: the statistic's scale; bounds stay within its range.

    Returns:
        Mean and interval. Bounds are NaN if those of `of_patients` are NaN.

    Raises:
        ValueError: an estimate is NaN, or the confidence is outside (0, 1).
    """
    estimates = as_numbers("estimates", estimates)
    tail_of(confidence)
    n_seeds, mean, (low, high) = len(estimates), float(estimates.mean()), of_patients
    if n_seeds == 1:
        return OverSeeds(mean, np.nan, low, high, n_seeds)
    low, high = add_seeds(mean, of_patients, spread_of_seeds([estimates], [1.0]), confidence, scale)
    return OverSeeds(mean, float(estimates.std(ddof=1)), low, high, n_seeds)


def spread_of_seeds(estimates: Sequence[ArrayLike], weights: ArrayLike) -> Spread:
    """Standard error over seeds of a weighted sum of cells' means, with the tested patients fixed.

    Seeds of different cells are treated as independent.

    Args:
        estimates: k arrays (S_i,) with two or more values, the statistic of each seed of each cell.
        weights: (k,), such as 1 and -1 for the difference of two cells.

    Returns:
        The standard error, with Welch's degrees of freedom over the cells; NaN for a standard error of 0.

    Raises:
        ValueError: an estimate or a weight is NaN.
    """
    seeds = np.array([len(as_numbers("estimates", values)) for values in estimates])
    variances = np.array([np.asarray(values, dtype=np.float64).var(ddof=1) for values in estimates])
    parts = as_numbers("weights", weights) ** 2 * variances / seeds
    total = parts.sum()
    if total == 0:
        return Spread(0.0, np.nan)
    # Computed from shares of the total, because the squares of variances as small as 1e-200 would be 0.
    return Spread(float(np.sqrt(total)), float(1 / ((parts / total) ** 2 / (seeds - 1)).sum()))


@dataclass(frozen=True)
class TwoWay:
    """Standard errors of a weighted sum of cells' means over seeds.

    The interaction of seeds and patients is part of both `patients` and `seeds`.

    Attributes:
        patients: standard error over patients, with the seeds fixed.
        seeds: standard error over seeds, with the patients fixed; 0 if each cell has only one seed.
        patients_alone: standard error over patients without the interaction.
    """

    patients: Spread
    seeds: Spread
    patients_alone: Spread


def two_way(
    patients: Spread, estimates: Sequence[ArrayLike], weights: ArrayLike, interactions: Sequence[ArrayLike]
) -> TwoWay:
    """Two-way variance over patients and seeds (Cameron, Gelbach & Miller 2011; Owen 2007).

    The interaction is subtracted from the variance over patients. Subtracted from the variance over seeds, it would too
    often leave 0 by chance with two seeds: some pair of nine equal normal cells then differed in up to 25 % of the
    simulated studies.

    Args:
        patients: standard error over patients of the weighted sum.
        estimates: k arrays (S_i,), as in `spread_of_seeds`.
        weights: (k,), as in `spread_of_seeds`.
        interactions: k arrays (S_i,), the variance over patients of each seed's statistic minus the mean of the cell's
            seeds.

    Raises:
        ValueError: a value is NaN.
    """
    of_cells = [as_numbers("interactions", variances) for variances in interactions]
    shared = np.array([own.sum() / (len(own) - 1) / len(own) for own in of_cells])
    alone = patients.standard_error**2 - float(as_numbers("weights", weights) ** 2 @ shared)
    without = Spread(float(np.sqrt(np.maximum(alone, 0))), patients.degrees_of_freedom)
    return TwoWay(patients, spread_of_seeds(estimates, weights), without)


def seeds_covariance(estimates: Sequence[np.ndarray], shared: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Covariance of m statistics over seeds, pooled over cells, without the interaction of seeds and patients.

    Args:
        estimates: for each cell (m, S_i), the statistics of its two or more seeds.
        shared: for each cell S_i matrices (m, m), the covariance over patients of each seed's statistics minus the
            means of the cell's seeds, as in `two_way`.

    Returns:
        (m, m), the nearest matrix without negative variances; NaN if `shared` or `estimates` has NaN.
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
    """Extends an interval for new patients to one for new patients and new seeds.

    On each side two margins are added in quadrature: the distance from the value to the bound for patients, and the t
    quantile times the standard error over seeds. Seeds are assumed to be a random sample, and their effects (of initial
    weights, order and augmentation) to be normal and independent of the patients. With a separate quantile for each
    margin the coverage is at least nominal, whatever the shares of the two (Banerjee 1960). A single t quantile for the
    summed variance (Welch-Satterthwaite) has too low coverage with two or three seeds.

    Args:
        value: the estimate.
        of_patients: its interval for new patients.
        of_seeds: its standard error over seeds.
        confidence: in (0, 1).
        scale: the statistic's scale; bounds stay within its range.

    Returns:
        Low and high.

    Raises:
        ValueError: the confidence is outside (0, 1).
    """
    tail, (low, high) = tail_of(confidence), of_patients
    margin = _margin(tail, of_seeds)
    # A bootstrap interval need not contain the estimate; the margin on that side is then 0, not negative.
    below, above = (np.hypot(np.maximum(side, 0), margin) for side in (value - low, high - value))
    return within_range((value - float(below), value + float(above)), scale)


def two_way_interval(value: float, varies: TwoWay, confidence: float = 0.95, scale: Scale = "identity") -> Interval:
    """Interval for new patients and new seeds, at least as wide as Student's interval for new patients.

    It is `add_seeds` applied to Student's interval for patients without the interaction.

    Args:
        value: the estimate.
        varies: its standard errors.
        confidence: in (0, 1).
        scale: the statistic's scale.

    Returns:
        Low and high; (NaN, NaN) if the spread over patients is undefined.

    Raises:
        ValueError: the confidence is outside (0, 1).
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
    """Two-sided p-value of a difference: the smallest 1 - confidence at which `two_way_interval` does not contain 0.

    Args:
        difference: the estimate.
        varies: its standard errors.

    Returns:
        The p-value; that of `stats.intervals.student_p_value` over patients if the standard error over seeds is 0, and
        NaN if that one is NaN. With a standard error over seeds it is at least 2e-15.
    """
    of_patients = student_p_value(difference, varies.patients)
    if varies.seeds.standard_error == 0 or np.isnan(of_patients) or difference == 0:
        return of_patients

    def short(log_tail: float) -> float:
        """The absolute difference minus the margin."""
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
    """The intraclass correlation: the share of the variance between trials that is between cells.

    All values except the counts are NaN with fewer than two cells, or if nothing varies.

    Attributes:
        icc: the intraclass correlation, at most 1; below 0 if trials of the same cell differ more than cells do.
        low: lower bound of its interval.
        high: upper bound of its interval.
        sd_cells: standard deviation between cells; 0 if `icc` is below 0.
        sd_seeds: standard deviation between trials of the same cell.
        n_cells: number of cells.
        n_trainings: number of trials.
    """

    icc: float
    low: float
    high: float
    sd_cells: float
    sd_seeds: float
    n_cells: int
    n_trainings: int


def repeatability(estimates: Sequence[ArrayLike], confidence: float = 0.95) -> Repeatability:
    """ICC(1) of a statistic over cells, with trials from different seeds as repetitions (Shrout & Fleiss 1979).

    The interval is that of a one-way random effects model by the F distribution (McGraw & Wong 1996). With unequal
    numbers of seeds it uses their average n0 (Searle 1971), which is an approximation. All cells are tested on the same
    patients, so the result applies to these patients only.

    Args:
        estimates: for each cell (S_i,), the statistic of its two or more seeds.
        confidence: in (0, 1).

    Raises:
        ValueError: an estimate is NaN, a cell has fewer than two seeds, or the confidence is outside (0, 1).
    """
    tail, values = tail_of(confidence), [as_numbers("estimates", of_cell) for of_cell in estimates]
    seeds = np.array([len(of_cell) for of_cell in values])
    if (seeds < 2).any():
        raise ValueError("estimates: a cell has fewer than two seeds; leave this cell out")
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
