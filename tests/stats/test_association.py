"""Against R's `cor`, `cor.test`, and the formula of Bonett & Wright (2000) computed there."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.association import linear_association, rank_association
from tests.stats.covariates import AGE, SCORE


def test_spearmans_rho_and_its_interval():
    """`rho <- cor(score, age, method="spearman")`; `tanh(atanh(rho) + c(-1,1)*qnorm(.975)*sqrt((1+rho^2/2)/177))`."""
    found = rank_association(SCORE, AGE)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.714578756084909, 0.62393335287021, 0.786251224627946), rel=1e-12
    )
    assert found.p == pytest.approx(4.94427205066963e-31, rel=1e-6) and found.n == 180


def test_r_squared_and_its_interval():
    """`ct <- cor.test(score, age)`; `ct$estimate^2`, `ct$conf.int^2`."""
    found = linear_association(SCORE, AGE)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.5158179026999, 0.408415753555094, 0.611978696810679), rel=1e-12
    )
    assert found.p == pytest.approx(2.5953155338417e-33, rel=1e-6)


NUMBERS = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=4, max_size=20)


@given(NUMBERS)
def test_rho_does_not_depend_on_the_unit(pairs):
    x, y = map(np.array, zip(*pairs, strict=True))
    plain, curved = rank_association(x, y), rank_association(np.exp(x / 3), y)
    assert plain.value == pytest.approx(curved.value, nan_ok=True)
    assert math.isnan(plain.p) or plain.low <= plain.value <= plain.high


@given(NUMBERS)
def test_r_squared_is_the_same_in_both_directions(pairs):
    x, y = map(np.array, zip(*pairs, strict=True))
    there, back = linear_association(x, y), linear_association(y, -x)
    assert there.value == pytest.approx(back.value, nan_ok=True)
    assert math.isnan(there.p) or 0 <= there.low <= there.value <= there.high


def test_the_interval_of_no_correlation_covers_zero_as_often_as_it_should():
    rng = np.random.default_rng(2)
    inside = [
        found.low <= 0 <= found.high
        for found in (rank_association(rng.normal(size=15), rng.normal(size=15)) for _ in range(1000))
    ]
    assert 0.92 < np.mean(inside) < 0.98


def test_what_has_no_interval():
    assert math.isnan(rank_association([1, 1, 1, 1], [1, 2, 3, 4]).value)
    three, perfect = rank_association([1, 2, 3], [1, 3, 2]), linear_association([1, 2, 3, 4], [2, 4, 6, 8])
    assert three.value == pytest.approx(0.5) and math.isnan(three.low)
    assert perfect.value == pytest.approx(1)
    with pytest.raises(ValueError, match="same length"):
        rank_association([1, 2], [1, 2, 3])
