import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import binomtest, bootstrap, norm, rankdata, t, ttest_1samp

from stats.bootstrap import auc_resampled, mean_resampled
from stats.delong import delong
from stats.intervals import (
    bca_interval,
    bootstrap_p_value,
    interval_at_end,
    percentile_interval,
    student_interval,
    student_p_value,
)
from stats.jackknife import Spread, leave_out_patients, spread
from stats.metrics import auc
from stats.resamples import draw_patients

UNDEFINED = pytest.approx((np.nan, np.nan), nan_ok=True)


@pytest.fixture(scope="module")
def skewed():
    """(estimate, samples, jackknife) of a mean, with a bias that is not 0."""
    rng = np.random.default_rng(1)
    values = rng.exponential(size=40)
    samples = rng.choice(values, size=(2000, 40)).mean(axis=1)
    return values.mean(), samples, (values.sum() - values) / 39


def test_percentiles_interpolate_and_leave_nan_out():
    samples = np.append(np.arange(101.0), [np.nan] * 7)
    assert percentile_interval(samples) == pytest.approx((2.5, 97.5), abs=1e-12)
    assert percentile_interval(samples, confidence=0.5) == pytest.approx((25, 75), abs=1e-12)


@pytest.mark.parametrize(("defined", "known"), [(39, False), (40, True)])
def test_an_interval_needs_a_sample_in_either_tail(defined, known):
    low, high = percentile_interval(np.arange(defined))
    assert math.isfinite(low) == math.isfinite(high) == known


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(confidence, skewed):
    for call in (
        lambda: percentile_interval(np.arange(100), confidence),
        lambda: bca_interval(*skewed, confidence),
        lambda: student_interval(0.5, Spread(0.1, 5), confidence),
    ):
        with pytest.raises(ValueError, match="between 0 and 1"):
            call()


def test_bca_of_the_reference(shared):
    """Images of one patient each, drawn without strata."""
    case = json.loads((shared / "fixtures/stats/stats.json").read_text())["bootstrap"][0]
    labels, scores, n = case["labels"], case["scores"], len(case["labels"])
    left_out = leave_out_patients(draw_patients(np.arange(n), labels, resamples=1, seed=0)).resamples
    interval = bca_interval(auc(labels, scores), case["auc"], auc_resampled(labels, scores, left_out))
    assert interval == pytest.approx(case["auc_bca95"]["interval_linear"], abs=1e-8)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bca_of_one_stratum_is_that_of_scipy(confidence):
    values = np.random.default_rng(2).lognormal(size=30)
    theirs = bootstrap((values,), np.mean, n_resamples=999, confidence_level=confidence, method="BCa", rng=0)
    left_out = (values.sum() - values) / 29
    interval = bca_interval(values.mean(), theirs.bootstrap_distribution, left_out, confidence)
    assert interval == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def pooled_mean(positives, negatives, axis=-1):
    return np.concatenate([positives, negatives], axis=axis).mean(axis=axis)


def area(positives, negatives, axis=-1):
    n, m = positives.shape[axis], negatives.shape[axis]
    ranks = rankdata(np.concatenate([positives, negatives], axis=axis), axis=axis)
    return (np.take(ranks, np.arange(n), axis=axis).sum(axis=axis) - n * (n + 1) / 2) / (n * m)


@pytest.fixture(scope="module", params=[pooled_mean, area])
def two_samples(request):
    """(SciPy's result, estimate, jackknife, strata) of a statistic of 12 positives and 50 negatives."""
    rng = np.random.default_rng(4)
    labels = np.arange(62) < 12
    scores = labels + rng.exponential(size=62)
    groups = scores[labels], scores[~labels]
    theirs = bootstrap(groups, request.param, n_resamples=999, method="BCa", vectorized=True, rng=0)
    without = leave_out_patients(draw_patients(np.arange(62), labels, resamples=1, seed=0))
    left_out, strata = without.resamples, without.strata
    jackknife = auc_resampled(labels, scores, left_out) if request.param is area else mean_resampled(scores, left_out)
    return theirs, request.param(*groups), jackknife, strata


