"""The p-values and means of a null distribution that is given by hand."""

import numpy as np
import pytest

from xai.controls.null import Null, means


def null_of(draws, ratios=(1.0, 3.0)):
    n = len(ratios)
    return Null(np.array(ratios), np.array(draws, np.float32), np.full(n, 1.5), np.full(n, np.nan))


def test_the_share_of_draws_as_large_counts_the_data_among_them():
    found = null_of([[1, 1], [2, 4], [1, 3], [0, 1]])
    assert found.observed == 2
    assert found.draws.tolist() == [1, 3, 2, 0.5]
    assert found.p_greater == 3 / 5, "a tie counts"
    assert found.p_two_sided == 1
    assert found.mean == 1.5
    assert found.sd == pytest.approx(np.std([1, 3, 2, 0.5], ddof=1))


def test_ties_survive_rounding():
    assert null_of([[1, 3 - 1e-6], [1, 3 + 1e-6]]).p_greater == 1
    assert null_of([[-1, -3 - 1e-6]], ratios=(-1.0, -3.0)).p_greater == 1, "below 0 as well"


def test_one_draw_has_no_spread():
    assert np.isnan(null_of([[1, 1]]).sd)


def test_means_leave_out_what_is_missing():
    found = means(np.array([[1, np.nan, 3], [np.nan] * 3]))
    assert found[0] == 2
    assert np.isnan(found[1])
