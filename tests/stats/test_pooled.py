"""Against R's metafor 3.8.1 (method "PM", test "adhoc"; its values are stored here), and by construction."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

from stats.pooled import pool

# Log odds ratios of tuberculosis in 13 trials of the BCG vaccine (Colditz et al. 1994), and their standard errors.
BCG = [
    -0.93869414087, -1.66619072903, -1.38629436112, -1.45644354931, -0.21914108568, -0.95812204078, -1.63377583823,
    0.01202060145, -0.47174603584, -1.40121013928, -0.34084964637, 0.44663468227, -0.01734187393,
]  # fmt: skip
ERRORS = [
    0.59759932417, 0.45621529310, 0.65834115635, 0.14252863913, 0.22792932527, 0.09952520040, 0.47645532343,
    0.06330056881, 0.23869881438, 0.27463016279, 0.11191574429, 0.73086399041, 0.26764737491,
]  # fmt: skip


@pytest.mark.parametrize(
    ("cohorts", "estimate", "low", "high", "tau_squared", "q", "p"),
    [
        (13, -0.745460390532, -1.15244157209, -0.33847920897, 0.341205102178, 163.164915181, 1.18877259111e-28),
        (3, -1.39552113658, -2.76216301203, -0.0288792611302, 0.0, 0.936557493788, 0.626078981761),
    ],
)
def test_the_summary_is_metafors(cohorts, estimate, low, high, tau_squared, q, p):
    found = pool(BCG[:cohorts], ERRORS[:cohorts])
    assert (found.estimate, found.low, found.high) == pytest.approx((estimate, low, high), rel=1e-7)
    assert found.tau_squared == pytest.approx(tau_squared, rel=1e-6)
    assert (found.q, found.p) == pytest.approx((q, p), rel=1e-8)


def test_the_share_of_heterogeneity_and_the_place_of_a_new_cohort():
    """I squared from Q, and the t interval with k - 2 degrees of freedom, from metafor's values."""
    found = pool(BCG, ERRORS)
    assert found.i_squared == pytest.approx(0.926454777446)
    assert (found.new_low, found.new_high) == pytest.approx((-2.09525073411, 0.604329953044), rel=1e-7)


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 2)), min_size=2, max_size=12))
def test_the_variance_between_cohorts_solves_its_equation(cohorts):
    """The generalised Q at it is k - 1, unless it is below that without any variance."""
    values, errors = map(np.array, zip(*cohorts, strict=True))
    found = pool(values, errors)
    weights = 1 / (errors**2 + found.tau_squared)
    q = weights @ (values - np.average(values, weights=weights)) ** 2
    if found.tau_squared > 0:
        assert q == pytest.approx(len(values) - 1, rel=1e-6)
    else:
        assert found.q == pytest.approx(q) and q <= (len(values) - 1) * (1 + 1e-9)
    assert found.low <= found.estimate <= found.high
    assert values.min() - 1e-9 <= found.estimate <= values.max() + 1e-9
    assert found.p == pytest.approx(chi2.sf(found.q, len(values) - 1))


def test_one_cohort_has_its_own_interval():
    found = pool([1.0], [0.5])
    half = norm.isf(0.025) * 0.5
    assert (found.estimate, found.low, found.high) == pytest.approx((1, 1 - half, 1 + half))
    assert all(map(math.isnan, (found.tau_squared, found.q, found.p, found.new_low)))


def test_two_cohorts_have_no_place_for_a_third():
    found = pool([0.0, 1.0], [1.0, 1.0], confidence=0.9)
    assert math.isnan(found.new_low) and math.isnan(found.new_high)
    assert found.high - found.estimate == pytest.approx(student_t.isf(0.05, 1) * math.sqrt(0.5))


def test_most_intervals_of_five_cohorts_have_the_truth():
    """The normal interval with estimated weights would have it in about 88 %."""
    rng, inside = np.random.default_rng(3), 0
    for _ in range(600):
        errors = rng.uniform(0.1, 0.5, 5)
        found = pool(rng.normal(0.7, np.hypot(errors, 0.4)), errors)
        inside += found.low <= 0.7 <= found.high
    assert inside / 600 > 0.93


@pytest.mark.parametrize("error", [0.0, -1.0, math.inf])
def test_an_error_that_is_none_is_refused(error):
    with pytest.raises(ValueError, match="standard_errors must be above 0 and finite"):
        pool([0.0, 1.0], [1.0, error])
