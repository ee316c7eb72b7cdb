"""The jackknife compared with statistics of the other patients, SciPy's tests, and the variance over new samples."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import sem, skew, ttest_ind
from sklearn.metrics import f1_score, roc_auc_score

from stats.bootstrap import auc_resampled, mean_resampled
from stats.delong import delong
from stats.jackknife import covariance, influence, leave_out_patients, skewness, spread
from stats.operating import confusion_resampled
from stats.resamples import PatientResamples, draw_patients


def test_one_patient_is_left_out_with_all_images():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(12), rng.integers(1, 5, size=12))
    labels = (patients % 3 == 0) & (rng.random(len(patients)) < 0.8)
    scores = rng.normal(size=len(patients)).round(1)
    left_out = leave_out_patients(draw_patients(patients, labels, resamples=2, seed=0)).resamples
    others = [patients != patient for patient in range(12)]
    for values, expected in (
        (auc_resampled(labels, scores, left_out), [roc_auc_score(labels[rest], scores[rest]) for rest in others]),
        (
            confusion_resampled(labels, scores > 0, left_out).f1,
            [f1_score(labels[rest], scores[rest] > 0) for rest in others],
        ),
        (mean_resampled(scores, left_out), [scores[rest].mean() for rest in others]),
    ):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_patients_and_their_strata_stay_as_they_are():
    resamples = draw_patients(["c", "a", "b", "a"], [0, 1, 0, 0], resamples=7, seed=0)
    groups = leave_out_patients(resamples)
    left_out, strata = groups.resamples, groups.strata
    assert groups.patients.tolist() == [1, 1, 1]
    assert left_out.counts.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert left_out.patient_of_image.tolist() == [2, 0, 1, 0]
    assert strata.tolist() == left_out.strata.tolist() == [True, False, False]
    without_strata = leave_out_patients(PatientResamples(resamples.counts, resamples.patient_of_image))
    assert (without_strata.resamples.strata, without_strata.strata.tolist()) == (None, [0, 0, 0])


@given(st.integers(1, 70), st.integers(1, 70), st.integers(4, 40))
def test_groups_leave_everyone_out_once_and_never_two_strata_at_a_time(positive, negative, most):
    patients = np.arange(positive + negative)
    resamples = draw_patients(patients, patients < positive, resamples=1, seed=0)
    groups = leave_out_patients(resamples, most)
    left_out, strata = groups.resamples, groups.strata
    gone = left_out.counts == 0
    assert gone.sum(axis=1).tolist() == groups.patients.tolist()
    assert gone.sum(axis=0).tolist() == [1] * len(patients)
    assert len(left_out.counts) <= most or len(patients) <= most
    rare = strata == (positive < negative)
    assert rare.sum() >= min(positive, negative, most // 2), "a rare class keeps its patients apart"
    for row, stratum in zip(gone, strata, strict=True):
        assert set(resamples.strata[row]) == {stratum}
    for stratum in (False, True):
        sizes = gone[strata == stratum].sum(axis=1)
        assert sizes.max() - sizes.min() <= 1
    if len(patients) <= most:
        assert np.array_equal(left_out.counts, 1 - np.eye(len(patients)))


@pytest.mark.parametrize("positive", [3000, 1500, 40])
def test_groups_give_the_same_spread(positive):
    """For an AUC, for a share that depends on the number of positives, and for a statistic in between."""
    rng = np.random.default_rng(0)
    labels, patients = np.arange(6000) < positive, np.arange(6000)
    scores = labels + rng.normal(size=6000)
    resamples = draw_patients(patients, labels, resamples=1, seed=0)
    once = PatientResamples(np.ones((1, 6000), dtype=np.uint8), patients, labels)
    statistics = (
        lambda drawn: auc_resampled(labels, scores, drawn),
        lambda drawn: mean_resampled(labels.astype(float), drawn),
        lambda drawn: confusion_resampled(labels, scores > 0.5, drawn).ppv,
    )
    for statistic in statistics:
        (estimate,) = statistic(once)
        each, grouped = (
            spread(estimate, statistic(groups.resamples), groups.strata, groups.patients)
            for groups in (leave_out_patients(resamples, most) for most in (6000, 1000))
        )
        assert grouped.standard_error == pytest.approx(each.standard_error, rel=0.06)
        if each.degrees_of_freedom < 100:  # beyond, Student's t is the normal distribution
            assert grouped.degrees_of_freedom == pytest.approx(each.degrees_of_freedom, rel=0.1)
    again = leave_out_patients(resamples, 1000).resamples.counts
    assert np.array_equal(again, leave_out_patients(resamples, 1000).resamples.counts)


def mean_without_each(values):
    return (values.sum() - values) / (len(values) - 1)


def test_the_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).exponential(size=17)
    found = spread(values.mean(), mean_without_each(values))
    assert (found.standard_error, found.degrees_of_freedom) == pytest.approx((sem(values), 16), rel=1e-12)


def test_the_spread_of_a_difference_of_two_means_is_welchs():
    one, other = np.random.default_rng(2).normal(size=5), 3 + 3 * np.random.default_rng(3).normal(size=12)
    difference = one.mean() - other.mean()
    jackknife = np.concatenate([mean_without_each(one) - other.mean(), one.mean() - mean_without_each(other)])
    expected = ttest_ind(one, other, equal_var=False)
    found = spread(difference, jackknife, np.arange(17) < 5)
    assert found.degrees_of_freedom == pytest.approx(expected.df, rel=1e-9)
    assert found.standard_error == pytest.approx(difference / expected.statistic, rel=1e-9)


def test_the_spread_of_an_area_is_delongs():
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(200), 2)
    labels = patients < 60
    scores = labels + rng.normal(size=200)[patients] + 0.5 * rng.normal(size=400)
    groups = leave_out_patients(draw_patients(patients, labels, resamples=1, seed=0))
    left_out, strata = groups.resamples, groups.strata
    theirs = delong(labels, [scores], patients)
    found = spread(theirs.areas[0], auc_resampled(labels, scores, left_out), strata)
    assert found.standard_error == pytest.approx(math.sqrt(theirs.covariance[0, 0]), rel=1e-6)
    assert found.degrees_of_freedom == pytest.approx(theirs.degrees_of_freedom[0], rel=1e-6)


def test_a_share_of_all_varies_with_how_many_positives_there_are():
    """All images are called positive, so accuracy is the share of positives, which is binomial over patients."""
    labels = np.arange(80) < 30
    found = spread(labels.mean(), mean_without_each(labels.astype(float)), labels)
    assert found.standard_error == pytest.approx(math.sqrt(30 / 80 * 50 / 80 / 79))
    assert found.degrees_of_freedom == pytest.approx(79)
    assert influence(mean_without_each(labels.astype(float)), labels).tolist() == [0] * 80


@given(st.integers(20, 60), st.integers(0, 1000))
@example(patients=28, seed=130)  # 27 and 26.999999999999996 degrees of freedom
def test_what_does_not_know_of_strata_has_about_the_spread_of_one(patients, seed):
    rng = np.random.default_rng(seed)
    values, strata = rng.normal(size=patients), np.arange(patients) < patients // 3
    jackknife = mean_without_each(values)
    found, alone = spread(values.mean(), jackknife, strata), spread(values.mean(), jackknife)
    assert found.standard_error == pytest.approx(alone.standard_error, rel=3 / patients)
    share = found.degrees_of_freedom / alone.degrees_of_freedom
    assert 0.45 < share <= 1 + 1e-12  # over all 41 041 examples: 0.473 to 1, sometimes 1 + 2e-16 by rounding


def test_patients_who_do_not_change_the_statistic_are_not_counted():
    values = np.array([1.0, 1.5, 2.5, 3.0])
    found = spread(2.0, np.append(mean_without_each(values), np.full(96, 2.0)))
    assert (found.standard_error, found.degrees_of_freedom) == pytest.approx((sem(values), 3), rel=1e-12)


def test_with_a_stratum_of_one_patient_all_patients_are_one_stratum():
    values = np.array([9.0, 1, 2, 3, 4])
    lone = spread(values.mean(), mean_without_each(values), np.arange(5) < 1)
    assert (lone.standard_error, lone.degrees_of_freedom) == pytest.approx((sem(values), 4))
    sensitivity_of_one = spread(0.5, [math.nan, 0.5, 0.5], [1, 0, 0])
    assert math.isnan(sensitivity_of_one.standard_error)
    all_hangs_on_one = spread(0.5, [0.9, 0.5, 0.5])
    assert math.isnan(all_hangs_on_one.standard_error)


def test_if_no_patient_changes_the_statistic_the_spread_is_0():
    for values in ([0.5, 0.5, 0.5], [0.1 + 0.2, 0.3, 0.3], np.full(70, 1 / 3)):
        still = spread(values[-1], values, np.arange(len(values)) < 2)
        assert (still.standard_error, math.isnan(still.degrees_of_freedom)) == (0, True)


def test_every_patient_has_a_stratum():
    with pytest.raises(ValueError, match="jackknife has 3, strata has 2"):
        spread(0.2, [0.1, 0.2, 0.3], [0, 1])


def test_skewness_of_a_mean_is_that_of_the_values_over_the_root_of_their_number():
    values = np.random.default_rng(0).exponential(size=50)
    assert skewness(mean_without_each(values)) == pytest.approx(skew(values) / np.sqrt(50))
    assert skewness(np.ones(5)) == 0
    assert np.isnan(skewness([1.0, np.nan, 2.0]))


@given(st.integers(2, 30), st.randoms(use_true_random=False))
def test_the_diagonal_of_the_covariance_is_the_squared_spread(patients, random):
    rng = np.random.default_rng(random.randrange(2**32))
    estimates, jackknife = rng.normal(size=3), rng.normal(size=(3, patients))
    strata = rng.integers(0, 2, patients)
    jackknife[1, rng.random(patients) < 0.3] = estimates[1]  # patients who do not change the statistic
    found = covariance(estimates, jackknife, strata)
    for k in range(3):
        error = spread(estimates[k], jackknife[k], strata).standard_error
        assert found[k, k] == pytest.approx(error**2, rel=1e-9, abs=1e-15, nan_ok=True)


def test_the_covariance_of_two_means_is_the_ordinary_one():
    rng = np.random.default_rng(0)
    values = rng.multivariate_normal([1, 2], [[1, 0.6], [0.6, 2]], size=40).T
    without = (values.sum(axis=1, keepdims=True) - values) / 39
    found = covariance(values.mean(axis=1), without)
    assert found == pytest.approx(np.cov(values) / 40, rel=1e-12)


def test_a_statistic_without_spread_has_no_covariance():
    jackknife = np.array([[0.1, 0.2, 0.3], [0.1, np.nan, 0.3]])
    found = covariance([0.2, 0.2], jackknife)
    assert np.isfinite(found[0, 0])
    assert np.isnan([found[0, 1], found[1, 1]]).all()
