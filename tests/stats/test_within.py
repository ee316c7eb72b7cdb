import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from stats.resamples import PatientResamples, draw_patients
from stats.within import ratio_and_correctness, spearman_over_images


@st.composite
def studies(draw):
    """(patients, labels, scores, ratios): one to four images each, ties in all, some ratios NaN, often one label."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=9))
    n = sum(sizes)
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))) / 8
    ratios = np.array(draw(st.lists(st.sampled_from([np.nan, 0.5, 1, 1.5, 2]), min_size=n, max_size=n)))
    return np.repeat(np.arange(len(sizes)), sizes), labels, scores, ratios


def repeated_rows(resamples):
    """The explicit index list of every resample."""
    images = np.arange(len(resamples.patient_of_image))
    return [np.repeat(images, drawn[resamples.patient_of_image]) for drawn in resamples.counts]


def rank_correlation(x, y):
    return spearmanr(x, y).statistic if len(x) > 2 and np.ptp(x) and np.ptp(y) else math.nan


def weighted_mean(parts):
    return sum(value * weight for value, weight in parts) / sum(weight for _, weight in parts) if parts else math.nan


def labels_with_enough_images(labels, scores, ratios, least):
    """For positives and negatives, whether enough images were called correctly and wrongly for a comparison."""
    right = (scores >= 0.5) == labels
    groups = [~np.isnan(ratios) & (labels == label) for label in (1, 0)]
    return [min(right[group].sum(), (~right[group]).sum()) >= least for group in groups]


def plainly(labels, scores, ratios, enough_images):
    """(right, wrong, auc, rho, score rho) of each label and within label, from scikit-learn and SciPy."""
    known, right = ~np.isnan(ratios), (scores >= 0.5) == labels
    found, aucs, rhos, score_rhos, counted = {}, [], [], [], np.zeros(2, dtype=int)
    for (images, label), enough in zip({"positive": 1, "negative": 0}.items(), enough_images, strict=True):
        group = known & (labels == label)
        n_right, n_wrong = right[group].sum(), (~right[group]).sum()
        area = roc_auc_score(right[group], ratios[group]) if enough and n_right and n_wrong else math.nan
        score_rho = rank_correlation(scores[group], ratios[group])
        rho = rank_correlation(scores[group] if label else 1 - scores[group], ratios[group])
        found[images] = (n_right, n_wrong, area, rho, score_rho)
        counted += np.multiply((n_right, n_wrong), enough)
        if not math.isnan(area):
            aucs.append((area, n_right * n_wrong / (n_right + n_wrong + 1)))
        if not math.isnan(rho):
            rhos.append((rho, n_right + n_wrong - 1))
            score_rhos.append((score_rho, n_right + n_wrong - 1))
    found["within label"] = (*counted, weighted_mean(aucs), weighted_mean(rhos), weighted_mean(score_rhos))
    return found


@given(studies(), st.integers(1, 3))
def test_estimates_and_resamples_are_those_of_the_rows(study, least):
    patients, labels, scores, ratios = study
    resamples = draw_patients(patients, labels, resamples=6, seed=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stats.within.LEAST", least)
        associations = ratio_and_correctness(labels, scores, 0.5, ratios, resamples)
    enough = labels_with_enough_images(labels, scores, ratios, least)  # decided on the data, not in each resample
    assert [found.images for found in associations] == ["positive", "negative", "within label"]
    expected = plainly(labels, scores, ratios, enough)
    drawn = [plainly(labels[rows], scores[rows], ratios[rows], enough) for rows in repeated_rows(resamples)]
    for found in associations:
        right, wrong, *values = expected[found.images]
        assert (found.n_right, found.n_wrong) == (right, wrong)
        assert [found.auc, found.rho, found.score_rho] == pytest.approx(values, abs=1e-12, nan_ok=True)
        np.testing.assert_allclose(
            np.stack([found.auc_resampled, found.rho_resampled, found.score_rho_resampled], axis=1),
            [rows[found.images][2:] for rows in drawn],
            rtol=0,
            atol=1e-12,
        )
    positive, negative, within = associations
    assert positive.n_without_ratio + negative.n_without_ratio == within.n_without_ratio == np.isnan(ratios).sum()
    assert positive.n_right + positive.n_wrong + positive.n_without_ratio == (labels == 1).sum()


@given(studies(), st.integers(1, 40))
def test_spearman_over_images_is_that_of_the_repeated_rows(study, block):
    patients, labels, scores, ratios = study
    ratios = np.nan_to_num(ratios)
    resamples = draw_patients(patients, labels, resamples=10, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stats.within._BLOCK", block)  # few resamples at once must give what many give
        values = spearman_over_images(scores, ratios, resamples)
    expected = [rank_correlation(scores[rows], ratios[rows]) for rows in repeated_rows(resamples)]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_fewer_than_three_rows_have_no_rank_correlation():
    counts = np.array([[1, 1, 0], [1, 1, 1], [2, 1, 0]])
    values = spearman_over_images([1, 2, 3], [4, 6, 9], PatientResamples(counts, np.arange(3)))
    np.testing.assert_array_equal(values, [np.nan, 1, 1])


def cohort(rng, n=1200):
    patients, labels = np.repeat(np.arange(n), 2), np.repeat(rng.random(n) < 0.3, 2).astype(int)
    return patients, labels


def test_a_label_that_moves_score_and_ratio_confounds_neither_label():
    """A model with more errors on positives, whose ratios are lower, but with random errors within each label."""
    rng = np.random.default_rng(3)
    patients, labels = cohort(rng)
    right = rng.random(len(labels)) < np.where(labels, 0.3, 0.9)
    scores = np.where(right == labels, 0.8, 0.2)
    ratios = rng.normal(np.where(labels, 1.0, 2.0), 0.5)
    assert spearmanr(scores, ratios).statistic < -0.05, "over all images the label confounds"
    resamples = draw_patients(patients, labels, resamples=300, seed=0)
    for found in ratio_and_correctness(labels, scores, 0.5, ratios, resamples):
        low, high = np.quantile(found.auc_resampled, [0.005, 0.995])
        assert low < 0.5 < high and high - low < 0.2
        for correlations in (found.rho_resampled, found.score_rho_resampled):
            low, high = np.quantile(correlations, [0.005, 0.995])
            assert low < 0 < high and high - low < 0.3


@pytest.mark.parametrize(("explained", "sign"), [(1, 1), (0, -1)])
def test_a_ratio_that_goes_with_the_score_cancels_in_the_mean_over_labels(explained, sign):
    """Maps of class 1 whose ratio increases with the score, or of class 0 whose ratio decreases with it.

    Correct calls have high scores among positives and low scores among negatives. The AUCs of the labels are therefore
    0.97 and 0.03, and their mean of 0.5 hides a nearly perfect association. The correlation with the score shows it.
    """
    rng = np.random.default_rng(11)
    patients, labels = np.repeat(np.arange(600), 2), np.repeat(np.arange(600) % 2, 2)
    logits = 0.5 * (2 * labels - 1) + rng.normal(size=1200)
    ratios = np.exp(sign * 0.4 * (logits + 0.35 * rng.normal(size=1200)))
    scores = 1 / (1 + np.exp(-logits))
    positive, negative, within = ratio_and_correctness(
        labels, scores, 0.5, ratios, draw_patients(patients, labels, 50, seed=0)
    )
    high, low = (positive, negative) if explained else (negative, positive)
    assert high.auc == pytest.approx(0.97, abs=0.015) and low.auc == pytest.approx(0.03, abs=0.015)
    assert within.auc == pytest.approx(0.5, abs=0.02) and abs(within.rho) < 0.03
    for found in (positive, negative, within):
        assert sign * found.score_rho > 0.9 and (sign * found.score_rho_resampled > 0.9).all()


def test_a_model_that_is_right_where_it_looks_at_vessels():
    rng = np.random.default_rng(5)
    patients, labels = cohort(rng, 300)
    ratios = rng.lognormal(size=len(labels))
    of_true_class = ratios / (1 + ratios)  # the probability of the true class increases with the ratio
    scores = np.where(labels, of_true_class, 1 - of_true_class)
    ratios[:10] = np.nan
    found = ratio_and_correctness(labels, scores, 0.5, ratios, draw_patients(patients, labels, 50, seed=0))
    assert [of_label.score_rho for of_label in found[:2]] == pytest.approx([1, -1])
    for of_images in found:
        assert of_images.auc == pytest.approx(1) and of_images.rho == pytest.approx(1)
        np.testing.assert_allclose(of_images.auc_resampled, 1)
        np.testing.assert_allclose(of_images.rho_resampled, 1)


def test_one_wrong_call_is_not_enough_for_a_comparison():
    """Nine positives right and one wrong, all negatives wrong: the AUC would depend on one image."""
    labels, ratios = np.repeat([1, 0], 10), np.append(np.arange(10.0), np.arange(10.0))
    scores = np.where(np.arange(20) == 3, 0.1, 0.9)
    resamples = draw_patients(np.arange(20), labels, resamples=20, seed=0)
    positive, negative, within = ratio_and_correctness(labels, scores, 0.5, ratios, resamples)
    assert (within.n_right, within.n_wrong, math.isnan(within.auc)) == (0, 0, True)
    counts = [(label.n_right, label.n_wrong) for label in (positive, negative)]
    assert counts == [(9, 1), (0, 10)] and math.isnan(positive.auc), "counted, but not compared"
    assert np.isnan(within.auc_resampled).all()
    more = np.where(np.arange(20) < 5, 0.1, 0.9)
    *_, within = ratio_and_correctness(labels, more, 0.5, ratios, resamples)
    assert (within.n_right, within.n_wrong, within.auc) == (5, 5, 1)


def test_without_a_single_ratio_everything_is_undefined_and_counted():
    resamples = draw_patients(["a", "b", "c"], [0, 1, 1], 20, seed=0)
    for found in ratio_and_correctness([0, 1, 1], [0.1, 0.2, 0.9], 0.5, [np.nan] * 3, resamples):
        assert (found.n_right, found.n_wrong) == (0, 0)
        assert math.isnan(found.auc) and math.isnan(found.rho) and math.isnan(found.score_rho)
        assert found.auc_resampled.shape == found.rho_resampled.shape == found.score_rho_resampled.shape == (20,)
        assert np.isnan(found.auc_resampled).all() and np.isnan(found.rho_resampled).all()


@pytest.mark.parametrize(
    ("labels", "scores", "ratios", "message"),
    [
        ([0, 2, 1], [0.1, 0.2, 0.3], [1, 1, 1], "labels must be 0 or 1"),
        ([0, 1, 1], [0.1, np.nan, 0.3], [1, 1, 1], "scores has NaN at position 1"),
        ([0, 1, 1], [0.1, 0.2, 3], [1, 1, 1], "scores must be probabilities .* found 3.0 at position 2"),
        ([0, 1, 1], [0.1, 0.2, 0.3], [1, np.inf, 1], "ratios is infinite at position 1"),
        ([0, 1], [0.1, 0.2], [1, 1], "resampled_images has 3"),
    ],
)
def test_what_cannot_be_compared_is_refused(labels, scores, ratios, message):
    resamples = draw_patients(["a", "b", "c"], [0, 1, 1], 5, seed=0)
    with pytest.raises(ValueError, match=message):
        ratio_and_correctness(labels, scores, 0.5, ratios, resamples)


def test_two_thousand_resamples_take_seconds_at_most():
    rng = np.random.default_rng(0)
    patients, labels = np.repeat(np.arange(1500), 2), np.repeat(np.arange(1500) < 300, 2)
    resamples = draw_patients(patients, labels, resamples=2_000, seed=0)
    start = time.process_time()
    spearman_over_images(rng.random(3000), rng.random(3000), resamples)
    assert time.process_time() - start < 4  # about 0.25 s; a loop over SciPy takes ten times as long
