"""Against R: metafor for Q, `oneway.test` for the test, `t.test` for two groups; and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.heterogeneity import heterogeneity

# Means of three samples, in R: list(c(51.2,49,53.5,60.1,44.8), c(40,61,55,72,58,49.5), c(66,58,71.5,63.2))
MEANS = [51.72, 55.9166666666667, 64.675]
VARIANCES = [6.4474, 19.4736111111111, 7.92229166666667]
FREEDOM = [4, 5, 3]


def test_the_statistic_is_metafors_and_the_test_is_welchs():
    """`rma(yi=MEANS, vi=VARIANCES, method="FE")$QE`; `oneway.test(x ~ g, var.equal=FALSE)`."""
    found = heterogeneity(MEANS, np.diag(VARIANCES), FREEDOM)
    assert found.q == pytest.approx(11.7929852966454, rel=1e-12)
    assert (found.degrees_of_freedom, found.p) == pytest.approx((7.78305778020442, 0.0333773893307312), rel=1e-9)


def test_two_groups_have_welchs_t_test():
    """`t.test(first, second)`, squared."""
    found = heterogeneity(MEANS[:2], np.diag(VARIANCES[:2]), FREEDOM[:2])
    expected = (0.679449232733119, 7.79134642419317, 0.434282757165629)
    assert (found.q, found.degrees_of_freedom, found.p) == pytest.approx(expected, rel=1e-9)


def test_the_statistic_of_correlated_groups_is_metafors():
    """`rma.mv(c(.8, 1.5, 1.1), V, method="FE")$QE`."""
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.02], [0.0, 0.02, 0.06]])
    assert heterogeneity([0.8, 1.5, 1.1], covariance, [30, 30, 30]).q == pytest.approx(4.45882352941176, rel=1e-9)


def test_many_patients_make_it_a_chi_squared_test():
    """`rma(...)$QEp` of the same means and variances."""
    found = heterogeneity(MEANS, np.diag(VARIANCES), [1e9] * 3)
    assert found.p == pytest.approx(0.00274906988452669, rel=1e-6)


@given(st.permutations(range(3)), st.floats(-5, 5), st.floats(0.1, 10))
def test_neither_order_nor_place_nor_unit_matters(order, shift, unit):
    plain = heterogeneity(MEANS, np.diag(VARIANCES), FREEDOM)
    rows = list(order)
    moved = heterogeneity(
        (np.array(MEANS)[rows] + shift) * unit,
        np.diag(VARIANCES)[np.ix_(rows, rows)] * unit**2,
        np.array(FREEDOM)[rows],
    )
    assert (moved.q, moved.p) == pytest.approx((plain.q, plain.p), rel=1e-8)


def test_equal_groups_of_few_patients_differ_as_often_as_they_should():
    """Without the correction of Welch, about 11 % of such tests would be below 5 %."""
    rng, below = np.random.default_rng(1), 0
    sizes = [4, 6, 12]
    for _ in range(1500):
        groups = [rng.normal(0, scale, n) for scale, n in zip((1, 3, 2), sizes, strict=True)]
        variances = [np.var(each, ddof=1) / len(each) for each in groups]
        found = heterogeneity([each.mean() for each in groups], np.diag(variances), [n - 1 for n in sizes])
        below += found.p < 0.05
    assert 0.03 < below / 1500 < 0.075


def test_groups_without_a_variance_are_left_out():
    covariance = np.diag([*VARIANCES, math.nan, 0.0])
    found = heterogeneity([*MEANS, 3.0, 4.0], covariance, [*FREEDOM, math.nan, math.nan])
    assert found == heterogeneity(MEANS, np.diag(VARIANCES), FREEDOM)
    one = heterogeneity(MEANS[:1], [[1.0]], [3])
    assert one.groups == 1 and math.isnan(one.p) and math.isnan(one.q)


def test_the_same_patients_twice_give_no_test():
    found = heterogeneity([1.0, 1.0], [[1.0, 1.0], [1.0, 1.0]], [9, 9])
    assert found.groups == 2 and math.isnan(found.p)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"covariance must be \(3, 3\)"):
        heterogeneity(MEANS, np.diag(VARIANCES[:2]), FREEDOM)
