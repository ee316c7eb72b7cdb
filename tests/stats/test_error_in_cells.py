import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, multivariate_normal

from stats.correlation import spearman_resampled
from stats.error_in_cells import over_cells
from tests.stats.cells import Cells, coverage, draw

NINE = Cells(3, 3, rho=0.7, error=0.3)


def drawn(cells=NINE, seed=0):
    return draw(cells, np.random.default_rng(seed))


def test_error_widens_the_interval_and_takes_the_estimate_away_from_nothing():
    x, y = drawn(seed=3)
    intervals = [over_cells(x, y, size**2 * Cells(3, 3, 0, 1).errors, NINE.layout) for size in (1e-6, 0.3, 0.5)]
    observed = spearman_resampled([x], [y])[0]
    assert [found.not_known for found in intervals] == [""] * 3
    assert intervals[0].estimate == pytest.approx(observed, abs=0.15)
    assert intervals[0].estimate < intervals[1].estimate < intervals[2].estimate
    assert intervals[0].low > intervals[2].low - 0.05
    assert all(found.low < observed < found.high for found in intervals)


def test_without_error_the_interval_is_that_of_a_simulated_test():
    """For independent cells without error: the tail probabilities at both bounds, from separately simulated data."""
    x, y = drawn(Cells(3, 4, rho=0.5, error=1e-9), seed=1)
    alone = np.arange(12), np.zeros(12)
    found = over_cells(x, y, 1e-12 * np.eye(24), alone, draws=6000)
    observed = spearman_resampled([x], [y])[0]
    for bound, tail in ((found.low, "above"), (found.high, "below")):
        rho = 2 * math.sin(math.pi * bound / 6)
        both = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).rvs((6000, 12), random_state=1)
        simulated = spearman_resampled(both[..., 0], both[..., 1])
        share = np.mean(simulated >= observed - 1e-9) if tail == "above" else np.mean(simulated <= observed + 1e-9)
        assert share == pytest.approx(0.025, abs=0.009)


@pytest.mark.parametrize(("flat", "why"), [("x", "x"), ("y", "y"), ("xy", "both")])
def test_cells_that_differ_by_no_more_than_their_error_are_not_known(flat, why):
    values = {name: np.random.default_rng(seed).normal(size=9) for seed, name in enumerate("xy", start=2)}
    errors = np.diag(np.concatenate([np.full(9, 4.0 if name in flat else 0.001) for name in "xy"]))
    found = over_cells(values["x"], values["y"], errors, NINE.layout)
    assert found.not_known == why
    assert np.isnan([found.estimate, *found.interval]).all()


def test_what_is_known_is_decided_by_cochrans_q():
    """With independent errors, sums of squares over variance follow the chi-squared distribution."""
    x, y = drawn(seed=4)
    q = ((x - x.mean()) ** 2).sum()
    for factor in (0.99, 1.01):
        variance = q / chi2.isf(0.05, 8) * factor
        errors = np.diag(np.concatenate([np.full(9, variance), np.full(9, 1e-6)]))
        assert over_cells(x, y, errors, NINE.layout).not_known == ("" if factor < 1 else "x")


def test_error_that_all_cells_share_changes_nothing():
    x, y = drawn()
    same = np.kron(np.diag([5.0, 7.0]), np.ones((9, 9)))
    alone = over_cells(x, y, NINE.errors, NINE.layout)
    shared = over_cells(x, y, NINE.errors + same, NINE.layout)
    assert shared.interval == pytest.approx(alone.interval, abs=0.06)


def test_backbones_that_differ_much_leave_less_known():
    """Three backbones with nearly equal cells count as three points, not nine."""
    backbone = np.repeat([-1.0, 0.2, 1.1], 3)
    x, y = backbone + 0.01 * np.arange(9), 1.3 * backbone + 0.01 * np.arange(9)[::-1]
    layout = (np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3))
    alone = np.arange(9), np.zeros(9)
    alike, unlike = (over_cells(x, y, 1e-8 * np.eye(18), of, draws=1000) for of in (layout, alone))
    assert alike.low < unlike.low - 0.2


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly():
    x, y = drawn()
    first, again, other = (over_cells(x, y, NINE.errors, NINE.layout, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.interval == pytest.approx(other.interval, abs=0.06)


def test_turning_one_measure_round_turns_the_interval_round():
    x, y = drawn()
    errors = 0.09 * np.eye(18)
    up, down = over_cells(x, y, errors, NINE.layout, draws=4000), over_cells(x, -y, errors, NINE.layout, draws=4000)
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low), abs=0.06)


def test_kendalls_is_on_its_own_scale():
    x, y = drawn()
    rho, tau = (over_cells(x, y, NINE.errors, NINE.layout, name) for name in ("spearman", "kendall"))
    assert abs(tau.estimate) < abs(rho.estimate)
    assert -1 <= tau.low < tau.estimate < tau.high <= 1


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=6, max_size=9), st.floats(0.01, 1))
def test_bounds_are_in_order_and_within_range_whatever_the_ties(points, error):
    x, y = np.array(points, dtype=float).T
    n = len(points)
    layout = (np.arange(n) // 3, np.arange(n) % 3)
    found = over_cells(x, y, error * np.eye(2 * n), layout, draws=50)
    if found.not_known:
        assert np.isnan([found.estimate, *found.interval]).all()
    else:
        assert -1 <= found.low <= found.estimate <= found.high <= 1


def test_what_has_no_answer():
    x, y = drawn()
    assert over_cells(x[:2], y[:2], np.eye(4), ([0, 1], [0, 1])).not_known == "undefined"
    assert over_cells(np.ones(9), y, np.eye(18), NINE.layout).not_known == "undefined"
    assert over_cells(x, y, np.full((18, 18), np.nan), NINE.layout).not_known == "error"
    with pytest.raises(ValueError, match="x has NaN"):
        over_cells([np.nan, *x[1:]], y, np.eye(18), NINE.layout)
    with pytest.raises(ValueError, match="same length"):
        over_cells(x[:8], y, np.eye(18), NINE.layout)
    with pytest.raises(ValueError, match="between 0 and 1"):
        over_cells(x, y, np.eye(18), NINE.layout, confidence=95)


def test_the_interval_holds_the_correlation_of_the_population_where_fishers_does_not():
    found = coverage(Cells(3, 3, rho=0.9, error=0.5), studies=50, draws=200)
    assert found["over cells"] > 0.86  # 95 % less three errors of the simulation
    assert found["fisher"] < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("layout", [(2, 3), (3, 3), (4, 3)])
def test_the_interval_covers(layout, share, rho):
    """Within one percentage point of 95 % plus two standard errors of the simulation; higher with six cells."""
    found = coverage(Cells(*layout, rho, 0.3, share), studies=400)
    assert found["over cells"] > 0.94 - 2 * 0.011
