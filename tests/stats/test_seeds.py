import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from stats.intervals import percentile_interval
from stats.seeds import over_seeds


def coverage(n_seeds, seed_sd, studies=500, people=60):
    """Shares of studies whose interval holds the truth: for people alone, and for people and seeds.

    The statistic is a mean over people. Each study draws people, who deviate with variance 1 for all seeds alike and
    0.2 for each seed by itself, and seeds, whose effects have `seed_sd` times the standard error due to people.
    """
    rng = np.random.default_rng(n_seeds)
    of_people = rng.normal(size=(people, studies, 1)) + np.sqrt(0.2) * rng.normal(size=(people, studies, n_seeds))
    of_seeds = seed_sd * np.sqrt(1.2 / people) * rng.normal(size=(studies, n_seeds))
    values = of_people + of_seeds
    counts = rng.multinomial(people, np.full(people, 1 / people), size=400)
    samples = np.tensordot(counts, values, axes=1) / people
    held = np.zeros(2)
    for study in range(studies):
        low, high = percentile_interval(samples[:, study].mean(axis=1))
        result = over_seeds(values[:, study].mean(axis=0), (low, high))
        held += low <= 0 <= high, result.low <= 0 <= result.high
    return held / studies


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_the_interval_covers_seeds_and_people_where_that_of_people_fails(n_seeds):
    of_people, of_both = coverage(n_seeds, seed_sd=2)
    assert of_people < 0.85
    assert 0.94 <= of_both <= 0.995


@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(5, 0), (5, 0.5), (10, 3)])
def test_the_interval_is_hardly_too_wide_with_five_seeds(n_seeds, seed_sd):
    assert coverage(n_seeds, seed_sd)[1] == pytest.approx(0.95, abs=0.025)


def test_seeds_that_agree_leave_the_interval_of_people():
    result = over_seeds([0.1] * 4, (-0.3, 0.4))
    assert (result.low, result.high) == pytest.approx((-0.3, 0.4), abs=1e-12)
    assert result.sd == pytest.approx(0, abs=1e-12)


def test_people_that_do_not_matter_leave_the_t_interval_of_the_seeds():
    estimates = np.array([0.71, 0.74, 0.70, 0.77])
    result = over_seeds(estimates, (estimates.mean(), estimates.mean()), confidence=0.9)
    expected = t.interval(0.9, 3, estimates.mean(), estimates.std(ddof=1) / 2)
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-12)
    assert (result.mean, result.sd) == pytest.approx((estimates.mean(), estimates.std(ddof=1)), abs=1e-12)


def test_one_seed_gives_the_interval_of_people():
    result = over_seeds([0.9], (0.7, 0.95))
    assert (result.low, result.high) == (0.7, 0.95)
    assert math.isnan(result.sd)
    assert (result.mean, result.n_seeds) == (0.9, 1)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5), st.floats(-1, 2), st.floats(-1, 2), st.randoms())
def test_never_narrower_than_people_alone_whatever_the_order_of_seeds_and_scale(estimates, below, above, random):
    estimates = np.array(estimates)
    low, high = estimates.mean() - below, estimates.mean() + above
    result = over_seeds(estimates, (low, high))
    assert result.low <= min(low, result.mean) + 1e-12
    assert result.high >= max(high, result.mean) - 1e-12
    order = random.sample(range(len(estimates)), len(estimates))
    moved = over_seeds(3 * estimates[order] + 1, (3 * low + 1, 3 * high + 1))
    assert (moved.low, moved.high) == pytest.approx((3 * result.low + 1, 3 * result.high + 1), abs=1e-9)


def test_an_interval_of_people_beside_the_estimate_leaves_that_side_to_the_seeds():
    result = over_seeds([-1.0, 1.0], (5.0, 5.0))
    of_seeds = t.isf(0.025, 1)  # sd / sqrt(2) is 1
    assert (result.low, result.high) == pytest.approx((-of_seeds, np.hypot(5, of_seeds)), abs=1e-12)


def test_without_an_interval_of_people_there_is_none():
    unknown = over_seeds([50, 51], (math.nan, math.nan))
    assert math.isnan(unknown.low)
    assert math.isnan(unknown.high)
    assert (unknown.mean, unknown.sd) == pytest.approx((50.5, math.sqrt(0.5)))


@pytest.mark.parametrize(
    ("estimates", "confidence", "message"),
    [
        ([0.1, np.nan], 0.95, "estimates has NaN at position 1"),
        ([], 0.95, "non-empty"),
        ([0.1, 0.2], 95, "between 0 and 1"),
    ],
)
def test_seeds_that_cannot_be_averaged(estimates, confidence, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(estimates, (0.0, 1.0), confidence)
