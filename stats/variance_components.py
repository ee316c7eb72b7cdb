"""Where the variance of a cross-validated measure comes from: patients, seeds, and the division into folds.

A two-way random effects model of the values of S seeds in R repeats of the folds: value = mean + seed + split + rest
(Searle, Casella & McCulloch 1992, "Variance Components", chapter 4; for machine learning Bouthillier et al. 2021). All
repeats test the same patients, so this table cannot show how much patients matter: that part comes from what each
patient adds to the error of the values (`stats.cross_validated`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from stats.checks import tail_of


@dataclass(frozen=True)
class Component:
    """A variance, with its interval; NaN if the trainings do not allow to estimate it.

    Attributes:
        variance: the estimate; an estimate below 0 is reported as 0.
        low: lower bound of the interval, at least 0.
        high: upper bound.
    """

    variance: float
    low: float
    high: float


UNKNOWN = Component(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Components:
    """The variance of the value of one training (one seed, one division into folds) for new patients.

    Attributes:
        patients: between samples of patients of this size.
        seeds: between seeds, whatever the folds; unknown with one seed.
        splits: between divisions into folds, whatever the seed; with one seed it includes `rest`.
        rest: what neither explains alone, which includes how seeds and splits act together and all randomness of a
            training; unknown with one seed or one repeat. With one repeat `seeds` includes it.
    """

    patients: Component
    seeds: Component
    splits: Component
    rest: Component

    @property
    def total(self) -> float:
        """The sum of the known components."""
        parts = (self.patients, self.seeds, self.splits, self.rest)
        return sum(part.variance for part in parts if not math.isnan(part.variance))

    def of_mean(self, seeds: int, repeats: int) -> float:
        """The variance of the mean of that many seeds and repeats; unknown components count as 0."""
        each = (1, seeds, repeats, seeds * repeats)
        parts = (self.patients, self.seeds, self.splits, self.rest)
        return sum(part.variance / n for part, n in zip(parts, each, strict=True) if not math.isnan(part.variance))


def components(
    values: Sequence[np.ndarray], patients: Sequence[tuple[float, float]], freedom: float, confidence: float = 0.95
) -> Components:
    """The components of one cell, or, with several, their means over cells (mean squares are pooled).

    Args:
        values: for each cell (S, R), the measure by seed and repeat; all cells with the same S and R.
        patients: for each cell, `stats.cross_validated.CrossValidated.patients_variance` of its seeds.
        freedom: degrees of freedom of these variances.
        confidence: in (0, 1).

    Raises:
        ValueError: a value is NaN, the cells differ in shape, or the confidence is outside (0, 1).
    """
    tail = tail_of(confidence)
    if not values or len({cell.shape for cell in values}) > 1 or np.isnan(np.stack(values)).any():
        raise ValueError("values must have the same seeds and repeats in every cell, and no NaN")
    seeds, repeats = values[0].shape
    rows, columns, rest = _mean_squares(np.stack(values))
    of_mean, special = (float(part) for part in np.mean(patients, axis=0))
    # The part that is special to trainings is known far better than the variance of the mean.
    bounds = [max(0.0, bound - special) for bound in _between_chi(of_mean, freedom, tail)]
    shared = Component(max(0.0, of_mean - special), *bounds) if of_mean >= 0 else UNKNOWN
    if seeds > 1 and repeats > 1:
        return Components(
            shared,
            _difference(rows, rest, repeats, tail),
            _difference(columns, rest, seeds, tail),
            Component(rest[0], *_between_chi(*rest, tail)),
        )
    of_seeds = Component(rows[0], *_between_chi(*rows, tail)) if seeds > 1 else UNKNOWN
    of_splits = Component(columns[0], *_between_chi(*columns, tail)) if repeats > 1 else UNKNOWN
    return Components(shared, of_seeds, of_splits, UNKNOWN)


_MeanSquare = tuple[float, int]  # with its degrees of freedom


def _mean_squares(values: np.ndarray) -> tuple[_MeanSquare, _MeanSquare, _MeanSquare]:
    """Mean squares of seeds, of repeats, and of the rest, pooled over cells; values (cells, S, R)."""
    cells, seeds, repeats = values.shape
    grand = values.mean(axis=(1, 2), keepdims=True)
    of_seed, of_repeat = values.mean(axis=2, keepdims=True), values.mean(axis=1, keepdims=True)
    squares = (
        repeats * ((of_seed - grand) ** 2).sum(),
        seeds * ((of_repeat - grand) ** 2).sum(),
        ((values - of_seed - of_repeat + grand) ** 2).sum(),
    )
    freedom = (cells * (seeds - 1), cells * (repeats - 1), cells * (seeds - 1) * (repeats - 1))
    found = [(float(square) / df if df else math.nan, df) for square, df in zip(squares, freedom, strict=True)]
    return found[0], found[1], found[2]


def _between_chi(variance: float, freedom: float, tail: float) -> tuple[float, float]:
    """The interval of a variance with a scaled chi-squared distribution."""
    if math.isnan(variance) or not freedom > 0:
        return math.nan, math.nan
    scaled = freedom * variance
    return scaled / float(chi2.isf(tail, freedom)), scaled / float(chi2.ppf(tail, freedom))


def _difference(first: _MeanSquare, second: _MeanSquare, count: int, tail: float) -> Component:
    """(first - second) / count, with the modified large-sample interval (Ting et al. 1990; Burdick & Graybill 1992)."""
    (a, n), (b, m) = first, second
    g1, h1 = 1 - n / float(chi2.isf(tail, n)), n / float(chi2.ppf(tail, n)) - 1
    g2, h2 = 1 - m / float(chi2.isf(tail, m)), m / float(chi2.ppf(tail, m)) - 1
    upper, lower = float(f_distribution.isf(tail, n, m)), float(f_distribution.ppf(tail, n, m))
    g12 = ((upper - 1) ** 2 - (g1 * upper) ** 2 - h2**2) / upper
    h12 = ((1 - lower) ** 2 - (h1 * lower) ** 2 - g2**2) / lower
    below = (g1 * a) ** 2 + (h2 * b) ** 2 + g12 * a * b
    above = (h1 * a) ** 2 + (g2 * b) ** 2 + h12 * a * b
    low, high = a - b - math.sqrt(max(0.0, below)), a - b + math.sqrt(max(0.0, above))
    return Component(max(0.0, a - b) / count, max(0.0, low) / count, max(0.0, high) / count)
