from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from stats.multiple import holm
from stats.ranks import groups, rank, rank_intervals, tied_with_best


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


def test_intervals_hold_the_ranks_of_the_resamples():
    rng = np.random.default_rng(0)
    samples = np.array([0.9, 0.8, 0.79, 0.5]) + 0.01 * rng.normal(size=(2000, 4))
    np.testing.assert_array_equal(rank_intervals(samples), [[1, 1], [2, 3], [2, 3], [4, 4]])


def test_intervals_are_quantiles_of_the_ranks_rounded_outwards():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(100, 6)).round(1) + np.arange(6) / 2
    ranks = np.array([rankdata(-row) for row in samples])
    low, high = np.quantile(ranks, [0.1, 0.9], axis=0)
    assert (low % 1 > 0).any()
    np.testing.assert_array_equal(rank_intervals(samples, 0.8), np.stack([np.floor(low), np.ceil(high)], axis=1))


def test_two_equal_cells_share_both_places():
    samples = np.random.default_rng(2).normal(size=(200, 1)) + np.array([1, 1, 9])
    np.testing.assert_array_equal(rank_intervals(samples), [[2, 3], [2, 3], [1, 1]])


def test_a_failed_cell_takes_no_rank_and_an_undefined_resample_does_not_count():
    samples = np.tile([0.5, np.nan, 0.9, 0.7], (50, 1))
    expected = [[3, 3], [np.nan, np.nan], [1, 1], [2, 2]]
    np.testing.assert_array_equal(rank_intervals(samples), expected)
    samples[:10, 2] = np.nan  # the others would move up a place
    np.testing.assert_array_equal(rank_intervals(samples), expected)
    samples[:11, 2] = np.nan  # 39 are left
    assert np.isnan(rank_intervals(samples)).all()
    assert np.isnan(rank_intervals(np.full((50, 2), np.nan))).all()


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
def test_what_is_no_comparison_is_refused(function, p_adjusted, alpha, message):
    with pytest.raises(ValueError, match=message):
        function(p_adjusted, [1, 2, 3], alpha)


def test_samples_have_a_column_per_cell():
    with pytest.raises(ValueError, match=r"\(resamples, k\)"):
        rank_intervals(np.zeros(5))
