import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from stats.standardised import (
    standardised_difference,
    standardised_difference_of_categories,
    standardised_interval,
    standardised_interval_of_categories,
)

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


def test_interval_as_in_metafor():
    """escalc(measure="SMDH") of metafor 3.8.1 multiplies by a correction J for few patients: vi = J² V(J d)."""
    first, second = [2.1, 3.4, 2.8, 4.0, 3.3, 2.9, 3.7], [1.2, 2.2, 3.9, 0.4, 2.5]
    yi, vi = 1.001819440573, 0.473237449379
    d = standardised_difference(first, second)
    low, high = standardised_interval(first, second)
    assert (low + high) / 2 == pytest.approx(d, rel=1e-12)
    variance = ((high - low) / 2 / norm.isf(0.025)) ** 2
    a, b = np.var(first, ddof=1), np.var(second, ddof=1)
    of_d = (a**2 / 6 + b**2 / 4) / (2 * (a + b) ** 2)  # what d² is multiplied by
    correction = yi / d
    assert correction**2 * (variance - of_d * (d**2 - yi**2)) == pytest.approx(vi, rel=1e-10)


def test_interval_covers_the_true_difference():
    """Of 400 pairs of samples with different variances, about 95 % of the intervals contain the true value."""
    generator = np.random.default_rng(3)
    true = 0.6 / np.sqrt((1 + 4) / 2)
    inside = 0
    for _ in range(400):
        low, high = standardised_interval(generator.normal(0.6, 1, 60), generator.normal(0, 2, 90))
        inside += low <= true <= high
    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([1.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [2.0, 2.0])])
def test_no_interval(first, second):
    assert np.isnan(standardised_interval(first, second)).all()


def test_the_interval_of_categories_is_that_of_metafor_without_the_negative_part():
    """`summary(escalc("SMD", m1i, m2i, sd1i, sd2i, n1i=6, n2i=5, vtype="LS"))`: -0.0281 to 2.5728, around its g."""
    expected = (0.0, 2.572779368220174)
    assert standardised_interval_of_categories(1.27231949440739, 6, 5) == pytest.approx(expected, rel=1e-10)


def test_an_infinite_difference_has_no_interval():
    assert all(map(math.isnan, standardised_interval_of_categories(math.inf, 6, 5)))
    assert all(map(math.isnan, standardised_interval_of_categories(0.1, 0, 5)))
