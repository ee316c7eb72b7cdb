import json
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from stats.correlation import EXACT_UP_TO, fisher_interval, kendall, kendall_resampled, spearman, spearman_resampled

KINDS = ["ties_xy", "ties_y", "binary_y", "no_ties"]
COEFFICIENTS = [spearman, kendall]
ORACLE = {spearman: spearmanr, kendall: kendalltau}
OVER_ROWS = {spearman: spearman_resampled, kendall: kendall_resampled}
NAME = {spearman: "spearman", kendall: "kendall_tau_b"}

both = pytest.mark.parametrize("correlate", COEFFICIENTS, ids=NAME.get)


def pairs(smallest, largest):
    """(x, y) of equal length on a coarse grid: ties are common."""
    return st.integers(smallest, largest).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
    )


def is_undefined(result):
    numbers = (result.coefficient, result.p_value, result.p_greater, result.p_less, result.p_standard_error)
    return result.method == "undefined" and all(map(math.isnan, numbers))


@both
@pytest.mark.parametrize("kind", KINDS)
def test_exact_counts_of_the_reference_sets(shared, kind, correlate):
    cases = json.loads((shared / "fixtures/stats/stats.json").read_text())["rank_n9"]
    case = next(case for case in cases if case["kind"] == kind)
    expected = case[NAME[correlate]]
    result = correlate(case["x"], case["y"])
    assert result.coefficient == pytest.approx(expected["statistic"], abs=1e-12)
    assert [result.p_value, result.p_greater, result.p_less] == [
        count / math.factorial(9) for count in expected["count_two_sided_greater_less"]
    ]
    assert (result.n, result.method, result.p_standard_error) == (9, "exact permutation", 0)


@both
@given(pairs(3, 5))
def test_exact_p_values_count_every_order(correlate, pair):
    x, y = pair
    result = correlate(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert is_undefined(result)
        return
    coefficient = ORACLE[correlate](x, y).statistic
    every = np.array([ORACLE[correlate](x, order).statistic for order in permutations(y)])
    assert result.coefficient == pytest.approx(coefficient, abs=1e-12)
    assert result.p_value == pytest.approx(np.mean(np.abs(every) >= abs(coefficient) - 1e-10), abs=1e-12)
    assert result.p_greater == pytest.approx(np.mean(every >= coefficient - 1e-10), abs=1e-12)
    assert result.p_less == pytest.approx(np.mean(every <= coefficient + 1e-10), abs=1e-12)


@both
@given(pairs(3, 7), st.randoms(use_true_random=False))
def test_order_monotone_change_and_exchange_leave_it_alone(correlate, pair, random):
    x, y = map(np.array, pair)
    result = correlate(x, y)
    if result.method == "undefined":
        return
    order = np.array(random.sample(range(len(x)), len(x)))
    assert correlate(x[order], y[order]) == result
    assert correlate(np.exp(x), y) == result
    assert correlate(y, x) == result
    mirrored = correlate(-x, y)
    assert (mirrored.coefficient, mirrored.p_value) == (-result.coefficient, result.p_value)
    assert (mirrored.p_greater, mirrored.p_less) == (result.p_less, result.p_greater)


@both
def test_random_orders_beyond_nine_points(correlate):
    rng = np.random.default_rng(11)
    x = rng.normal(size=30)
    y = (x + 2 * rng.normal(size=30)).round(1)
    result = correlate(x, y, permutations=20_000, seed=1)
    oracle = ORACLE[correlate](x, y)
    assert result.method == "Monte Carlo permutation"
    assert result.coefficient == pytest.approx(oracle.statistic, abs=1e-12)
    # At 30 points SciPy's approximations are good; four Monte Carlo standard errors on top.
    assert result.p_value == pytest.approx(oracle.pvalue, abs=0.01)
    assert result == correlate(x, y, permutations=20_000, seed=1)
    assert result.p_value != correlate(x, y, permutations=20_000, seed=2).p_value


@both
def test_random_orders_agree_with_all_orders(correlate, monkeypatch):
    """Over 50 seeds the p-value varies around the exact one by its standard error."""
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 5, (2, 8))
    exact = correlate(x, y)
    monkeypatch.setattr("stats.correlation.EXACT_UP_TO", 0)
    drawn = [correlate(x, y, permutations=2_000, seed=seed) for seed in range(50)]
    for name in ("p_value", "p_greater", "p_less"):
        assert np.mean([getattr(result, name) for result in drawn]) == pytest.approx(getattr(exact, name), abs=0.007)
    spread = np.std([result.p_value for result in drawn])
    assert spread == pytest.approx(drawn[0].p_standard_error, rel=0.4)  # a spread from 50 has a relative error of 0.1


def test_a_random_p_value_is_never_zero():
    assert spearman(range(40), range(40), permutations=999).p_value == 1 / 1000


@both
def test_the_last_exact_number_of_points_is_nine(correlate):
    points = np.arange(EXACT_UP_TO + 1)
    assert EXACT_UP_TO == 9
    assert correlate(points[:9], points[:9]).p_value == 2 / math.factorial(9)
    assert correlate(points, points, permutations=99).method == "Monte Carlo permutation"


@both
@pytest.mark.parametrize(("x", "y"), [([1], [2]), ([1, 2], [2, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5])])
def test_too_few_points_or_a_constant_are_undefined(correlate, x, y):
    result = correlate(x, y)
    assert is_undefined(result)
    assert result.n == len(x)


