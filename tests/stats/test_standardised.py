import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.standardised import standardised_difference, standardised_difference_of_categories

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


def test_means_that_differ_by_one_standard_deviation_differ_by_one():
    ages = np.array([50.0, 60.0, 70.0])
    assert standardised_difference(ages + ages.std(ddof=1), ages) == pytest.approx(1)


@given(VALUES, VALUES)
def test_exchanging_the_groups_changes_the_sign(first, second):
    there, back = standardised_difference(first, second), standardised_difference(second, first)
    assert there == -back or (there == back == 0)


def test_two_categories_are_a_proportion():
    """(p - q) / sqrt((p (1 - p) + q (1 - q)) / 2), with shares of 0.3 and 0.5."""
    first, second = ["f"] * 3 + ["m"] * 7, ["f"] * 5 + ["m"] * 5
    expected = 0.2 / math.sqrt((0.3 * 0.7 + 0.5 * 0.5) / 2)
    assert standardised_difference_of_categories(first, second) == pytest.approx(expected)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.lists(st.sampled_from("abc"), min_size=1, max_size=30)
)
def test_it_does_not_matter_which_category_is_left_out(first, second):
    names = {"a": "c", "b": "a", "c": "b"}  # another one comes first
    renamed = [[names[each] for each in group] for group in (first, second)]
    found = standardised_difference_of_categories(first, second)
    assert found == pytest.approx(standardised_difference_of_categories(*renamed), rel=1e-6, abs=1e-9)
    assert found >= 0


def test_what_cannot_be_divided():
    assert standardised_difference([1, 1], [1, 1]) == 0
    assert standardised_difference([2, 2], [1, 1]) == math.inf
    assert math.isnan(standardised_difference([1], [1, 2]))
    assert standardised_difference_of_categories(["a", "a"], ["b"]) == math.inf
    assert standardised_difference_of_categories(["a", "b"], ["a", "b"]) == 0
    assert math.isnan(standardised_difference_of_categories([], ["b"]))
