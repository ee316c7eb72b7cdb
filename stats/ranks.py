"""Which of several cells is best, how sure that is, and which cells cannot be told apart.

A cell that failed has no rank: its estimate is NaN.
"""

from string import ascii_lowercase

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from stats.checks import as_nullable_numbers


def rank(estimates: ArrayLike) -> np.ndarray:
    """Rank of each cell, (k,) float64: 1 for the highest estimate, mid-ranks for equals, NaN for NaN.

    estimates (k,); negate those of which less is better. Raises ValueError for another shape or an infinite value.
    """
    estimates = as_nullable_numbers("estimates", estimates)
    known = ~np.isnan(estimates)
    ranks = np.full(len(estimates), np.nan)
    ranks[known] = rankdata(-estimates[known])
    return ranks


def rank_sets(p_adjusted: ArrayLike, estimates: ArrayLike, alpha: float = 0.05) -> np.ndarray:
    """The ranks that each cell may truly have, best and worst, (k, 2): a simultaneous confidence set of all ranks.

    A cell is behind as many others as are higher and differ from it, and ahead of as many as are lower and differ: the
    set runs from 1 + the first number to k - the second (Mogstad, Romano, Shaikh & Wilhelm 2024). All sets
    hold their true ranks at once with probability 1 - alpha, however near or equal the cells are, where the chance of
    one false difference or more is below alpha, as after Holm's adjustment over all pairs; ranks of resamples have no
    such property.

    p_adjusted (k, k) as of `groups`; estimates (k,), the higher the better. A cell of NaN failed: it has NaN bounds and
    takes no rank from the others. NaN p-values (not tested) tell no cells apart.

    Raises ValueError as `groups` does, and for an infinite estimate.
    """
    ranks, different = _ranks_and_differences(p_adjusted, rank(estimates), alpha)
    ranked = ~np.isnan(ranks)
    higher = ranks[np.newaxis, :] < ranks[:, np.newaxis]  # NaN is neither higher nor lower
    best = 1 + (different & higher).sum(axis=1)
    worst = ranked.sum() - (different & higher.T).sum(axis=1)
    return np.where(ranked[:, np.newaxis], np.stack([best, worst], axis=1), np.nan)


def groups(p_adjusted: ArrayLike, ranks: ArrayLike, alpha: float = 0.05) -> list[str]:
    """Letters for each of k cells: two cells share one exactly when they do not differ at alpha ("a", "ab", "b").

    p_adjusted (k, k): symmetric p-values of all pairs, adjusted for their number, such as
    `scipy.spatial.distance.squareform(holm(p_of_pairs))`; the diagonal is not read. Cells differ where p <= alpha; NaN
    (not tested) does not tell them apart. ranks (k,) as from `rank`: "a" is the group with the best cell, and a cell
    without rank (NaN) has no letters. The 27th group is "a'".

    The groups are all largest sets of cells without a differing pair, by inserting the pairs one by one and absorbing
    sets inside others (Piepho 2004). There are few in practice, at worst 3^(k/3).

    Raises ValueError for another shape, a matrix that is not symmetric, p outside [0, 1], or alpha outside (0, 1).
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
    """Whether each cell is best or does not differ from a best one at alpha, (k,) bool; False without rank.

    p_adjusted (k, k), ranks (k,) and what is raised as in `groups`. The data chose which cell is best, so the p-values
    must be adjusted for all pairs, not only for those with the best.
    """
    ranks, different = _ranks_and_differences(p_adjusted, ranks, alpha)
    ranked = ~np.isnan(ranks)
    best = ranked & (ranks == np.min(ranks[ranked], initial=np.inf))
    return ranked & (best | ~different[:, best].all(axis=1))


def _ranks_and_differences(p_adjusted: ArrayLike, ranks: ArrayLike, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """ranks (k,) and which pairs of cells differ at alpha (k, k), both checked."""
    ranks = as_nullable_numbers("ranks", ranks)
    p_values = np.array(p_adjusted, dtype=np.float64)
    if p_values.shape != (len(ranks), len(ranks)):
        raise ValueError(
            f"p_adjusted must be of shape {(len(ranks), len(ranks))} for {len(ranks)} ranks, got {p_values.shape}"
        )
    np.fill_diagonal(p_values, 1)
    if not np.array_equal(p_values, p_values.T, equal_nan=True):
        raise ValueError("p_adjusted must be symmetric: one p-value for each pair of cells")
    if ((p_values < 0) | (p_values > 1)).any():
        raise ValueError("p_adjusted must be in [0, 1]")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    return ranks, p_values <= alpha
