"""Rank correlation over a handful of cells, with a permutation p-value that holds for nine points and ties."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from stats.checks import as_numbers, require_same_length

EXACT_UP_TO = 9  # points; 9! = 362,880 orders
_BLOCK = 1 << 22  # ranks permuted at once


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation and its two-sided p-value.

    method: "exact permutation" (every order counted), "Monte Carlo permutation" (random orders), or "undefined" (rho
    and p_value are NaN: fewer than three points, or one of the two does not vary).
    """

    rho: float
    p_value: float
    n: int
    method: str


def spearman(x: ArrayLike, y: ArrayLike, *, permutations: int = 99_999, seed: int = 0) -> RankCorrelation:
    """Spearman's rho of x (n,) and y (n,), mid-ranks for ties, against the hypothesis that every pairing is as likely.

    Up to `EXACT_UP_TO` points the p-value is the share of all n! orders of y with |rho| at least as large as observed
    (ties included). Beyond, `permutations` random orders drawn from `seed` give (count + 1) / (permutations + 1)
    (Phipson & Smyth 2010). SciPy's default p-value assumes a t distribution, which nine points with ties do not follow.

    Raises ValueError for NaN (no pair is dropped silently), different lengths, or fewer than one permutation.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    x, y = as_numbers("x", x), as_numbers("y", y)
    require_same_length(x=x, y=y)
    a, b = _centred_ranks(x), _centred_ranks(y)
    n, spread = len(a), math.sqrt((a @ a) * (b @ b))
    if n < 3 or spread == 0:
        return RankCorrelation(math.nan, math.nan, n, "undefined")

    observed = a @ b  # a whole number, as is the same product for any other order: comparisons are exact
    rho = float(observed / spread)
    if n <= EXACT_UP_TO:
        p_value = np.mean(np.abs(b[_orders(n)] @ a) >= abs(observed))
        return RankCorrelation(rho, float(p_value), n, "exact permutation")
    as_extreme = sum(
        int(np.count_nonzero(np.abs(shuffled @ a) >= abs(observed))) for shuffled in _shuffles(b, permutations, seed)
    )
    return RankCorrelation(rho, (as_extreme + 1) / (permutations + 1), n, "Monte Carlo permutation")


def spearman_resampled(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Spearman's rho of each row of x (resamples, k) with the same row of y (resamples, k), (resamples,) float64.

    For the interval of a correlation over k cells from resampled people. NaN where a row holds NaN (a statistic that
    is undefined in that resample), where it does not vary, and where k < 3.

    Raises ValueError unless both are two-dimensional and of one shape.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"x and y must be of one shape (resamples, k), got {x.shape} and {y.shape}")
    if x.shape[1] < 3:
        return np.full(len(x), np.nan)
    a, b = _centred_ranks(x), _centred_ranks(y)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), spread, out=np.full(len(x), np.nan), where=spread > 0)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Twice the mid-ranks along the last axis, less their mean: whole numbers, also where values are tied."""
    return 2 * rankdata(values, axis=-1) - (values.shape[-1] + 1)


def _orders(n: int) -> np.ndarray:
    """All orders of 0 ... n-1, (n!, n) uint8."""
    orders = np.zeros((1, 1), dtype=np.uint8)
    for item in range(1, n):
        orders = np.concatenate([np.insert(orders, place, item, axis=1) for place in range(item + 1)])
    return orders


def _shuffles(values: np.ndarray, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """`permutations` random orders of values (n,), in blocks of rows (rows, n)."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // len(values))
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        yield rng.permuted(np.tile(values, (rows, 1)), axis=1)
