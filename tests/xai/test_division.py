"""A quotient with a denominator of 0 or NaN is NaN, without a warning."""

import warnings

import numpy as np

from xai.division import divide_or_nan


def test_only_a_positive_whole_has_a_quotient():
    part, whole = np.array([1, 0, 3, 1, np.nan]), np.array([2.0, 0, -1, np.nan, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(divide_or_nan(part, whole), [0.5, np.nan, np.nan, np.nan, np.nan])


def test_counts_are_divided_as_numbers():
    found = divide_or_nan(np.array([[1, 2], [3, 0]]), np.array([[3, 0], [4, 5]]))
    np.testing.assert_array_equal(found, [[1 / 3, np.nan], [0.75, 0]])
    assert found.dtype == np.float64
