"""Rank correlation over a small number of cells, with permutation p-values that are valid for few points and ties.

Spearman's rho and Kendall's tau-b have the same formula, sum(a b) / sqrt(sum(a a) sum(b b)), with different scores
(Daniels 1944): the centred mid-ranks, or the signs of the differences within all pairs. Both scores are whole numbers,
so the coefficient of a permutation is compared with the observed one without rounding.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from stats.checks import as_numbers, require_same_length, tail_of
from stats.intervals import UNDEFINED, Interval
from stats.quotient import divide_or_nan

EXACT_UP_TO = 9  # points; 9! = 362,880 permutations
_MOST_ORDERS = math.factorial(EXACT_UP_TO)
_BLOCK = 1 << 18  # scores per block: 2 MB, which fits into the processor's cache

Layout = tuple[ArrayLike, ArrayLike]
Coefficient = Literal["spearman", "kendall"]
_Score = Callable[[np.ndarray], np.ndarray]  # from ranks (..., n) to scores (..., m), both whole numbers


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation with its permutation p-values.

    Attributes:
        coefficient: rho or tau-b, in [-1, 1].
        p_value: two-sided p-value.
        p_greater: one-sided p-value for a positive correlation.
        p_less: one-sided p-value for a negative correlation.
        p_standard_error: Monte Carlo standard error of `p_value`; 0 for an exact test.
        n: number of points.
        method: "exact permutation" (all permutations), "Monte Carlo permutation" (random permutations), either of them
            with "within the layout" added, or "undefined". If undefined, all other numbers are NaN: there are fewer
            than three points, or x or y does not vary.
    """

    coefficient: float
    p_value: float
    p_greater: float
    p_less: float
    p_standard_error: float
    n: int
    method: str


def spearman(
    x: ArrayLike, y: ArrayLike, *, layout: Layout | None = None, permutations: int = 99_999, seed: int = 0
) -> RankCorrelation:
    """Spearman's rho (with mid-ranks for ties) and a permutation test of no correlation.

    With up to `EXACT_UP_TO` points, a p-value is the share of all n! permutations of y whose coefficient is at least as
    extreme as the observed one (ties included). With more points, random permutations give
    (count + 1) / (permutations + 1) (Phipson & Smyth 2010). SciPy's default p-value assumes a t distribution, which is
    not valid for nine points with ties.

    If the points are the cells of a table, points of the same row (such as one backbone) are similar in both x and y.
    Not all permutations are then equally likely even if x and y are unrelated. With a `layout`, only whole rows and
    whole columns are permuted: 36 permutations for 3 x 3 cells, so the smallest p-value is 1/36. Only those
    permutations are used that keep the empty cells of the table empty.

    Args:
        x: (n,).
        y: (n,).
        layout: row and column of each point, each (n,) of any type; None if the points are exchangeable.
        permutations: number of random permutations.
        seed: seed of the random permutations.

    Raises:
        ValueError: a value is NaN (no pair is dropped silently), lengths differ, two points are in the same cell of the
            layout, or `permutations` is below 1.
    """
    return _permutation_test(x, y, _by_rank, layout, permutations, seed)


def kendall(
    x: ArrayLike, y: ArrayLike, *, layout: Layout | None = None, permutations: int = 99_999, seed: int = 0
) -> RankCorrelation:
    """Kendall's tau-b (concordant minus discordant pairs, corrected for ties) and a permutation test of no correlation.

    Arguments, p-values and errors are as in `spearman`. SciPy's p-values are normal approximations if there are ties.
    """
    return _permutation_test(x, y, _by_pair, layout, permutations, seed)


