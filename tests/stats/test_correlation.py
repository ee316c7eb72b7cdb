import csv
import json
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from stats.correlation import EXACT_UP_TO, spearman, spearman_resampled

KINDS = ["ties_xy", "ties_y", "binary_y", "no_ties"]


def pairs(smallest, largest):
    """(x, y) of equal length on a coarse grid: ties are common."""
    return st.integers(smallest, largest).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_exact_counts_of_the_reference_sets(shared, kind):
    cases = json.loads((shared / "fixtures/stats/stats.json").read_text())["rank_n9"]
    case = next(case for case in cases if case["kind"] == kind)
    result = spearman(case["x"], case["y"])
    assert result.rho == pytest.approx(case["spearman"]["statistic"], abs=1e-12)
    assert result.p_value == case["spearman"]["count_two_sided_greater_less"][0] / math.factorial(9)
    assert (result.n, result.method) == (9, "exact permutation")


def column(path, name):
    with path.open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("performance", "region", "rho"),
    [
        ("auc", "vessel", 0.042),
        ("auc", "artery", 0.068),
        ("auc", "vein", 0.004),
        ("f1", "vessel", -0.017),
        ("f1", "artery", 0.205),
        ("f1", "vein", -0.099),
    ],
)
def test_the_published_tables_do_not_give_the_published_correlation(shared, performance, region, rho):
    result = spearman(
        column(shared / "reference/snuh_2025_performance.csv", performance),
        column(shared / "reference/snuh_2025_explainability.csv", region),
    )
    assert result.rho == pytest.approx(rho, abs=5e-4)
    assert result.p_value > 0.5
    if (performance, region) == ("auc", "vessel"):
        assert result.p_value == pytest.approx(0.91, abs=5e-3)


@settings(max_examples=25, deadline=None)
@given(pairs(3, 5))
def test_exact_p_value_counts_every_order(pair):
    x, y = pair
    result = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(result.rho)
        assert math.isnan(result.p_value)
        assert result.method == "undefined"
        return
    reached = [
        abs(spearmanr(x, order).statistic) >= abs(spearmanr(x, y).statistic) - 1e-10 for order in permutations(y)
    ]
    assert result.rho == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert result.p_value == pytest.approx(np.mean(reached), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(pairs(3, 7), st.randoms(use_true_random=False))
def test_order_monotone_change_and_exchange_leave_it_alone(pair, random):
    x, y = map(np.array, pair)
    result = spearman(x, y)
    if result.method == "undefined":
        return
    order = np.array(random.sample(range(len(x)), len(x)))
    assert spearman(x[order], y[order]) == result
    assert spearman(np.exp(x), y) == result
    assert spearman(y, x) == result
    mirrored = spearman(-x, y)
    assert (mirrored.rho, mirrored.p_value) == (-result.rho, result.p_value)


def test_random_orders_beyond_nine_points():
    rng = np.random.default_rng(11)
    x = rng.normal(size=30)
    y = (x + 2 * rng.normal(size=30)).round(1)
    result = spearman(x, y, permutations=20_000, seed=1)
    assert result.method == "Monte Carlo permutation"
    assert result.rho == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    # At 30 points SciPy's t approximation is good; four Monte Carlo standard errors on top.
    assert result.p_value == pytest.approx(spearmanr(x, y).pvalue, abs=0.01)
    assert result == spearman(x, y, permutations=20_000, seed=1)
    assert result.p_value != spearman(x, y, permutations=20_000, seed=2).p_value


def test_random_orders_agree_with_all_orders(monkeypatch):
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 5, (2, 8))
    exact = spearman(x, y)
    monkeypatch.setattr("stats.correlation.EXACT_UP_TO", 0)
    assert spearman(x, y).p_value == pytest.approx(exact.p_value, abs=0.008)


def test_a_random_p_value_is_never_zero():
    assert spearman(range(40), range(40), permutations=999).p_value == 1 / 1000


def test_the_last_exact_number_of_points_is_nine():
    points = np.arange(EXACT_UP_TO + 1)
    assert EXACT_UP_TO == 9
    assert spearman(points[:9], points[:9]).p_value == 2 / math.factorial(9)
    assert spearman(points, points, permutations=99).method == "Monte Carlo permutation"


@pytest.mark.parametrize(("x", "y"), [([1], [2]), ([1, 2], [2, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5])])
def test_too_few_points_or_a_constant_are_undefined(x, y):
    result = spearman(x, y)
    assert math.isnan(result.rho)
    assert math.isnan(result.p_value)
    assert (result.n, result.method) == (len(x), "undefined")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, np.nan, 3], [1, 2, 3], "x has NaN at position 1"),
        ([1, 2, 3], [1, 2], "x has 3, y has 2"),
        ([], [], "empty"),
    ],
)
def test_no_pair_is_dropped_silently(x, y, message):
    with pytest.raises(ValueError, match=message):
        spearman(x, y)


def test_at_least_one_permutation():
    with pytest.raises(ValueError, match="at least 1"):
        spearman(range(12), range(12), permutations=0)


def test_rows_are_correlated_one_by_one():
    rng = np.random.default_rng(9)
    x, y = rng.integers(0, 6, (2, 200, 9))
    x[3] = 2
    expected = [spearman(*row).rho if np.ptp(row[0]) else np.nan for row in zip(x[:20], y[:20], strict=True)]
    values = spearman_resampled(x, y)
    np.testing.assert_allclose(values[:20], expected, rtol=0, atol=1e-12)
    expected = [spearmanr(a, b).statistic for a, b in zip(x[20:], y[20:], strict=True)]
    np.testing.assert_allclose(values[20:], expected, rtol=0, atol=1e-12)


def test_an_undefined_statistic_leaves_its_row_undefined_and_no_other():
    x = np.array([[1.0, 2, 3], [1, np.nan, 3], [2, 1, 3]])
    np.testing.assert_allclose(spearman_resampled(x, [[1, 2, 3]] * 3), [1, np.nan, 0.5])


def test_two_columns_have_no_rank_correlation():
    assert np.isnan(spearman_resampled(np.ones((4, 2)), np.ones((4, 2)))).all()


@pytest.mark.parametrize("shape", [(4,), (4, 3), (5, 4)])
def test_rows_that_do_not_match_are_refused(shape):
    with pytest.raises(ValueError, match="one shape"):
        spearman_resampled(np.zeros((4, 4)), np.zeros(shape))
