"""Every measure of a trial against the plain statistic, scikit-learn, and resamples written out row by row."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student_t
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from benchmark.analysis.measures import (
    CALLS,
    MEASURES,
    RESAMPLED,
    SCALES,
    difference,
    estimate_calls,
    estimate_trial,
    interval_of_mean,
    measured,
    names_of,
    p_above_chance,
)
from benchmark.study.config import Statistics
from stats.calibration import calibration, expected_calibration_error
from stats.intervals import bca_interval, bootstrap_p_value, student_interval, student_p_value
from stats.jackknife import Spread, spread
from stats.moderated import moderated
from stats.resamples import PatientResamples, draw_patients
from stats.within import ratio_and_correctness
from tests.benchmark.trials import LABELS, PATIENTS, make_tested
from xai.saliency import RATIOS


@pytest.fixture(scope="module")
def tested():
    return make_tested()


@pytest.fixture(scope="module")
def resamples():
    return draw_patients(PATIENTS, LABELS, resamples=200, seed=0)


T, PERCENTILE, BCA = (Statistics(interval=method, confidence=0.9) for method in ("t", "percentile", "bca"))


@pytest.fixture(scope="module")
def percentile(tested, resamples):
    return estimate_trial(tested, resamples, PERCENTILE)


def of_rows(tested, rows):
    """The estimates on some images, each as often as it is listed, with every image as a separate patient."""
    ratios = {name: values[rows] for name, values in tested.ratios.items()}
    some = replace(
        tested, labels=tested.labels[rows], scores=tested.scores[rows], ratios=ratios, outside=tested.outside[rows]
    )
    once = PatientResamples(np.ones((1, len(rows)), dtype=np.uint8), np.arange(len(rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stats.within.LEAST", 1)  # the labels to compare are determined on all of the data
        return {name: float(value[0]) for name, value in measured(some, once).items()}


def test_every_measure_is_there_once_in_the_order_of_the_columns(percentile):
    assert tuple(percentile.values) == tuple(MEASURES)
    columns = percentile.columns()
    assert list(columns) == [column for name in MEASURES for column in (name, f"{name}_low", f"{name}_high")]
    assert (columns["auc"], columns["auc_low"]) == (percentile.values["auc"], percentile.intervals["auc"][0])


def test_predictions_are_measured_as_by_scikit_learn(tested, percentile):
    labels, scores, called = tested.labels, tested.scores, tested.scores >= tested.threshold
    expected = {
        "auc": metrics.roc_auc_score(labels, scores),
        "average_precision": metrics.average_precision_score(labels, scores),
        "f1": metrics.f1_score(labels, called),
        "sensitivity": metrics.recall_score(labels, called),
        "specificity": metrics.recall_score(labels, called, pos_label=0),
        "ppv": metrics.precision_score(labels, called),
        "npv": metrics.precision_score(labels, called, pos_label=0),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "brier": metrics.brier_score_loss(labels, scores),
    }
    assert {name: percentile.values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    logits = np.log(scores / (1 - scores))[:, np.newaxis]
    recalibrated = LogisticRegression(C=np.inf, tol=1e-10).fit(logits, labels)
    assert percentile.values["calibration_slope"] == pytest.approx(recalibrated.coef_[0, 0], abs=1e-4)


def test_other_measures_are_the_plain_statistics(tested, resamples, percentile):
    values = percentile.values
    plain = calibration(tested.labels, tested.scores)
    assert values["calibration_intercept"] == pytest.approx(plain.intercept, abs=1e-6)
    assert values["calibration_slope"] == pytest.approx(plain.slope, abs=1e-6)
    assert values["ece"] == pytest.approx(expected_calibration_error(tested.labels, tested.scores), abs=1e-12)
    for name in RATIOS:
        assert values[name] == pytest.approx(np.nanmean(tested.ratios[name]), abs=1e-12)
    positive, negative, within = ratio_and_correctness(
        tested.labels, tested.scores, tested.threshold, tested.ratios["vessel_ratio"], resamples
    )
    expected = (within.auc, within.rho, positive.auc, negative.auc, within.score_rho)
    assert [values[name] for name in names_of("within")] == pytest.approx(expected)


def test_a_resample_is_measured_as_its_rows_repeated(tested, resamples, percentile):
    fixed = [name for name in MEASURES if name != "ece"]  # its bins are those of the data
    for number in (0, 7):
        rows = np.repeat(np.arange(100), resamples.counts[number][PATIENTS])
        expected = of_rows(tested, rows)
        found = {name: percentile.samples[name][number] for name in fixed}
        assert found == pytest.approx({name: expected[name] for name in fixed}, abs=1e-6)


def test_percentile_intervals(percentile):
    for name in MEASURES:
        bounds = percentile.intervals[name]
        if name not in SCALES:
            assert np.isnan(bounds).all(), name
        else:
            # A resample may have no negative that was called wrong.
            assert bounds == pytest.approx(np.nanquantile(percentile.samples[name], [0.05, 0.95]), abs=1e-12), name


@pytest.fixture(scope="module")
def left_out(tested):
    """Measure -> its values without one patient at a time, from the rows of the others."""
    found = [of_rows(tested, np.flatnonzero(patient != PATIENTS)) for patient in range(50)]
    return {name: np.array([of_patient[name] for of_patient in found]) for name in MEASURES}


def with_expected(of_patients, name, value):
    """The expected variance with 25 patients of each class counts as four degrees of freedom."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    of_auc = (value * (1 - value) + 24 * (q1 - value**2) + 24 * (q2 - value**2)) / 25**2
    expected = of_auc if name == "auc" else value * (1 - value) / 25
    freedom = of_patients.degrees_of_freedom
    variance = (freedom * of_patients.standard_error**2 + 4 * expected) / (freedom + 4)
    return Spread(variance**0.5, freedom + 4)


