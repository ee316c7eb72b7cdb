from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import squareform
from scipy.stats import norm

from stats.multiple import holm
from stats.ranks import groups, rank, rank_sets, tied_with_best


@st.composite
def comparisons(draw):
    """(p_adjusted, ranks) of up to seven cells, any of which may have failed or not been compared."""
    k = draw(st.integers(1, 7))
    p_of_pairs = draw(
        st.lists(st.sampled_from([0.01, 0.05, 0.2, np.nan]), min_size=k * (k - 1) // 2, max_size=k * (k - 1) // 2)
    )
    estimates = draw(st.lists(st.sampled_from([0.6, 0.7, 0.8, 0.9, np.nan]), min_size=k, max_size=k))
    p_adjusted = np.zeros((k, k))
    p_adjusted[np.triu_indices(k, 1)] = p_of_pairs
    return p_adjusted + p_adjusted.T, rank(estimates)


def test_the_highest_is_first_equals_share_and_the_failed_have_none():
    np.testing.assert_array_equal(rank([0.7, np.nan, 0.9, 0.7, 0.5]), [2.5, np.nan, 1, 2.5, 4])
    np.testing.assert_array_equal(rank([np.nan]), [np.nan])


def of_pairs(p_of_pairs):
    """The p-values of cells 0-1, 0-2, 0-3, 1-2, ... as a matrix."""
    return squareform(np.array(p_of_pairs))


def test_a_cell_may_have_every_rank_that_no_difference_excludes():
    """The first cell differs from all others; the others do not differ from each other."""
    p_adjusted = of_pairs([0.01, 0.01, 0.01, 0.9, 0.2, 0.3])
    np.testing.assert_array_equal(rank_sets(p_adjusted, [0.9, 0.8, 0.79, 0.7]), [[1, 1], [2, 4], [2, 4], [2, 4]])
    np.testing.assert_array_equal(rank_sets(p_adjusted[::-1, ::-1], [0.7, 0.79, 0.8, 0.9])[::-1, 1], [1, 4, 4, 4])


def test_cells_that_do_not_differ_may_have_any_rank():
    np.testing.assert_array_equal(rank_sets(np.ones((5, 5)), np.arange(5) / 10), [[1, 5]] * 5)


def test_a_failed_cell_takes_no_rank_and_an_untested_pair_does_not_differ():
    p_adjusted = of_pairs([np.nan, 0.01, 0.01, np.nan, np.nan, np.nan])
    expected = [[3, 3], [np.nan, np.nan], [1, 2], [1, 2]]
    np.testing.assert_array_equal(rank_sets(p_adjusted, [0.5, np.nan, 0.9, 0.7]), expected)
    assert np.isnan(rank_sets(np.ones((2, 2)), [np.nan, np.nan])).all()


@given(comparisons())
def test_the_estimated_rank_is_in_its_set_and_sets_are_ranks(comparison):
    p_adjusted, ranks = comparison
    low, high = rank_sets(p_adjusted, -ranks).T
    known = ~np.isnan(ranks)
    assert np.isnan(low[~known]).all()
    assert (low[known] <= ranks[known]).all() and (ranks[known] <= high[known]).all()
    assert (low[known] >= 1).all() and (high[known] <= known.sum()).all()
    letters = groups(p_adjusted, ranks)
    if len({letter for letter in letters if letter}) == 1:
        assert (low[known] == 1).all() and (high[known] == known.sum()).all()


def equal_cells(studies, cells, gap, seed):
    """(estimates, adjusted p-values) of paired cells whose true values differ by `gap` between neighbours."""
    rng = np.random.default_rng(seed)
    for _ in range(studies):
        estimates = rng.normal(size=cells) - gap * np.arange(cells)
        a, b = np.triu_indices(cells, 1)
        yield estimates, squareform(holm(2 * norm.sf(np.abs(estimates[a] - estimates[b]) / np.sqrt(2))))


@pytest.mark.parametrize("gap", [0, 0.2, 1])
def test_all_ranks_are_in_their_sets_at_once_however_near_the_cells_are(gap):
    true = np.arange(1, 6)
    held = 0
    for estimates, p_adjusted in equal_cells(1000, 5, gap, seed=3):
        low, high = rank_sets(p_adjusted, estimates).T
        held += ((low <= 1) & (high >= 5)).all() if gap == 0 else ((low <= true) & (true <= high)).all()
    assert held >= 950 - 2 * np.sqrt(1000 * 0.95 * 0.05)


@given(comparisons())
def test_cells_share_a_letter_exactly_when_they_do_not_differ(comparison):
    p_adjusted, ranks = comparison
    letters = groups(p_adjusted, ranks)
    for cell, own in enumerate(letters):
        assert bool(own) == (not np.isnan(ranks[cell]))
    for i, j in combinations(np.flatnonzero(~np.isnan(ranks)), 2):
        assert bool(set(letters[i]) & set(letters[j])) == (not p_adjusted[i, j] <= 0.05)


@given(comparisons())
def test_groups_are_the_largest_sets_without_a_difference_best_first(comparison):
    p_adjusted, ranks = comparison
    letters = groups(p_adjusted, ranks)
    ranked = np.flatnonzero(~np.isnan(ranks)).tolist()
    alike = [
        set(cells)
        for size in range(1, len(ranked) + 1)
        for cells in combinations(ranked, size)
        if not any(p_adjusted[i, j] <= 0.05 for i, j in combinations(cells, 2))
    ]
    largest = [cells for cells in alike if not any(cells < other for other in alike)]
    used = sorted(set("".join(letters)))
    assert used == [chr(ord("a") + i) for i in range(len(largest))]
    members = [{cell for cell, own in enumerate(letters) if letter in own} for letter in used]
    assert sorted(map(sorted, members)) == sorted(map(sorted, largest))
    best_of_each = [min(ranks[cell] for cell in cells) for cells in members]
    assert best_of_each == sorted(best_of_each)


@given(comparisons())
def test_tied_with_best_by_definition(comparison):
    p_adjusted, ranks = comparison
    k = len(ranks)
    best = [i for i in range(k) if ranks[i] == np.nanmin(ranks)] if not np.isnan(ranks).all() else []
    expected = [
        not np.isnan(ranks[i]) and any(i in best or not p_adjusted[i, j] <= 0.05 for j in best) for i in range(k)
    ]
    assert tied_with_best(p_adjusted, ranks).tolist() == expected


def test_letters_by_hand():
    """First and last differ, the middle one differs from neither, the fourth failed: 0.9 > 0.85 > 0.8."""
    p_adjusted = squareform([0.01, 0.4, np.nan, 0.2, np.nan, np.nan])
    ranks = rank([0.8, 0.9, 0.85, np.nan])
    assert groups(p_adjusted, ranks) == ["b", "a", "ab", ""]
    assert tied_with_best(p_adjusted, ranks).tolist() == [False, True, True, False]
    assert groups(p_adjusted, ranks, alpha=0.3) == ["b", "a", "b", ""]


def test_one_cell_has_no_pairs():
    assert groups(squareform(holm([])), rank([0.7])) == ["a"]
    assert tied_with_best(squareform(holm([])), rank([0.7])).tolist() == [True]


def test_letters_do_not_run_out():
    assert groups(np.zeros((30, 30)), np.arange(1.0, 31))[24:28] == ["y", "z", "a'", "b'"]


@pytest.mark.parametrize("function", [groups, tied_with_best])
@pytest.mark.parametrize(
    ("p_adjusted", "alpha", "message"),
    [
        (np.ones((2, 2)), 0.05, r"shape \(3, 3\) for 3 ranks, got \(2, 2\)"),
        (np.triu(np.ones((3, 3))), 0.05, "symmetric"),
        (np.full((3, 3), 1.5), 0.05, r"in \[0, 1\]"),
        (np.ones((3, 3)), 5, "alpha must be between 0 and 1"),
    ],
)
def test_invalid_comparisons_are_refused(function, p_adjusted, alpha, message):
    with pytest.raises(ValueError, match=message):
        function(p_adjusted, [1, 2, 3], alpha)