@both
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, np.nan, 3], [1, 2, 3], "x has NaN at position 1"),
        ([1, 2, 3], [1, 2], "x has 3, y has 2"),
        ([], [], "empty"),
    ],
)
def test_no_pair_is_dropped_silently(correlate, x, y, message):
    with pytest.raises(ValueError, match=message):
        correlate(x, y)


@both
def test_at_least_one_permutation(correlate):
    with pytest.raises(ValueError, match="at least 1"):
        correlate(range(12), range(12), permutations=0)


@both
def test_rows_are_correlated_one_by_one(correlate):
    rng = np.random.default_rng(9)
    x, y = rng.integers(0, 6, (2, 200, 9))
    x[3] = 2
    values = OVER_ROWS[correlate](x, y)
    assert np.isnan(values[3])
    varies = np.arange(200) != 3
    expected = [ORACLE[correlate](*row).statistic for row in zip(x[varies], y[varies], strict=True)]
    np.testing.assert_allclose(values[varies], expected, rtol=0, atol=1e-12)
    assert values[0] == pytest.approx(correlate(x[0], y[0]).coefficient, abs=1e-12)


@both
def test_an_undefined_statistic_leaves_its_row_undefined_and_no_other(correlate):
    x = np.array([[1.0, 2, 3], [1, np.nan, 3], [2, 1, 3]])
    expected = [1, np.nan, {spearman: 1 / 2, kendall: 1 / 3}[correlate]]
    np.testing.assert_allclose(OVER_ROWS[correlate](x, [[1, 2, 3]] * 3), expected)


@both
def test_two_columns_have_no_rank_correlation(correlate):
    assert np.isnan(OVER_ROWS[correlate]([[1, 2]] * 4, [[1, 2]] * 4)).all()


@both
@pytest.mark.parametrize("shape", [(4,), (4, 3), (5, 4)])
def test_rows_that_do_not_match_are_refused(correlate, shape):
    with pytest.raises(ValueError, match="same shape"):
        OVER_ROWS[correlate](np.zeros((4, 4)), np.zeros(shape))


def table(rows, columns):
    return np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)


@both
def test_rows_and_columns_are_exchanged_as_wholes(correlate):
    """Compared with all permutations of 3 rows and 3 columns, each with SciPy's coefficient."""
    x, y = np.random.default_rng(0).normal(size=(2, 3, 3))
    found = correlate(x.ravel(), y.ravel(), layout=table(3, 3))
    values = [
        ORACLE[correlate](x.ravel(), y[np.ix_(rows, columns)].ravel()).statistic
        for rows in permutations(range(3))
        for columns in permutations(range(3))
    ]
    observed = found.coefficient
    assert len(values) == 36
    assert found.p_value == pytest.approx(np.mean(np.abs(values) >= abs(observed) - 1e-12))
    assert found.p_greater == pytest.approx(np.mean(np.array(values) >= observed - 1e-12))
    assert found.method == "exact permutation within the layout"


@both
def test_one_row_leaves_every_order(correlate):
    x, y = np.random.default_rng(1).normal(size=(2, 6))
    within, free = correlate(x, y, layout=table(1, 6)), correlate(x, y)
    assert (within.p_value, within.p_less) == (free.p_value, free.p_less)


def test_an_empty_cell_stays_empty():
    """In a 3 x 3 table without one corner, only 2! x 2! permutations keep the corner empty."""
    row, column = (part[1:] for part in table(3, 3))
    x = np.arange(8.0)
    found = spearman(x, x, layout=(row, column))
    assert found.p_greater == pytest.approx(1 / 4)


def test_a_large_table_draws_its_orders():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40))
    found = spearman(x, y, layout=table(10, 4), permutations=4000)
    assert found.method == "Monte Carlo permutation within the layout"
    again = spearman(x, y, layout=table(10, 4), permutations=4000, seed=1)
    assert found.p_value == pytest.approx(again.p_value, abs=0.05)


def test_two_points_in_one_cell_are_refused():
    with pytest.raises(ValueError, match="average them first"):
        spearman([1, 2, 3], [1, 2, 3], layout=([0, 0, 1], [0, 0, 0]))


def rejected(effect, layout, alpha=0.1, studies=300):
    """False positive rate for unrelated x and y of 3 x 3 cells, with similar values within rows in both."""
    rng = np.random.default_rng(0)
    row, _ = table(3, 3)
    p_values = []
    for _ in range(studies):
        x, y = effect * rng.normal(size=(2, 3))[:, row] + rng.normal(size=(2, 9))
        p_values.append(spearman(x, y, layout=layout).p_value)
    return np.mean(np.array(p_values) <= alpha)


@pytest.mark.parametrize("effect", [0, 1, 3])
def test_the_layout_keeps_the_rate_of_false_alarms(effect):
    assert rejected(effect, table(3, 3)) <= 0.1 + 2 * np.sqrt(0.09 / 300)


@pytest.mark.slow
def test_free_orders_do_not():
    assert rejected(3, None, studies=100) > 0.2


def test_fishers_interval_with_the_variance_of_bonett_and_wright():
    """Recomputed by hand for rho = 0.6 of 12 points."""
    margin = 1.959964 * math.sqrt((1 + 0.18) / 9)
    expected = math.tanh(math.atanh(0.6) - margin), math.tanh(math.atanh(0.6) + margin)
    assert fisher_interval(0.6, 12) == pytest.approx(expected, abs=1e-6)
    assert np.isnan([*fisher_interval(0.6, 3), *fisher_interval(1.0, 12)]).all()