def balanced_interval(found):
    """From the distances of sensitivity and specificity to their bounds; no patient has images of both classes."""
    low, high = (
        np.hypot(*(found.intervals[name][side] - found.values[name] for name in ("sensitivity", "specificity"))) / 2
        for side in (0, 1)
    )
    return found.values["balanced_accuracy"] - low, found.values["balanced_accuracy"] + high


@pytest.mark.parametrize("settings", [T, BCA], ids=lambda settings: settings.interval)
def test_other_intervals_rest_on_leaving_out_one_patient_at_a_time(tested, resamples, percentile, left_out, settings):
    found = estimate_trial(tested, resamples, settings)
    assert found.values == percentile.values
    for name in MEASURES:
        if name not in SCALES:
            assert np.isnan(found.intervals[name]).all(), name
            continue
        value, strata = found.values[name], resamples.strata
        of_patients = spread(value, left_out[name], strata)
        if settings is BCA:
            expected = bca_interval(value, found.samples[name], left_out[name], 0.9, strata=strata)
        elif name == "balanced_accuracy":
            expected = balanced_interval(found)
        elif name in ("auc", "average_precision"):
            expected = student_interval(value, with_expected(of_patients, name, value), 0.9, SCALES[name])
        else:
            expected = student_interval(value, of_patients, 0.9, SCALES[name])
        assert found.intervals[name] == pytest.approx(expected, abs=1e-6), name
        assert np.isfinite(expected).all(), name
    assert found.intervals["auc"] != percentile.intervals["auc"]


def test_what_ranks_and_correlations_need_is_resampled_whatever_makes_the_intervals(tested, resamples, percentile):
    by_t = estimate_trial(tested, resamples, T)
    assert tuple(by_t.samples) == RESAMPLED
    for name in RESAMPLED:
        np.testing.assert_array_equal(by_t.samples[name], percentile.samples[name])


