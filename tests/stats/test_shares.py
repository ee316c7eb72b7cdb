import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from stats.shares import effective_patients, of_sum, wilson_interval


@pytest.mark.parametrize("positive", range(11))
def test_wilsons_interval_is_scipys(positive):
    expected = binomtest(positive, 10).proportion_ci(0.9, method="wilson")
    found = wilson_interval(positive / 10, 10, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 1000))
def test_an_interval_has_width_and_holds_its_share(share, n):
    low, high = wilson_interval(share, n)
    assert 0 <= low < high <= 1
    assert low <= share + 1e-12 and share - 1e-12 <= high


def test_patients_count_once_however_many_images_they_have():
    assert effective_patients(["a", "a", "a", "b", "b", "b"]) == pytest.approx(2)
    assert effective_patients(np.arange(7)) == pytest.approx(7)
    assert effective_patients([0, 1, 1, 1]) == pytest.approx(16 / 10)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20))
def test_effective_patients_are_at_most_the_patients(images):
    found = effective_patients(np.repeat(np.arange(len(images)), images))
    assert 1 - 1e-12 <= found <= len(images) + 1e-12


def test_a_sum_of_symmetric_intervals_is_that_of_the_standard_errors():
    z = norm.isf(0.025)
    low, high = of_sum(1.0, (1 - 3 * z, 1 + 3 * z), 2.0, (2 - 4 * z, 2 + 4 * z), 0.0)
    assert (low, high) == pytest.approx((3 - 5 * z, 3 + 5 * z))
    low, high = of_sum(1.0, (1 - 3 * z, 1 + 3 * z), 2.0, (2 - 4 * z, 2 + 4 * z), -0.5)
    assert (high - low) / (2 * z) == pytest.approx(np.sqrt(9 + 16 - 12))


def test_newcombes_interval_of_a_difference_of_shares():
    """His example: 56 of 70 against 48 of 80 (Newcombe 1998, table II, method 10)."""
    (p, of_p), (q, of_q) = ((x / n, wilson_interval(x / n, n)) for x, n in ((56, 70), (48, 80)))
    low, high = of_sum(p, of_p, -q, (-of_q.high, -of_q.low), 0)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_confidence_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(0.5, 10, 95)