def test_bca_of_two_strata_is_that_of_scipy_for_two_samples(two_samples):
    theirs, estimate, jackknife, strata = two_samples
    interval = bca_interval(estimate, theirs.bootstrap_distribution, jackknife, strata=strata)
    assert interval == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_strata_that_lie_apart_are_not_skewness():
    """All positives 1, all negatives 0: stratified resamples do not change the mean, so there is no acceleration."""
    samples, jackknife = np.random.default_rng(5).normal(size=5000), np.where(np.arange(50) < 5, 0.08, 0.10)
    plain = bca_interval(0, samples, np.zeros(50))
    assert bca_interval(0, samples, jackknife, strata=np.arange(50) < 5) == pytest.approx(plain, abs=1e-9)
    assert bca_interval(0, samples, jackknife)[1] > plain[1] + 0.1


def test_without_bias_and_skewness_bca_is_the_percentile_interval():
    samples = np.append(np.linspace(-3, 3, 1001), np.nan)
    assert bca_interval(0, samples, [-1, 0, 1]) == pytest.approx(percentile_interval(samples), abs=1e-12)


def test_students_interval_of_a_mean():
    values = np.random.default_rng(8).exponential(size=9)
    theirs = ttest_1samp(values, 0)
    of_mean = spread(values.mean(), (values.sum() - values) / 8)
    interval = student_interval(values.mean(), of_mean, 0.9)
    assert interval == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-12)
    assert student_p_value(values.mean(), of_mean) == pytest.approx(theirs.pvalue, rel=1e-12)
    assert student_p_value(-values.mean(), of_mean) == student_p_value(values.mean(), of_mean)


def test_students_interval_of_an_area_is_delongs_on_the_logit_scale():
    rng = np.random.default_rng(9)
    labels = np.arange(300) < 90
    scores = labels + rng.normal(size=300)
    groups = leave_out_patients(draw_patients(np.arange(300), labels, resamples=1, seed=0))
    left_out, strata = groups.resamples, groups.strata
    of_area = spread(auc(labels, scores), auc_resampled(labels, scores, left_out), strata)
    interval = student_interval(auc(labels, scores), of_area, scale="logit")
    assert interval == pytest.approx(delong(labels, [scores]).logit_t_intervals()[0], abs=1e-4)


@pytest.mark.parametrize(
    ("scale", "to", "estimate"),
    [("identity", float, -3), ("log", np.log, 2.5), ("logit", logit, 0.9), ("atanh", np.arctanh, -0.8)],
)
def test_students_interval_is_symmetric_on_its_scale(scale, to, estimate):
    """The quantile of 10 degrees of freedom, times the standard error by the delta method, from a numerical slope."""
    low, high = student_interval(estimate, Spread(0.01, 10), 0.95, scale)
    slope = (to(estimate + 1e-6) - to(estimate - 1e-6)) / 2e-6
    assert to(high) - to(estimate) == pytest.approx(t.isf(0.025, 10) * 0.01 * slope, rel=1e-6)
    assert to(estimate) - to(low) == pytest.approx(to(high) - to(estimate), rel=1e-9)


@given(
    st.sampled_from([("logit", 0, 1), ("log", 0, math.inf), ("atanh", -1, 1)]),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.5),
)
def test_students_interval_keeps_inside_the_range(scale, share, standard_error):
    name, bottom, top = scale
    estimate = bottom + share * (min(top, 3) - bottom)
    low, high = student_interval(estimate, Spread(standard_error, 4), 0.95, name)
    assert bottom <= low <= estimate * (1 + 1e-12) + 1e-12
    assert estimate - 1e-12 <= high <= top