def test_each_measure_counts_the_images_that_it_is_of():
    row = {"n_images": 100, "n_positive": 30, "n_called": 45, "n_ratio": 90, "n_map": 95, "n_right": 60, "n_wrong": 20}
    row |= {"n_right_positive": 17, "n_wrong_positive": 5, "n_right_negative": 43, "n_wrong_negative": 15}
    found = {name: measure.images(row) for name, measure in MEASURES.items()}
    own = {"sensitivity": 30, "specificity": 70, "ppv": 45, "npv": 55, "outside_share": 95}
    own |= {"right_by_ratio": 80, "right_by_ratio_positive": 22, "right_by_ratio_negative": 58}
    own |= dict.fromkeys((*RATIOS, "right_by_ratio_rho", "ratio_score_rho"), 90)
    assert found == dict.fromkeys(MEASURES, 100) | own
    assert MEASURES["right_by_ratio"].images(row | {"n_right": None, "n_wrong": None}) == 0, "none is compared"


def test_every_measure_but_the_calibration_error_has_an_interval():
    assert set(MEASURES) - set(SCALES) == {"ece"}


@pytest.mark.parametrize("settings", [T, PERCENTILE, BCA], ids=lambda settings: settings.interval)
def test_a_difference_is_paired(tested, resamples, left_out, settings):
    other = replace(tested, scores=tested.scores[::-1])
    a, b = (estimate_trial(cell, resamples, settings) for cell in (tested, other))
    found = difference((tested, a), (other, b), "f1", resamples, settings)
    value, (low, high), p_value = found.value, found.interval, found.p_value
    assert (value, found.n_images) == (a.values["f1"] - b.values["f1"], 100)
    of_rest = [of_rows(other, np.flatnonzero(patient != PATIENTS))["f1"] for patient in range(50)]
    jackknife, samples = left_out["f1"] - of_rest, a.samples["f1"] - b.samples["f1"]
    of_patients = spread(value, jackknife, resamples.strata)
    expected, p_expected = {
        "t": (student_interval(value, of_patients, 0.9), student_p_value(value, of_patients)),
        "percentile": (np.quantile(samples, [0.05, 0.95]), bootstrap_p_value(value, samples)),
        "bca": (
            bca_interval(value, samples, jackknife, 0.9, strata=resamples.strata),
            bootstrap_p_value(value, samples),
        ),
    }[settings.interval]
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
    assert p_value == pytest.approx(p_expected, rel=1e-9)
    assert low < value < high


@pytest.mark.parametrize("settings", [T, PERCENTILE], ids=lambda settings: settings.interval)
def test_the_interval_of_a_mean_over_cells(tested, resamples, settings):
    """For a cell with itself it is the same; for a cell with its mirror image, whose errors cancel, it is narrower."""
    one = estimate_trial(tested, resamples, settings)
    assert interval_of_mean([one, one], "auc", settings) == pytest.approx(one.intervals["auc"], abs=1e-12)
    other = estimate_trial(replace(tested, scores=tested.scores[::-1]), resamples, settings)
    low, high = interval_of_mean([one, other], "auc", settings)
    assert low < (one.values["auc"] + other.values["auc"]) / 2 < high
    assert high - low < one.intervals["auc"][1] - one.intervals["auc"][0]


@pytest.mark.parametrize("method", ["t", "percentile", "bca"])
def test_a_cell_without_any_ratio_is_still_measured(tested, resamples, method):
    nothing = replace(tested, ratios={name: np.full(100, np.nan) for name in RATIOS})
    found = estimate_trial(nothing, resamples, Statistics(interval=method))
    for name in names_of("ratio", "within"):
        assert np.isnan([found.values[name], *found.intervals[name]]).all(), name
    assert np.isfinite([found.values["auc"], *found.intervals["auc"]]).all()


@pytest.mark.parametrize(("settings", "of_none"), [(PERCENTILE, (0, 0)), (T, (0, 1 - 0.05 ** (1 / 25)))])
def test_calls_at_a_threshold_of_infinity(tested, resamples, settings, of_none):
    """All resamples of a sensitivity of 0 are 0; the exact interval is that of 0 of 25 patients."""
    found = estimate_calls(tested, np.inf, resamples, settings)
    assert tuple(found.values) == CALLS
    assert (found.values["sensitivity"], found.values["specificity"], found.values["npv"]) == (0, 1, 0.5)
    assert found.intervals["sensitivity"] == pytest.approx(of_none, nan_ok=True)
    assert np.isnan([found.values["ppv"], *found.intervals["ppv"]]).all()


