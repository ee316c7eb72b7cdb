"""Against `rcspline.eval(age, knots=quantile(age, c(.1, .5, .9)), inclx=TRUE)` of R's rms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.spline import knots, spline_columns
from tests.stats.covariates import AGE


def test_the_columns_are_those_of_rms():
    found = spline_columns(AGE, knots(AGE))
    expected = [[40, 0], [77, 26.034161490683239], [49, 0.127937772462482], [59, 3.320619381968288]]
    np.testing.assert_allclose(knots(AGE), [43.9, 60.5, 76.1])
    np.testing.assert_allclose(found[[0, 1, 49, 149]], expected, rtol=1e-12)


@given(st.floats(100, 1000), st.floats(1, 50))
def test_beyond_the_last_knot_it_is_a_line(start, step):
    bent = spline_columns([start, start + step, start + 2 * step], knots(AGE))[:, 1]
    assert bent[2] - bent[1] == pytest.approx(bent[1] - bent[0], rel=1e-6)


def test_a_number_with_few_values_enters_as_a_line():
    values = np.repeat([0.0, 1.0], [95, 5])
    assert len(knots(values)) == 0
    np.testing.assert_array_equal(spline_columns(values, knots(values)), values[:, None])


def test_a_missing_value_is_refused():
    with pytest.raises(ValueError, match="values has NaN at position 1"):
        knots([1.0, np.nan])
