import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from stats.resamples import PeopleResamples, draw_people
from stats.within import ratio_and_correctness, spearman_over_images


@st.composite
def studies(draw):
    """(people, labels, scores, ratios): one to four images a person, ties in all, some ratios NaN, often one label."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=9))
    n = sum(sizes)
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))) / 8
    ratios = np.array(draw(st.lists(st.sampled_from([np.nan, 0.5, 1, 1.5, 2]), min_size=n, max_size=n)))
    return np.repeat(np.arange(len(sizes)), sizes), labels, scores, ratios


def repeated_rows(resamples):
    """The explicit index list of every resample."""
    images = np.arange(len(resamples.person_of_image))
    return [np.repeat(images, drawn[resamples.person_of_image]) for drawn in resamples.counts]


def rank_correlation(x, y):
    return spearmanr(x, y).statistic if len(x) > 2 and np.ptp(x) and np.ptp(y) else math.nan


def weighted_mean(parts):
    return sum(value * weight for value, weight in parts) / sum(weight for _, weight in parts) if parts else math.nan


def labels_told(labels, scores, ratios, least):
    """Of positives and negatives, whether enough were called right, and wrong, for a comparison."""
    right = (scores >= 0.5) == labels
    groups = [~np.isnan(ratios) & (labels == label) for label in (1, 0)]
    return [min(right[group].sum(), (~right[group]).sum()) >= least for group in groups]


def plainly(labels, scores, ratios, told):
    """(right, wrong, auc, rho) over all images, either label, and within label, from scikit-learn and SciPy."""
    known = ~np.isnan(ratios)
    found = {}
    for images, group in {"all": known, "positive": known & (labels == 1), "negative": known & (labels == 0)}.items():
        right, of_true_class = (scores >= 0.5) == labels, np.where(labels, scores, 1 - scores)
        both = len(set(right[group])) == 2
        found[images] = (
            right[group].sum(),
            (~right[group]).sum(),
            roc_auc_score(right[group], ratios[group]) if both else math.nan,
            rank_correlation(of_true_class[group], ratios[group]),
        )
    aucs, rhos, counted = [], [], np.zeros(2, dtype=int)
    for (right, wrong, area, rho), enough in zip((found["positive"], found["negative"]), told, strict=True):
        counted += np.multiply((right, wrong), enough)
        if enough and not math.isnan(area):
            aucs.append((area, right * wrong / (right + wrong + 1)))
        if not math.isnan(rho):
            rhos.append((rho, right + wrong - 1))
    found["within label"] = (*counted, weighted_mean(aucs), weighted_mean(rhos))
    return found


@given(studies(), st.integers(1, 3))
def test_estimates_and_resamples_are_those_of_the_rows(study, least):
    people, labels, scores, ratios = study
    resamples = draw_people(people, labels, resamples=6, seed=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stats.within.LEAST", least)
        associations = ratio_and_correctness(labels, scores, 0.5, ratios, resamples)
    told = labels_told(labels, scores, ratios, least)  # on the data: no resample changes what is compared
    assert [found.images for found in associations] == ["all", "positive", "negative", "within label"]
    expected = plainly(labels, scores, ratios, told)
    drawn = [plainly(labels[rows], scores[rows], ratios[rows], told) for rows in repeated_rows(resamples)]
    for found in associations:
        right, wrong, area, rho = expected[found.images]
        assert (found.n_right, found.n_wrong) == (right, wrong)
        assert (found.auc, found.rho) == pytest.approx((area, rho), abs=1e-12, nan_ok=True)
        np.testing.assert_allclose(
            np.stack([found.auc_resampled, found.rho_resampled], axis=1),
            [rows[found.images][2:] for rows in drawn],
            rtol=0,
            atol=1e-12,
        )
    everything, positive, negative, within = associations
    assert everything.n_without_ratio == within.n_without_ratio == np.isnan(ratios).sum()
    assert positive.n_without_ratio + negative.n_without_ratio == np.isnan(ratios).sum()
    assert positive.n_right + positive.n_wrong + positive.n_without_ratio == (labels == 1).sum()


@given(studies(), st.integers(1, 40))
def test_spearman_over_images_is_that_of_the_repeated_rows(study, block):
    people, labels, scores, ratios = study
    ratios = np.nan_to_num(ratios)
    resamples = draw_people(people, labels, resamples=10, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stats.within._BLOCK", block)  # few resamples at once must give what many give
        values = spearman_over_images(scores, ratios, resamples)
    expected = [rank_correlation(scores[rows], ratios[rows]) for rows in repeated_rows(resamples)]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_fewer_than_three_rows_have_no_rank_correlation():
    counts = np.array([[1, 1, 0], [1, 1, 1], [2, 1, 0]])
    values = spearman_over_images([1, 2, 3], [4, 6, 9], PeopleResamples(counts, np.arange(3)))
    np.testing.assert_array_equal(values, [np.nan, 1, 1])


def cohort(rng, n=1200):
    people, labels = np.repeat(np.arange(n), 2), np.repeat(rng.random(n) < 0.3, 2).astype(int)
    return people, labels


def test_a_label_that_moves_score_and_ratio_confounds_all_images_but_not_either_label():
    """A model that errs on positives, whose ratios are lower, but at random among either label."""
    rng = np.random.default_rng(3)
    people, labels = cohort(rng)
    right = rng.random(len(labels)) < np.where(labels, 0.3, 0.9)
    scores = np.where(right == labels, 0.8, 0.2)
    ratios = rng.normal(np.where(labels, 1.0, 2.0), 0.5)
    resamples = draw_people(people, labels, resamples=300, seed=0)
    everything, *either, within = ratio_and_correctness(labels, scores, 0.5, ratios, resamples)
    assert np.quantile(everything.auc_resampled, 0.01) > 0.6 and np.quantile(everything.rho_resampled, 0.01) > 0.2
    for found in (*either, within):
        low, high = np.quantile(found.auc_resampled, [0.005, 0.995])
        assert low < 0.5 < high and high - low < 0.2
        low, high = np.quantile(found.rho_resampled, [0.005, 0.995])
        assert low < 0 < high and high - low < 0.3


def test_a_model_that_is_right_where_it_looks_at_vessels():
    rng = np.random.default_rng(5)
    people, labels = cohort(rng, 300)
    ratios = rng.lognormal(size=len(labels))
    of_true_class = ratios / (1 + ratios)  # the more it looks, the surer it is of what is true
    scores = np.where(labels, of_true_class, 1 - of_true_class)
    ratios[:10] = np.nan
    for found in ratio_and_correctness(labels, scores, 0.5, ratios, draw_people(people, labels, 50, seed=0)):
        assert found.auc == pytest.approx(1) and found.rho == pytest.approx(1)
        np.testing.assert_allclose(found.auc_resampled, 1)
        np.testing.assert_allclose(found.rho_resampled, 1)


def test_one_wrong_call_is_no_comparison():
    """Nine positives right and one wrong, all negatives wrong: the chance would be what that one image makes it."""
    labels, ratios = np.repeat([1, 0], 10), np.append(np.arange(10.0), np.arange(10.0))
    scores = np.where(np.arange(20) == 3, 0.1, 0.9)
    resamples = draw_people(np.arange(20), labels, resamples=20, seed=0)
    *_, within = ratio_and_correctness(labels, scores, 0.5, ratios, resamples)
    assert (within.n_right, within.n_wrong, math.isnan(within.auc)) == (0, 0, True)
    assert np.isnan(within.auc_resampled).all()
    more = np.where(np.arange(20) < 5, 0.1, 0.9)
    *_, within = ratio_and_correctness(labels, more, 0.5, ratios, resamples)
    assert (within.n_right, within.n_wrong, within.auc) == (5, 5, 1)


def test_without_a_single_ratio_everything_is_undefined_and_counted():
    resamples = draw_people(["a", "b", "c"], [0, 1, 1], 20, seed=0)
    for found in ratio_and_correctness([0, 1, 1], [0.1, 0.2, 0.9], 0.5, [np.nan] * 3, resamples):
        assert (found.n_right, found.n_wrong) == (0, 0)
        assert math.isnan(found.auc) and math.isnan(found.rho)
        assert found.auc_resampled.shape == found.rho_resampled.shape == (20,)
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
    resamples = draw_people(["a", "b", "c"], [0, 1, 1], 5, seed=0)
    with pytest.raises(ValueError, match=message):
        ratio_and_correctness(labels, scores, 0.5, ratios, resamples)


def test_two_thousand_resamples_take_seconds_at_most():
    rng = np.random.default_rng(0)
    people, labels = np.repeat(np.arange(1500), 2), np.repeat(np.arange(1500) < 300, 2)
    resamples = draw_people(people, labels, resamples=2_000, seed=0)
    start = time.process_time()
    spearman_over_images(rng.random(3000), rng.random(3000), resamples)
    assert time.process_time() - start < 4  # about 0.25 s; a loop over SciPy takes ten times as long
