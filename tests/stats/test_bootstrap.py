import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from stats.bootstrap import (
    auc_resampled,
    average_precision_resampled,
    mean_resampled,
    patients_mean_resampled,
    ratio_of_sums_resampled,
)
from stats.intervals import percentile_interval
from stats.metrics import auc, f1
from stats.operating import confusion_resampled
from stats.resamples import PatientResamples, draw_patients


@pytest.fixture(scope="module", params=[0, 1], ids=["n60", "n12_with_undefined_resamples"])
def reference(request, shared):
    """A stored bootstrap over single images, with its index lists as the counts of one patient per image."""
    case = json.loads((shared / "fixtures/stats/stats.json").read_text())["bootstrap"][request.param]
    n = len(case["labels"])
    counts = np.stack([np.bincount(drawn, minlength=n) for drawn in case["indices"]])
    return case, PatientResamples(counts, np.arange(n))


@st.composite
def studies(draw):
    """(patients, labels, scores): one to four images a patient, coarse scores, both classes present."""
    patients = np.repeat(
        np.arange(n := draw(st.integers(2, 10))), draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    )
    size = len(patients) - 2
    labels = np.array([0, *draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), 1])
    scores = np.array(draw(st.lists(st.integers(0, 6), min_size=size + 2, max_size=size + 2))) / 6
    return patients, labels, scores


def repeated_rows(resamples):
    """The explicit index list of every resample."""
    images = np.arange(len(resamples.patient_of_image))
    return [np.repeat(images, drawn[resamples.patient_of_image]) for drawn in resamples.counts]


def test_auc_of_the_reference_resamples(reference):
    case, resamples = reference
    values = auc_resampled(case["labels"], case["scores"], resamples)
    np.testing.assert_allclose(values, np.array(case["auc"], dtype=float), rtol=0, atol=1e-12)
    assert np.isnan(values).sum() == case["auc_undefined"]
    assert percentile_interval(values) == pytest.approx(case["auc_percentile95_linear"], abs=1e-12)


def test_f1_of_the_reference_resamples(reference):
    case, resamples = reference
    values = confusion_resampled(case["labels"], np.array(case["scores"]) >= 0.5, resamples).f1
    np.testing.assert_allclose(values, case["f1_ge_0.5"], rtol=0, atol=1e-12)
    assert percentile_interval(values) == pytest.approx(case["f1_percentile95_linear"], abs=1e-12)


@settings(max_examples=settings.default.max_examples // 4)  # ten resamples by scikit-learn each
@given(studies())
def test_counts_give_what_repeated_rows_give(study):
    patients, labels, scores = study
    resamples = draw_patients(patients, labels, resamples=10, seed=4)
    values = np.where(scores < 0.2, np.nan, scores)
    areas = auc_resampled(labels, scores, resamples)
    precisions = average_precision_resampled(labels, scores, resamples)
    harmonic = confusion_resampled(labels, scores >= 0.5, resamples).f1
    means = mean_resampled(values, resamples)
    for rows, area, precision, score, mean in zip(
        repeated_rows(resamples), areas, precisions, harmonic, means, strict=True
    ):
        if len(np.unique(labels[rows])) == 2:
            assert area == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-12)
        else:
            assert math.isnan(area)
        if labels[rows].any():
            assert precision == pytest.approx(average_precision_score(labels[rows], scores[rows]), abs=1e-12)
        else:
            assert math.isnan(precision)
        expected = f1_score(labels[rows], scores[rows] >= 0.5, zero_division=np.nan)
        assert score == pytest.approx(expected, abs=1e-12, nan_ok=True)
        kept = values[rows][~np.isnan(values[rows])]
        assert mean == pytest.approx(kept.mean() if kept.size else np.nan, abs=1e-12, nan_ok=True)


