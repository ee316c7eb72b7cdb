"""Ranks of cells, their confidence sets, and groups of cells that do not differ significantly.

A cell that failed has an estimate of NaN and no rank.
"""

from string import ascii_lowercase

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from stats.checks import as_nullable_numbers


def rank(estimates: ArrayLike) -> np.ndarray:
    """Rank of each cell: 1 for the highest estimate, with mid-ranks for ties.

    Args:
        estimates: (k,), higher is better; negate a measure of which lower is better. NaN for a cell that failed.

    Returns:
        (k,) float64; NaN for NaN.

    Raises:
        ValueError: the array is empty or not one-dimensional, or a value is infinite.
    """
    estimates = as_nullable_numbers("estimates", estimates)
    known = ~np.isnan(estimates)
    ranks = np.full(len(estimates), np.nan)
    ranks[known] = rankdata(-estimates[known])
    return ranks


def rank_sets(p_adjusted: ArrayLike, estimates: ArrayLike, alpha: float = 0.05) -> np.ndarray:
    """Simultaneous confidence sets of the cells' true ranks (Mogstad, Romano, Shaikh & Wilhelm 2024).

    A cell's best possible rank is 1 plus the number of cells with significantly higher estimates, and its worst is k
    minus the number of cells with significantly lower ones. With probability 1 - alpha all sets contain the true ranks,
    even for equal or nearly equal cells, provided that the p-values control the family-wise error rate, as Holm's
    adjustment over all pairs does. Ranks computed in bootstrap resamples do not have this property.

    Args:
        p_adjusted: (k, k), as in `groups`.
        estimates: (k,), higher is better. NaN for a cell that failed; it takes no rank from the others.
        alpha: significance level, in (0, 1).

    Returns:
        (k, 2) float64, best and worst rank; NaN for a cell that failed.

    Raises:
        ValueError: as in `groups`, or an estimate is infinite.
    """
    ranks, different = _ranks_and_differences(p_adjusted, rank(estimates), alpha)
    ranked = ~np.isnan(ranks)
    higher = ranks[np.newaxis, :] < ranks[:, np.newaxis]  # NaN is neither higher nor lower
    best = 1 + (different & higher).sum(axis=1)
    worst = ranked.sum() - (different & higher.T).sum(axis=1)
    return np.where(ranked[:, np.newaxis], np.stack([best, worst], axis=1), np.nan)


def groups(p_adjusted: ArrayLike, ranks: ArrayLike, alpha: float = 0.05) -> list[str]:
    """Compact letter display: two cells share a letter if and only if they do not differ at alpha ("a", "ab", "b").

    The groups are the maximal sets of cells without a significant pair, found by inserting pairs one by one and
    absorbing subsets (Piepho 2004). In practice there are few groups, at most 3^(k/3).

    Args:
        p_adjusted: (k, k), symmetric p-values of all pairs, adjusted for multiple testing, such as
            `scipy.spatial.distance.squareform(holm(p_of_pairs))`. The diagonal is ignored. Two cells differ if
            p <= alpha; NaN (not tested) counts as no difference.
        ranks: (k,), as from `rank`. The group with the best cell is "a".
        alpha: significance level, in (0, 1).

    Returns:
        The letters of each cell, "" for a cell without a rank (NaN). The 27th group is "a'".

    Raises:
        ValueError: shapes do not match, the matrix is not symmetric, a p-value is outside [0, 1], or alpha is outside
            (0, 1).
    """
    ranks, different = _ranks_and_differences(p_adjusted, ranks, alpha)
    sets = {frozenset(np.flatnonzero(~np.isnan(ranks)).tolist())}
    for pair in np.argwhere(np.triu(different)).tolist():
        together = {cells for cells in sets if cells.issuperset(pair)}
        inserted = (sets - together) | {cells - {cell} for cells in together for cell in pair}
        sets = {cells for cells in inserted if not any(cells < other for other in inserted)}

    letters = [""] * len(ranks)
    for number, cells in enumerate(sorted(sets, key=lambda cells: sorted((ranks[cell], cell) for cell in cells))):
        for cell in cells:
            letters[cell] += ascii_lowercase[number % 26] + "'" * (number // 26)
    return letters


def tied_with_best(p_adjusted: ArrayLike, ranks: ArrayLike, alpha: float = 0.05) -> np.ndarray:
    """Whether each cell is the best or does not differ significantly from a best one.

    The data determine which cell is best, so p-values must be adjusted for all pairs, not only for those with the best.

    Args:
        p_adjusted: (k, k), as in `groups`.
        ranks: (k,), as from `rank`.
        alpha: significance level, in (0, 1).

    Returns:
        (k,) bool; False for a cell without a rank.

    Raises:
        ValueError: as in `groups`.
    """
    ranks, different = _ranks_and_differences(p_adjusted, ranks, alpha)
    ranked = ~np.isnan(ranks)
    best = ranked & (ranks == np.min(ranks[ranked], initial=np.inf))
    return ranked & (best | ~different[:, best].all(axis=1))


def _ranks_and_differences(p_adjusted: ArrayLike, ranks: ArrayLike, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The ranks (k,) and whether each pair of cells differs at alpha (k, k), after checking both."""
    ranks = as_nullable_numbers("ranks", ranks)
    p_values = np.array(p_adjusted, dtype=np.float64)
    if p_values.shape != (len(ranks), len(ranks)):
        raise ValueError(
            f"p_adjusted must be of shape {(len(ranks), len(ranks))} for {len(ranks)} ranks, got {p_values.shape}"
        )
    np.fill_diagonal(p_values, 1)
    if not np.array_equal(p_values, p_values.T, equal_nan=True):
        raise ValueError("p_adjusted must be symmetric, with one p-value for each pair of cells")
    if ((p_values < 0) | (p_values > 1)).any():
        raise ValueError("p_adjusted must be in [0, 1]")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    return ranks, p_values <= alpha