@pytest.mark.parametrize(
    ("estimate", "spread", "scale"),
    [
        (1.0, Spread(0.0, math.nan), "logit"),
        (0.0, Spread(0.1, 5), "log"),
        (math.nan, Spread(0.1, 5), "identity"),
        (0.5, Spread(math.nan, math.nan), "logit"),
    ],
)
def test_students_interval_is_undefined(estimate, spread, scale):
    assert student_interval(estimate, spread, scale=scale) == UNDEFINED


@pytest.mark.parametrize(
    ("difference", "spread", "p_value"),
    [
        (0.0, Spread(0.0, math.nan), 1.0),
        (0.5, Spread(0.0, math.nan), math.nan),
        (math.nan, Spread(0.1, 5), math.nan),
        (0.5, Spread(math.nan, math.nan), math.nan),
    ],
)
def test_students_p_value_without_spread(difference, spread, p_value):
    assert student_p_value(difference, spread) == pytest.approx(p_value, nan_ok=True)


def test_without_spread_only_a_difference_of_0_has_an_interval():
    assert student_interval(0.0, Spread(0.0, math.nan)) == (0, 0)
    for estimate, scale in ((0.5, "identity"), (0.667, "logit"), (1.2, "log")):
        assert student_interval(estimate, Spread(0.0, math.nan), scale=scale) == UNDEFINED


@pytest.mark.parametrize("patients", [1, 9, 200])
def test_a_share_at_its_end_has_the_exact_interval(patients):
    assert interval_at_end(1, patients) == pytest.approx(
        tuple(binomtest(patients, patients).proportion_ci()), abs=1e-12
    )
    assert interval_at_end(0, patients, 0.9) == pytest.approx(
        tuple(binomtest(0, patients).proportion_ci(0.9)), abs=1e-12
    )


@pytest.mark.parametrize(("share", "patients"), [(0.5, 9), (1, 0), (math.nan, 9)])
def test_only_a_share_at_its_end_is_exact(share, patients):
    with pytest.raises(ValueError, match="share must be 0 or 1 and patients at least 1"):
        interval_at_end(share, patients)


def test_a_bound_is_never_infinite():
    assert student_interval(0.1, Spread(10.0, 1), scale="log") == UNDEFINED


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_bca_follows_scale_shift_and_sign(skewed, scale, shift):
    low, high = bca_interval(*skewed)
    moved = bca_interval(*(scale * part + shift for part in skewed))
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-9)
    assert bca_interval(*(-part for part in skewed)) == pytest.approx((-high, -low), abs=1e-9)


def test_bca_leaves_nan_samples_out(skewed):
    estimate, samples, jackknife = skewed
    holes = np.insert(samples, [0, 500, 2000], np.nan)
    assert bca_interval(estimate, holes, jackknife) == bca_interval(estimate, samples, jackknife)


def test_bca_of_a_perfect_classifier_is_a_point():
    labels = np.arange(40) < 12
    resamples = draw_patients(np.arange(40), labels, resamples=100, seed=0)
    groups = leave_out_patients(resamples)
    left_out, strata = groups.resamples, groups.strata
    samples, jackknife = (auc_resampled(labels, labels, r) for r in (resamples, left_out))
    assert bca_interval(1.0, samples, jackknife, strata=strata) == (1.0, 1.0)


def test_bca_needs_more_than_one_patient_of_a_class():
    labels = np.arange(40) < 1
    resamples = draw_patients(np.arange(40), labels, resamples=100, seed=0)
    scores = np.random.default_rng(0).normal(size=40)
    groups = leave_out_patients(resamples)
    left_out, strata = groups.resamples, groups.strata
    samples, jackknife = (auc_resampled(labels, scores, r) for r in (resamples, left_out))
    assert np.isfinite(samples).all()
    assert bca_interval(auc(labels, scores), samples, jackknife, strata=strata) == UNDEFINED
    assert (
        student_interval(auc(labels, scores), spread(auc(labels, scores), jackknife, strata), scale="logit")
        == UNDEFINED
    )


