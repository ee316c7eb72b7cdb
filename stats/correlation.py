"""Rank correlation over a handful of cells, with permutation p-values that hold for nine points and ties.

Spearman's rho and Kendall's tau-b are one formula, sum(a b) / sqrt(sum(a a) sum(b b)), on two ways to score a sample
(Daniels 1944): by its centred mid-ranks, or by the signs of the differences within all pairs. Either score is a whole
number, so an order of the points is compared with the observed one exactly.
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

EXACT_UP_TO = 9  # points; 9! = 362,880 orders
_MOST_ORDERS = math.factorial(EXACT_UP_TO)
_BLOCK = 1 << 18  # scores worked on at once: 2 MB stay in the processor's cache

Layout = tuple[ArrayLike, ArrayLike]
Coefficient = Literal["spearman", "kendall"]
_Score = Callable[[np.ndarray], np.ndarray]  # ranks (..., n) -> scores (..., m), both whole numbers


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation with its permutation p-values.

    coefficient: rho or tau-b, -1 to 1.
    p_value: two-sided; p_greater, p_less: one-sided, for a positive and for a negative relation.
    p_standard_error: of p_value, from drawing orders at random; 0 where every order was counted.
    n: points.
    method: "exact permutation" (every order counted), "Monte Carlo permutation" (random orders), either followed by
    "within the layout", or "undefined" (all numbers are NaN: fewer than three points, or one of the two does not vary).
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
    """Spearman's rho of x (n,) and y (n,), mid-ranks for ties, against the hypothesis that every pairing is as likely.

    Up to `EXACT_UP_TO` points a p-value is the share of all n! orders of y with a coefficient at least as extreme as
    observed (ties included). Beyond, `permutations` random orders drawn from `seed` give
    (count + 1) / (permutations + 1) (Phipson & Smyth 2010). SciPy's default p-value assumes a t distribution, which
    nine points with ties do not follow.

    layout: of points that are the cells of a table, the row and the column of each, both (n,) and of any type. Points
    of one row (one backbone, say) are alike in x and alike in y, so that not every pairing is as likely although x and
    y are unrelated. Then rows are exchanged with rows and columns with columns: of 3 x 3 cells 36 orders, the
    least p-value 1/36. A table with empty cells is exchanged in the ways that leave them empty.

    Raises ValueError for NaN (no pair is dropped silently), different lengths, two points in one cell of the layout,
    or fewer than one permutation.
    """
    return _permutation_test(x, y, _by_rank, layout, permutations, seed)


def kendall(
    x: ArrayLike, y: ArrayLike, *, layout: Layout | None = None, permutations: int = 99_999, seed: int = 0
) -> RankCorrelation:
    """Kendall's tau-b of x (n,) and y (n,): pairs in the same order less those in opposite order, corrected for ties.

    p-values, layout and errors as for `spearman`. SciPy's are normal approximations as soon as there are ties.
    """
    return _permutation_test(x, y, _by_pair, layout, permutations, seed)


def spearman_resampled(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Spearman's rho of each row of x (resamples, k) with the same row of y (resamples, k), (resamples,) float64.

    For the interval of a correlation over k cells from resampled patients. NaN where a row holds NaN (a statistic that
    is undefined in that resample), where it does not vary, and where k < 3.

    Raises ValueError unless both are two-dimensional and of one shape.
    """
    return _row_by_row(x, y, _by_rank)


def kendall_resampled(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Kendall's tau-b row by row, as `spearman_resampled`."""
    return _row_by_row(x, y, _by_pair)


COEFFICIENTS: dict[Coefficient, Callable[[ArrayLike, ArrayLike], np.ndarray]] = {
    "spearman": spearman_resampled,
    "kendall": kendall_resampled,
}


def fisher_interval(rho: float, n: int, confidence: float = 0.95) -> Interval:
    """Of Spearman's rho over n independent points, on Fisher's scale with variance (1 + rho^2 / 2) / (n - 3).

    Bonett & Wright (2000). For points known without error: error weakens rho, and the interval with it
    (`stats.error_in_cells` takes it out). (NaN, NaN) for fewer than four points and for a rho of -1 or 1.

    Raises ValueError for a confidence outside (0, 1).
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
        values = score(shuffled) @ a  # whole, like `observed`; the spread is that of every order
        as_extreme += [np.sum(np.abs(values) >= abs(observed)), np.sum(values >= observed), np.sum(values <= observed)]
    # Drawn at random, the observed order counts as one more of them: a p-value is never 0.
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
        raise ValueError(f"x and y must be of one shape (resamples, k), got {x.shape} and {y.shape}")
    if x.shape[1] < 3:
        return np.full(len(x), np.nan)
    a, b = score(_centred_ranks(x)), score(_centred_ranks(y))
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return divide_or_nan((a * b).sum(axis=1), spread)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Twice the mid-ranks along the last axis, less their mean: whole numbers, also where values are tied."""
    return 2 * rankdata(values, axis=-1) - (values.shape[-1] + 1)


def _every_order(values: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """All orders of values (n,), in blocks (rows, n)."""
    orders = np.zeros((1, 1), dtype=np.uint8)
    for item in range(1, len(values)):
        orders = np.concatenate([np.insert(orders, place, item, axis=1) for place in range(item + 1)])
    for start in range(0, len(orders), rows):
        yield values[orders[start : start + rows]]


def _random_orders(values: np.ndarray, permutations: int, seed: int, rows: int) -> Iterator[np.ndarray]:
    """`permutations` random orders of values (n,), in blocks (rows, n)."""
    rng = np.random.default_rng(seed)
    for start in range(0, permutations, rows):
        yield rng.permuted(np.tile(values, (min(rows, permutations - start), 1)), axis=1)


def _orders_within(layout: Layout, n: int, permutations: int, seed: int) -> tuple[np.ndarray, bool]:
    """Orders (m, n) of the points that exchange whole rows and whole columns of a table, and whether these are all.

    Those that carry a point into an empty cell are left out; what is left is a group still, so p-values are exact.
    """
    row, column = (np.unique(np.asarray(part), return_inverse=True)[1] for part in layout)
    require_same_length(rows=row, columns=column, points=np.empty(n))
    place = np.full((row.max() + 1, column.max() + 1), -1)
    place[row, column] = np.arange(n)
    if (place >= 0).sum() < n:
        raise ValueError("layout: two points are in one cell of the table; average them first")
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
