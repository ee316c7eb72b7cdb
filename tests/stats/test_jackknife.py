"""Leaving people out, against plain statistics of the rest, SciPy's tests, and the variance over new samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import sem, ttest_ind
from sklearn.metrics import f1_score, roc_auc_score

from stats.bootstrap import auc_resampled, mean_resampled
from stats.delong import delong
from stats.jackknife import influence, jackknife_people, spread
from stats.operating import confusion_resampled
from stats.resamples import PeopleResamples, draw_people


def test_one_person_is_left_out_with_all_images():
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(12), rng.integers(1, 5, size=12))
    labels = (people % 3 == 0) & (rng.random(len(people)) < 0.8)
    scores = rng.normal(size=len(people)).round(1)
    left_out, _ = jackknife_people(draw_people(people, labels, resamples=2, seed=0))
    others = [people != person for person in range(12)]
    for values, expected in (
        (auc_resampled(labels, scores, left_out), [roc_auc_score(labels[rest], scores[rest]) for rest in others]),
        (
            confusion_resampled(labels, scores > 0, left_out).f1,
            [f1_score(labels[rest], scores[rest] > 0) for rest in others],
        ),
        (mean_resampled(scores, left_out), [scores[rest].mean() for rest in others]),
    ):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_people_and_their_strata_stay_as_they_are():
    resamples = draw_people(["c", "a", "b", "a"], [0, 1, 0, 0], resamples=7, seed=0)
    left_out, strata = jackknife_people(resamples)
    assert left_out.counts.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert left_out.person_of_image.tolist() == [2, 0, 1, 0]
    assert strata.tolist() == left_out.strata.tolist() == [True, False, False]
    without_strata, strata = jackknife_people(PeopleResamples(resamples.counts, resamples.person_of_image))
    assert (without_strata.strata, strata.tolist()) == (None, [0, 0, 0])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(4, 40))
def test_groups_leave_everyone_out_once_and_never_two_strata_at_a_time(positive, negative, most):
    people = np.arange(positive + negative)
    resamples = draw_people(people, people < positive, resamples=1, seed=0)
    left_out, strata = jackknife_people(resamples, most)
    gone = left_out.counts == 0
    assert gone.sum(axis=0).tolist() == [1] * len(people)
    assert len(left_out.counts) <= max(most, min(len(people), most + 2))
    for row, stratum in zip(gone, strata, strict=True):
        assert set(resamples.strata[row]) == {stratum}
    for stratum in (False, True):
        sizes = gone[strata == stratum].sum(axis=1)
        assert sizes.max() - sizes.min() <= 1
    if len(people) <= most:
        assert np.array_equal(left_out.counts, 1 - np.eye(len(people)))


def test_groups_tell_the_same_spread():
    rng = np.random.default_rng(0)
    labels, people = np.arange(6000) < 1500, np.arange(6000)
    scores = labels + rng.normal(size=6000)
    resamples = draw_people(people, labels, resamples=1, seed=0)
    each, grouped = (
        spread(auc_resampled(labels, scores, left_out), strata)
        for left_out, strata in (jackknife_people(resamples, most) for most in (6000, 1000))
    )
    assert grouped.standard_error == pytest.approx(each.standard_error, rel=0.06)
    again, _ = jackknife_people(resamples, 1000)
    assert np.array_equal(again.counts, jackknife_people(resamples, 1000)[0].counts)


def test_the_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).exponential(size=17)
    found = spread((values.sum() - values) / 16)
    assert (found.standard_error, found.degrees_of_freedom) == pytest.approx((sem(values), 16), rel=1e-12)


def test_the_spread_of_a_difference_of_two_means_is_welchs():
    groups = np.random.default_rng(2).normal(size=5), 3 * np.random.default_rng(3).normal(size=12)
    jackknife = np.concatenate([(groups[0].sum() - groups[0]) / 4, -(groups[1].sum() - groups[1]) / 11])
    expected = ttest_ind(*groups, equal_var=False)
    found = spread(jackknife, np.arange(17) < 5)
    assert found.degrees_of_freedom == pytest.approx(expected.df, rel=1e-12)
    assert found.standard_error == pytest.approx(abs((groups[0].mean() - groups[1].mean()) / expected.statistic))


def test_the_spread_of_an_area_is_delongs():
    rng = np.random.default_rng(4)
    people = np.repeat(np.arange(200), 2)
    labels = people < 60
    scores = labels + rng.normal(size=200)[people] + 0.5 * rng.normal(size=400)
    left_out, strata = jackknife_people(draw_people(people, labels, resamples=1, seed=0))
    found, theirs = spread(auc_resampled(labels, scores, left_out), strata), delong(labels, [scores], people)
    assert found.standard_error == pytest.approx(math.sqrt(theirs.covariance[0, 0]), rel=1e-3)
    assert found.degrees_of_freedom == pytest.approx(theirs.degrees_of_freedom[0], rel=1e-3)


def test_strata_that_lie_apart_add_nothing():
    """All positives 1, all negatives 0: another draw of as many of each has the same mean."""
    jackknife, strata = np.where(np.arange(50) < 5, 0.08, 0.10), np.arange(50) < 5
    assert influence(jackknife, strata)[0] == pytest.approx(np.zeros(50), abs=1e-15)
    assert spread(jackknife, strata).standard_error < 1e-15
    assert spread(jackknife).standard_error > 0.01


def test_without_spread_or_without_a_person_that_carries_all():
    still = spread([0.5, 0.5, 0.5])
    assert (still.standard_error, math.isnan(still.degrees_of_freedom)) == (0, True)
    lone = spread([0.5, 0.6, 0.9], [0, 0, 1])
    assert (lone.standard_error, lone.degrees_of_freedom) == pytest.approx((0.05, 1))
    undefined = spread([0.5, math.nan, 0.4])
    assert math.isnan(undefined.standard_error)
    assert math.isnan(undefined.degrees_of_freedom)


def test_every_person_has_a_stratum():
    with pytest.raises(ValueError, match="jackknife has 3, strata has 2"):
        spread([0.1, 0.2, 0.3], [0, 1])
