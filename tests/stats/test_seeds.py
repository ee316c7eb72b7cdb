import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from stats.bootstrap import auc_resampled
from stats.intervals import percentile_interval
from stats.metrics import auc
from stats.resamples import draw_people
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
        result = over_seeds(values[:, study].mean(axis=0), samples[:, study])
        low, high = percentile_interval(samples[:, study].mean(axis=1))
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
    rng = np.random.default_rng(0)
    samples = np.repeat(rng.normal(size=(500, 1)), 4, axis=1)
    result = over_seeds([0.1] * 4, samples)
    assert (result.low, result.high) == pytest.approx(percentile_interval(samples[:, 0]), abs=1e-12)
    assert (result.sd, result.covers_seeds) == (pytest.approx(0, abs=1e-12), True)


def test_people_that_do_not_matter_leave_the_t_interval_of_the_seeds():
    estimates = np.array([0.71, 0.74, 0.70, 0.77])
    result = over_seeds(estimates, np.tile(estimates, (100, 1)), confidence=0.9)
    expected = t.interval(0.9, 3, estimates.mean(), estimates.std(ddof=1) / 2)
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-12)
    assert (result.mean, result.sd) == pytest.approx((estimates.mean(), estimates.std(ddof=1)), abs=1e-12)


def test_one_seed_gives_the_interval_of_people_and_says_so():
    samples = np.random.default_rng(1).normal(size=(300, 1)) ** 2
    result = over_seeds([0.9], samples)
    assert (result.low, result.high) == percentile_interval(samples[:, 0])
    assert math.isnan(result.sd)
    assert (result.mean, result.n_seeds, result.covers_seeds) == (0.9, 1, False)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 99), st.randoms(use_true_random=False))
def test_never_narrower_than_people_alone_whatever_the_order_of_seeds_and_scale(n_seeds, seed, random):
    rng = np.random.default_rng(seed)
    estimates = rng.normal(size=n_seeds)
    samples = estimates + rng.exponential(size=(80, n_seeds))
    result = over_seeds(estimates, samples)
    low, high = percentile_interval(samples.mean(axis=1))
    assert result.low <= min(low, result.mean)
    assert result.high >= max(high, result.mean)
    order = random.sample(range(n_seeds), n_seeds)
    moved = over_seeds(3 * estimates[order] + 1, 3 * samples[:, order] + 1)
    assert (moved.low, moved.high) == pytest.approx((3 * result.low + 1, 3 * result.high + 1), abs=1e-9)


def test_resamples_that_lie_beside_the_estimate_leave_that_side_to_the_seeds():
    result = over_seeds([-1.0, 1.0], np.full((100, 2), 5.0))
    of_seeds = t.isf(0.025, 1)  # sd / sqrt(2) is 1
    assert (result.low, result.high) == pytest.approx((-of_seeds, np.hypot(5, of_seeds)), abs=1e-12)


def test_areas_of_several_seeds():
    rng = np.random.default_rng(3)
    people, labels = np.repeat(np.arange(80), 2), np.repeat(np.arange(80) % 3 == 0, 2)
    scores = labels + rng.normal(size=160) + 0.3 * rng.normal(size=(3, 160))
    resamples = draw_people(people, labels, resamples=500, seed=0)
    result = over_seeds(
        [auc(labels, row) for row in scores], np.column_stack([auc_resampled(labels, row, resamples) for row in scores])
    )
    assert 0.5 < result.low < result.mean < result.high < 1


def test_an_undefined_resample_is_left_out():
    samples = np.tile(np.arange(100.0)[:, np.newaxis], (1, 2))
    more = np.vstack([samples, [[np.nan, 1e6]] * 5])
    assert over_seeds([50, 51], more) == over_seeds([50, 51], samples)
    unknown = over_seeds([50, 51], more[-45:-5] * np.nan)
    assert math.isnan(unknown.low)
    assert math.isnan(unknown.high)
    assert unknown.mean == 50.5


@pytest.mark.parametrize(
    ("estimates", "samples", "message"),
    [
        ([0.1, np.nan], np.zeros((50, 2)), "estimates has NaN at position 1"),
        ([0.1, 0.2], np.zeros((50, 3)), r"\(resamples, 2\), a column per seed, got \(50, 3\)"),
        ([0.1, 0.2], np.zeros(50), "a column per seed"),
        ([], np.zeros((50, 0)), "non-empty"),
    ],
)
def test_seeds_and_samples_that_do_not_fit_are_refused(estimates, samples, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(estimates, samples)
