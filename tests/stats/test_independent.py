"""Differences between two groups of different patients."""

import math

import numpy as np
import pytest

from stats.delong import delong
from stats.independent import independent_difference

FIRST = [2.1, 3.4, 2.8, 4.0, 3.3, 2.9, 3.7]
SECOND = [1.2, 2.2, 3.9, 0.4, 2.5]


def test_means_as_in_r():
    """t.test(FIRST, SECOND) of R 4.2.2: degrees of freedom, p-value, interval."""
    (m, v, n), (k, u, p) = ((np.mean(x), np.var(x, ddof=1) / len(x), len(x)) for x in (FIRST, SECOND))
    found = independent_difference(m, v, n - 1, k, u, p - 1)
    assert found.degrees_of_freedom == pytest.approx(5.298201451861, rel=1e-12)
    assert found.p_value == pytest.approx(0.134787123297, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((-0.490237368932, 2.753094511789), rel=1e-11)


def test_aucs_of_two_cohorts_as_in_proc():
    """roc.test(…, paired=FALSE, method="delong") of pROC 1.18.0: AUCs and D; its degrees of freedom differ."""
    a = delong([0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1], [[0.1, 0.4, 0.35, 0.8, 0.65, 0.9, 0.5, 0.55, 0.2, 0.3, 0.7, 0.95]])
    b = delong(
        [1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0],
        [[0.6, 0.5, 0.4, 0.2, 0.7, 0.8, 0.3, 0.35, 0.9, 0.65, 0.1, 0.45, 0.55, 0.25]],
    )
    found = independent_difference(
        a.areas[0], a.covariance[0, 0], a.degrees_of_freedom[0], b.areas[0], b.covariance[0, 0], b.degrees_of_freedom[0]
    )
    assert (a.areas[0], b.areas[0]) == pytest.approx((0.833333333333, 0.708333333333), rel=1e-11)
    error = math.sqrt(a.covariance[0, 0] + b.covariance[0, 0])
    assert found.value / error == pytest.approx(0.629861445721, rel=1e-11)
    assert found.low < 0 < found.high


def test_a_variance_of_zero():
    """One group that does not vary leaves the test of one mean; two leave nothing."""
    one = independent_difference(1.0, 0.25, 9, 0.0, 0.0, math.nan)
    assert one.degrees_of_freedom == pytest.approx(9)
    assert one.p_value == pytest.approx(0.0765, abs=1e-3)  # 2 * (1 - t(2; 9))
    both = independent_difference(1.0, 0.0, math.nan, 0.5, 0.0, math.nan)
    assert both.value == 0.5
    assert np.isnan([both.low, both.high, both.p_value, both.degrees_of_freedom]).all()
    assert math.isnan(independent_difference(1.0, math.nan, 5, 0.5, 0.1, 5).p_value)
