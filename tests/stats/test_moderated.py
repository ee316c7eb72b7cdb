import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.jackknife import Spread
from stats.metrics import auc
from stats.moderated import auc_variance, average_precision_variance, moderated


def test_variances_are_averaged_by_their_degrees_of_freedom():
    found = moderated(Spread(0.1, 6), 0.04, weight=4)
    assert found.standard_error**2 == pytest.approx((6 * 0.01 + 4 * 0.04) / 10)
    assert found.degrees_of_freedom == 10


@given(st.floats(1, 1000), st.floats(1e-6, 10), st.floats(1e-6, 10))
def test_the_standard_error_lies_between_both_and_nearer_to_what_many_patients_show(freedom, error, expected):
    found = moderated(Spread(error, freedom), expected**2)
    low, high = sorted((error, expected))
    assert low * (1 - 1e-9) <= found.standard_error <= high * (1 + 1e-9)
    more = moderated(Spread(error, 10 * freedom), expected**2)
    assert abs(more.standard_error - error) <= abs(found.standard_error - error) + 1e-12


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (Spread(math.nan, math.nan), 0.1),
        (Spread(0.0, math.nan), 0.1),
        (Spread(0.1, 5), 0.0),
        (Spread(0.1, 5), math.nan),
    ],
)
def test_an_undefined_spread_is_returned_unchanged(spread, expected):
    assert moderated(spread, expected) is spread


@pytest.mark.parametrize("area", [0.6, 0.8, 0.9])
def test_the_variance_of_an_auc_is_that_of_simulated_ones(area):
    """With exponential scores, for which the formula is exact."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [6, 20])
    scale = np.where(labels == 1, area / (1 - area), 1.0)
    areas = [auc(labels, rng.exponential(scale)) for _ in range(4000)]
    assert np.var(areas) == pytest.approx(auc_variance(area, 6, 20), rel=0.08)


def test_the_variance_of_an_average_precision_is_a_shares():
    assert average_precision_variance(0.3, 7) == pytest.approx(0.3 * 0.7 / 7)