@pytest.mark.parametrize("settings", [T, PERCENTILE, BCA], ids=lambda settings: settings.interval)
def test_the_p_value_of_an_auc_is_that_of_its_logit_against_0(tested, resamples, settings):
    found = estimate_trial(tested, resamples, settings)
    auc = found.values["auc"]
    logit, slope = np.log(auc / (1 - auc)), auc * (1 - auc)
    if settings is T:
        of_patients = moderated(spread(auc, found.left_out["auc"], resamples.strata), found.expected["auc"])
        expected = 2 * student_t.sf(abs(logit) * slope / of_patients.standard_error, of_patients.degrees_of_freedom)
    else:
        expected = 2 * norm.sf(abs(logit) * slope / found.samples["auc"].std(ddof=1))
    assert p_above_chance([found], settings) == pytest.approx(expected, rel=1e-9)
    assert p_above_chance([found, found], settings) == pytest.approx(expected, rel=1e-9)


@given(st.floats(0, 1.5), st.floats(0.6, 0.99))
def test_by_t_an_auc_is_above_chance_exactly_where_its_interval_is(strength, confidence):
    tested, settings = make_tested(strength), Statistics(confidence=confidence)
    found = estimate_trial(tested, draw_patients(PATIENTS, LABELS, 100, seed=0), settings)
    low, high = found.intervals["auc"]
    assert (p_above_chance([found], settings) <= 1 - confidence) == (not low < 0.5 < high)


def test_an_auc_of_1_has_no_p_value(tested, resamples):
    perfect = replace(tested, scores=tested.labels.astype(float))
    for settings in (T, PERCENTILE):
        assert np.isnan(p_above_chance([estimate_trial(perfect, resamples, settings)], settings))


def of_scores(labels, scores):
    """A trial whose ratios do not matter."""
    ones = np.ones(len(labels))
    return replace(make_tested(), labels=labels, scores=scores, ratios=dict.fromkeys(RATIOS, ones), outside=ones)


def test_balanced_accuracy_counts_a_sensitivity_of_five_of_five_as_five_patients():
    """With a sensitivity of 1, its lower bound follows the exact bound of five patients."""
    labels = np.repeat([1, 0], [10, 60])
    patients = np.arange(70) // 2
    scores = np.where(labels == 1, 0.9, np.where(np.arange(70) % 6 == 0, 0.8, 0.1))
    tested = of_scores(labels, scores)
    found = estimate_calls(tested, 0.5, draw_patients(patients, labels, 100, seed=0), Statistics())
    bound, specificity = 0.025 ** (1 / 5), found.values["specificity"]
    low, high = found.intervals["balanced_accuracy"]
    assert found.values["sensitivity"] == 1
    expected = np.hypot(1 - bound, specificity - found.intervals["specificity"][0]) / 2
    assert low == pytest.approx((1 + specificity) / 2 - expected)
    assert high == pytest.approx((1 + found.intervals["specificity"][1]) / 2)


def test_patients_with_images_of_both_classes_correlate_sensitivity_and_specificity():
    """Each patient has one image of each class, and both get the same call, so one is right and one is wrong."""
    labels, patients = np.tile([1, 0], 20), np.repeat(np.arange(20), 2)
    scores = np.where(patients < 8, 0.9, 0.1)
    tested = of_scores(labels, scores)
    found = estimate_calls(tested, 0.5, draw_patients(patients, labels, 100, seed=0), Statistics())
    low, high = found.intervals["balanced_accuracy"]
    assert found.values["balanced_accuracy"] == 0.5
    of_sensitivity = found.intervals["sensitivity"][1] - found.intervals["sensitivity"][0]
    assert high - low < 0.1 * of_sensitivity, "the errors cancel"


def test_the_mean_of_seeds_is_moderated_as_each_is(tested, resamples):
    few = replace(tested, labels=np.where(PATIENTS < 4, LABELS, 0))
    drawn = draw_patients(PATIENTS, few.labels, 50, seed=0)
    one = estimate_trial(few, drawn, T)
    assert interval_of_mean([one, one], "auc", T) == pytest.approx(one.intervals["auc"], abs=1e-12)
