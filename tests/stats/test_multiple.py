import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.multiple import holm

p_lists = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.02, np.nan])), max_size=12).map(np.array)


@given(p_lists)
def test_adjusted_by_definition(p_values):
    """The maximum of (m - j + 1) times the j-th smallest of m p-values, over all up to this one, at most 1."""
    tests = [p for p in p_values if not np.isnan(p)]
    expected = [
        np.nan
        if np.isnan(p)
        else min(1, max((len(tests) - sum(other < q for other in tests)) * q for q in tests if q <= p))
        for p in p_values
    ]
    np.testing.assert_allclose(holm(p_values), expected, rtol=1e-12)


@given(p_lists, st.sampled_from([0.01, 0.05, 0.3]))
def test_at_most_alpha_exactly_where_the_procedure_rejects(p_values, alpha):
    """Step down from the smallest p-value, and stop at the first above alpha divided by the number of tests left."""
    left = sorted(p for p in p_values if not np.isnan(p))
    adjusted = holm(p_values)
    if len(left) and np.isclose(adjusted, alpha, rtol=1e-9).any():
        return  # on the boundary the result depends on rounding
    while left and left[0] <= alpha / len(left):
        left.pop(0)
    assert np.count_nonzero(adjusted > alpha) == len(left)


@given(p_lists, st.randoms(use_true_random=False))
def test_never_below_the_raw_p_value_nor_bonferroni_above_and_in_their_order(p_values, random):
    adjusted = holm(p_values)
    known = ~np.isnan(p_values)
    np.testing.assert_array_equal(np.isnan(adjusted), ~known)
    assert (adjusted[known] >= p_values[known]).all()
    assert (adjusted[known] <= np.minimum(1, known.sum() * p_values[known])).all()
    assert (np.diff(adjusted[known][np.argsort(p_values[known])]) >= 0).all()
    order = np.array(random.sample(range(len(p_values)), len(p_values)), dtype=int)
    np.testing.assert_array_equal(holm(p_values[order]), adjusted[order])


def test_adjusted_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, np.nan, 0.9, 0.9]) == pytest.approx([0.06, np.nan, 1, 1], nan_ok=True)


def test_no_tests_give_no_p_values():
    assert holm([]).shape == (0,)
    np.testing.assert_array_equal(holm([np.nan, np.nan]), [np.nan, np.nan])


@pytest.mark.parametrize(
    ("p_values", "message"),
    [([0.1, 1.2], "found 1.2 at position 1"), ([-0.1], "found -0.1"), ([[0.1]], r"got shape \(1, 1\)")],
)
def test_invalid_p_values_are_refused(p_values, message):
    with pytest.raises(ValueError, match=message):
        holm(p_values)