@pytest.mark.parametrize(
    ("estimate", "samples"),
    [
        (np.nan, np.arange(100.0)),
        (-1.0, np.arange(100.0)),
        (100.0, np.arange(100.0)),
        (1.0, np.full(100, np.nan)),
        (19.0, np.arange(39.0)),
        (80.0, np.arange(100.0)),  # so biased that less than one sample lies beyond the upper level
    ],
)
def test_bca_is_undefined(estimate, samples):
    assert bca_interval(estimate, samples, [1.0, 2.0, 3.0]) == UNDEFINED


def test_bca_wants_the_stratum_of_every_patient(skewed):
    with pytest.raises(ValueError, match="jackknife has 40, strata has 39"):
        bca_interval(*skewed, strata=np.zeros(39))


def test_p_value_of_a_mean_is_that_of_a_z_test():
    rng = np.random.default_rng(3)
    values = rng.normal(0.2, 1.0, 400)
    samples = rng.choice(values, (20_000, 400)).mean(axis=1)
    expected = 2 * norm.sf(abs(values.mean()) / (values.std() / 20))
    assert bootstrap_p_value(values.mean(), samples) == pytest.approx(expected, rel=0.3)
    assert bootstrap_p_value(-values.mean(), -samples) == bootstrap_p_value(values.mean(), samples)
    assert bootstrap_p_value(1.0, samples) < 1e-20, "far below what counting samples could say"


@pytest.mark.parametrize(
    ("difference", "samples", "p_value"),
    [(0.0, np.zeros(9), 1.0), (0.5, np.full(9, 0.5), np.nan), (np.nan, np.arange(9.0), np.nan), (0.5, [1.0], np.nan)],
)
def test_without_spread_or_samples_a_difference_has_no_p_value(difference, samples, p_value):
    assert bootstrap_p_value(difference, samples) == pytest.approx(p_value, nan_ok=True)


def test_undefined_samples_are_left_out():
    samples = np.random.default_rng(1).normal(1.0, 1.0, 100)
    assert bootstrap_p_value(1.0, np.append(samples, [np.nan] * 7)) == bootstrap_p_value(1.0, samples)


SCALE_NULLS = [("identity", 0.4), ("log", 1.0), ("logit", 0.5), ("atanh", 0.0)]


@pytest.mark.parametrize(("scale", "null"), SCALE_NULLS)
@given(st.floats(0.05, 0.95), st.floats(0.01, 0.3), st.floats(2, 200), st.floats(0.6, 0.99))
def test_a_p_value_is_small_exactly_where_the_interval_leaves_the_null_value_out(
    scale, null, estimate, standard_error, freedom, confidence
):
    of_patients = Spread(standard_error, freedom)
    low, high = student_interval(estimate, of_patients, confidence, scale)
    p_value = student_p_value(estimate, of_patients, null, scale)
    assert abs(p_value - (1 - confidence)) < 1e-9 or (p_value <= 1 - confidence) == (not low < null < high)


def test_the_p_value_of_an_area_is_on_the_logit_scale():
    of_patients, samples = Spread(0.05, 20), 0.7 + 0.05 * np.tile([-1, 1], 500)
    on_logits = logit(0.7) / (0.05 / (0.7 * 0.3))
    assert student_p_value(0.7, of_patients, 0.5, "logit") == pytest.approx(2 * t.sf(on_logits, 20))
    assert bootstrap_p_value(0.7, samples, 0.5, "logit") == pytest.approx(2 * norm.sf(on_logits), rel=0.01)


def test_at_the_end_of_a_scale_there_is_no_p_value():
    assert math.isnan(student_p_value(1.0, Spread(0.05, 20), 0.5, "logit"))
    assert math.isnan(bootstrap_p_value(1.0, [0.9, 1.0], 0.5, "logit"))
    assert student_p_value(0.5, Spread(0.0, math.nan), 0.5, "logit") == 1