def spearman_resampled(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Spearman's rho over k cells in each resample, for the interval of a correlation from resampled patients.

    Args:
        x: (resamples, k), one value for each cell in each resample.
        y: (resamples, k), likewise.

    Returns:
        (resamples,) float64; NaN if a row has NaN (a statistic that is undefined in that resample) or does not vary,
        and if k is below 3.

    Raises:
        ValueError: x and y are not two-dimensional or differ in shape.
    """
    return _row_by_row(x, y, _by_rank)


def kendall_resampled(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Kendall's tau-b over k cells in each resample; arguments, result and errors as in `spearman_resampled`."""
    return _row_by_row(x, y, _by_pair)


COEFFICIENTS: dict[Coefficient, Callable[[ArrayLike, ArrayLike], np.ndarray]] = {
    "spearman": spearman_resampled,
    "kendall": kendall_resampled,
}


def fisher_interval(rho: float, n: int, confidence: float = 0.95) -> Interval:
    """Interval of Spearman's rho over independent points, on Fisher's z scale (Bonett & Wright 2000).

    The variance on this scale is (1 + rho^2 / 2) / (n - 3). The interval assumes that the points are known without
    error. Errors bring both rho and the interval closer to 0; `stats.error_in_cells` corrects for this.

    Args:
        rho: Spearman's rho.
        n: number of points.
        confidence: in (0, 1).

    Returns:
        Low and high; NaN for fewer than four points and for a rho of -1 or 1.

    Raises:
        ValueError: the confidence is outside (0, 1).
    """
    tail = tail_of(confidence)
    if n < 4 or not -1 < rho < 1:
        return UNDEFINED
    margin = float(norm.isf(tail)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - margin), math.tanh(math.atanh(rho) + margin)


def _by_rank(ranks: np.ndarray) -> np.ndarray:
    return ranks


def _by_pair(ranks: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(ranks.shape[-1], k=1)
    return np.sign(ranks[..., second] - ranks[..., first])


def _permutation_test(
    x: ArrayLike, y: ArrayLike, score: _Score, layout: Layout | None, permutations: int, seed: int
) -> RankCorrelation:
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    x, y = as_numbers("x", x), as_numbers("y", y)
    require_same_length(x=x, y=y)
    ranks = _centred_ranks(y)
    a, b = score(_centred_ranks(x)), score(ranks)
    n, spread = len(ranks), math.sqrt((a @ a) * (b @ b))
    if n < 3 or spread == 0:
        return RankCorrelation(math.nan, math.nan, math.nan, math.nan, math.nan, n, "undefined")

    observed, rows = a @ b, max(1, _BLOCK // len(b))
    if layout is None:
        exact = n <= EXACT_UP_TO
        orders = math.factorial(n) if exact else permutations
        blocks = _every_order(ranks, rows) if exact else _random_orders(ranks, permutations, seed, rows)
    else:
        within, exact = _orders_within(layout, n, permutations, seed)
        orders = len(within)
        blocks = (ranks[within[start : start + rows]] for start in range(0, orders, rows))
    as_extreme = np.zeros(3)  # two-sided, greater, less
    for shuffled in blocks:
        values = score(shuffled) @ a  # whole numbers, like `observed`; all permutations have the same spread
        as_extreme += [np.sum(np.abs(values) >= abs(observed)), np.sum(values >= observed), np.sum(values <= observed)]
    # The observed order is counted with the random permutations, so a p-value is never 0.
    own = 0 if exact else 1
    p_value, p_greater, p_less = ((as_extreme + own) / (orders + own)).tolist()
    return RankCorrelation(
        coefficient=float(observed / spread),
        p_value=p_value,
        p_greater=p_greater,
        p_less=p_less,
        p_standard_error=0.0 if exact else math.sqrt(p_value * (1 - p_value) / (orders + own)),
        n=n,
        method=("exact" if exact else "Monte Carlo") + " permutation" + (" within the layout" if layout else ""),
    )


def _row_by_row(x: ArrayLike, y: ArrayLike, score: _Score) -> np.ndarray:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"x and y must have the same shape (resamples, k), got {x.shape} and {y.shape}")
    if x.shape[1] < 3:
        return np.full(len(x), np.nan)
    a, b = score(_centred_ranks(x)), score(_centred_ranks(y))
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return divide_or_nan((a * b).sum(axis=1), spread)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Twice the mid-ranks along the last axis, minus their mean: whole numbers, even with ties."""
    return 2 * rankdata(values, axis=-1) - (values.shape[-1] + 1)


def _every_order(values: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """All permutations of values (n,), in blocks (rows, n)."""
    orders = np.zeros((1, 1), dtype=np.uint8)
    for item in range(1, len(values)):
        orders = np.concatenate([np.insert(orders, place, item, axis=1) for place in range(item + 1)])
    for start in range(0, len(orders), rows):
        yield values[orders[start : start + rows]]


def _random_orders(values: np.ndarray, permutations: int, seed: int, rows: int) -> Iterator[np.ndarray]:
    """Random permutations of values (n,), in blocks (rows, n)."""
    rng = np.random.default_rng(seed)
    for start in range(0, permutations, rows):
        yield rng.permuted(np.tile(values, (min(rows, permutations - start), 1)), axis=1)


def _orders_within(layout: Layout, n: int, permutations: int, seed: int) -> tuple[np.ndarray, bool]:
    """Permutations (m, n) of the points that exchange whole rows and columns of a table, and whether these are all.

    Permutations that move a point into an empty cell are left out. The rest still form a group, so p-values are exact.
    """
    row, column = (np.unique(np.asarray(part), return_inverse=True)[1] for part in layout)
    require_same_length(rows=row, columns=column, points=np.empty(n))
    place = np.full((row.max() + 1, column.max() + 1), -1)
    place[row, column] = np.arange(n)
    if (place >= 0).sum() < n:
        raise ValueError("layout: two points are in the same cell of the table; average them first")
    height, width = place.shape
    exact = math.factorial(height) * math.factorial(width) <= _MOST_ORDERS
    if exact:
        rows, columns = (np.array(list(itertools.permutations(range(size)))) for size in (height, width))
        rows, columns = np.repeat(rows, len(columns), axis=0), np.tile(columns, (len(rows), 1))
    else:
        rng = np.random.default_rng(seed)
        rows, columns = (rng.permuted(np.tile(np.arange(size), (permutations, 1)), axis=1) for size in (height, width))
    orders = place[rows[:, row], columns[:, column]]
    return orders[(orders >= 0).all(axis=1)], exact