@given(studies())
def test_drawing_everyone_once_gives_the_estimate_itself(study):
    patients, labels, scores = study
    everyone = PatientResamples(np.ones((1, patients.max() + 1), np.uint8), patients)
    assert auc_resampled(labels, scores, everyone)[0] == pytest.approx(auc(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert average_precision_resampled(labels, scores, everyone)[0] == pytest.approx(expected, abs=1e-12)
    assert confusion_resampled(labels, scores >= 0.5, everyone).f1[0] == f1(labels, scores >= 0.5)
    assert mean_resampled(scores, everyone)[0] == pytest.approx(scores.mean(), abs=1e-12)


@given(studies())
def test_resampled_auc_survives_monotone_change_and_complement(study):
    patients, labels, scores = study
    resamples = draw_patients(patients, labels, resamples=20, seed=1)
    values = auc_resampled(labels, scores, resamples)
    np.testing.assert_array_equal(values, auc_resampled(labels, np.exp(2 * scores), resamples))
    np.testing.assert_allclose(values, 1 - auc_resampled(labels, -scores, resamples), rtol=0, atol=1e-12)


@given(studies())
def test_the_order_of_the_images_does_not_matter(study):
    patients, labels, scores = study
    order = np.random.default_rng(8).permutation(len(patients))
    one = draw_patients(patients, labels, resamples=20, seed=1)
    other = draw_patients(patients[order], labels[order], resamples=20, seed=1)
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(
        auc_resampled(labels, scores, one), auc_resampled(labels[order], scores[order], other)
    )
    np.testing.assert_array_equal(
        confusion_resampled(labels, scores > 0.3, one).f1,
        confusion_resampled(labels[order], scores[order] > 0.3, other).f1,
    )


@pytest.mark.parametrize("most", [2, 40, 300, 70_000])
@pytest.mark.parametrize("decimals", [1, 9])
def test_weights_of_any_size_give_what_sample_weights_give(most, decimals):
    """Large counts, and long runs of negatives, exceed the single byte in which small counts are summed."""
    rng = np.random.default_rng(most)
    labels = rng.random(900) < 0.03
    scores = (labels + rng.normal(size=900)).round(decimals)
    resamples = PatientResamples(rng.integers(most + 1, size=(3, 300)), np.arange(900) % 300)
    areas, precisions = (
        of_resamples(labels, scores, resamples) for of_resamples in (auc_resampled, average_precision_resampled)
    )
    for counts, area, precision in zip(resamples.counts, areas, precisions, strict=True):
        weights = counts[resamples.patient_of_image]
        assert area == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
        assert precision == pytest.approx(average_precision_score(labels, scores, sample_weight=weights), abs=1e-12)


def test_two_copies_of_every_image_leave_the_spread_of_the_auc():
    rng = np.random.default_rng(5)
    labels = np.arange(80) < 30
    scores = labels + rng.normal(size=80)
    single = auc_resampled(labels, scores, draw_patients(np.arange(80), labels, resamples=400, seed=3))
    twice = np.repeat(np.arange(80), 2)
    double = auc_resampled(labels[twice], scores[twice], draw_patients(twice, labels[twice], resamples=400, seed=3))
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_the_auc_undefined(label):
    resamples = draw_patients(np.arange(5), np.full(5, label), resamples=60, seed=0)
    values = auc_resampled(np.full(5, label), np.arange(5), resamples)
    assert np.isnan(values).all()
    assert all(math.isnan(bound) for bound in percentile_interval(values))


@given(studies())
def test_ratios_of_sums_and_means_of_patients_are_those_of_the_drawn_rows(study):
    """Row by row: every patient's images as often as drawn; a null in either part leaves the image out."""
    patients, labels, scores = study
    outside = np.where(scores == 0, np.nan, scores)
    inside = np.where(scores == 1, np.nan, 2 * scores + labels)
    resamples = draw_patients(patients, labels, 25, seed=3)
    ids = np.unique(patients)
    ratios, means = ratio_of_sums_resampled(inside, outside, resamples), patients_mean_resampled(inside, resamples)
    for counts, ratio, mean in zip(resamples.counts, ratios, means, strict=True):
        drawn = np.repeat(np.arange(len(ids)), counts)
        rows = [row for patient in drawn for row in np.flatnonzero(patients == ids[patient])]
        both = [row for row in rows if not math.isnan(inside[row] + outside[row])]
        expected = sum(inside[both]) / sum(outside[both]) if both else math.nan
        assert ratio == pytest.approx(expected, nan_ok=True)
        of_patients = [np.nanmean(part) for p in drawn if not np.isnan(part := inside[patients == ids[p]]).all()]
        assert mean == pytest.approx(np.mean(of_patients) if of_patients else math.nan, nan_ok=True)


@pytest.mark.parametrize("label", [0, 1])
def test_average_precision_needs_a_positive(label):
    resamples = draw_patients(np.arange(5), np.full(5, label), resamples=10, seed=0)
    values = average_precision_resampled(np.full(5, label), np.arange(5), resamples)
    np.testing.assert_array_equal(values, 1 if label else np.nan)


def test_patients_without_an_image_left_change_nothing():
    """Images with missing values are left out of `patient_of_image`, but their patients are drawn."""
    rng = np.random.default_rng(9)
    patients, labels, scores = np.repeat(np.arange(40), 3), rng.random(120) < 0.4, rng.normal(size=120)
    resamples = draw_patients(patients, labels, resamples=30, seed=0)
    kept = (patients % 5 > 0) & (rng.random(120) < 0.7)
    of_kept = PatientResamples(resamples.counts, patients[kept])
    values = auc_resampled(labels[kept], scores[kept], of_kept)
    expected = [roc_auc_score(labels[kept][rows], scores[kept][rows]) for rows in repeated_rows(of_kept)]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_a_mean_of_nulls_alone_is_undefined():
    resamples = draw_patients(["a", "b"], [0, 0], resamples=200, seed=0)
    values = mean_resampled([np.nan, 3.0], resamples)
    only_a = resamples.counts[:, 1] == 0
    assert only_a.any()
    np.testing.assert_array_equal(values, np.where(only_a, np.nan, 3.0))


def test_many_patients_are_summed_as_few_are():
    rng = np.random.default_rng(6)
    values = rng.lognormal(size=700)
    resamples = draw_patients(np.arange(700), np.zeros(700), resamples=300, seed=0)
    expected = resamples.counts.astype(float) @ values / 700
    np.testing.assert_allclose(mean_resampled(values, resamples), expected, rtol=1e-12)


def test_other_images_than_those_resampled_are_refused():
    resamples = draw_patients(["a", "b", "c"], [0, 1, 1], resamples=5, seed=0)
    for call in (
        lambda: auc_resampled([0, 1], [0.1, 0.2], resamples),
        lambda: average_precision_resampled([0, 1], [0.1, 0.2], resamples),
        lambda: confusion_resampled([0, 1], [0, 1], resamples).f1,
        lambda: mean_resampled([1.0, 2.0], resamples),
    ):
        with pytest.raises(ValueError, match="resampled_images has 3"):
            call()


def test_ten_thousand_resamples_are_a_matter_of_seconds():
    rng = np.random.default_rng(0)
    patients, labels = np.repeat(np.arange(1500), 2), np.repeat(np.arange(1500) < 300, 2)
    start = time.process_time()
    resamples = draw_patients(patients, labels, resamples=10_000, seed=0)
    auc_resampled(labels, labels + rng.normal(size=3000), resamples)
    assert time.process_time() - start < 10  # about 0.2 s; a loop over scikit-learn takes 40 s
