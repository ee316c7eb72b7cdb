import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import brunnermunzel, norm
from scipy.stats import t as student_t
from sklearn.metrics import roc_auc_score

from stats.bootstrap import auc_resampled
from stats.delong import AucDifference, CorrelatedAucs, delong, delong_test
from stats.metrics import auc
from stats.resamples import draw_patients


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["n60", "n400", "n3000"])
def reference(request, shared):
    case = json.loads((shared / "fixtures/stats/stats.json").read_text())["score_sets"][request.param]
    return np.array(list(case["labels"]), dtype=int), case["scores_a"], case["scores_b"], case["delong"]


@st.composite
def studies(draw):
    """(patients, labels, scores of two models): one to three images a patient, coarse scores, both classes present."""
    n = draw(st.integers(4, 10))
    patients = np.repeat(np.arange(n), draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)))
    size = len(patients)
    labels = np.array([0, 0, *draw(st.lists(st.integers(0, 1), min_size=size - 4, max_size=size - 4)), 1, 1])
    a, b = (np.array(draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))) / 5 for _ in range(2))
    return patients, labels, a, b


def obuchowski(patients, labels, scores):
    """The explicit clustered covariance: over all pairs of images, one patient after another."""

    def sums(row):
        wins = np.array([[(x > y) + (x == y) / 2 for y in row[labels == 0]] for x in row[labels == 1]])
        area = wins.mean()
        positives, negatives = patients[labels == 1], patients[labels == 0]
        return np.array(
            [
                (
                    (wins.mean(axis=1)[positives == patient] - area).sum(),
                    (wins.mean(axis=0)[negatives == patient] - area).sum(),
                )
                for patient in np.unique(patients)
            ]
        ).T

    m, n = (labels == 1).sum(), (labels == 0).sum()
    i10, i01 = (len(np.unique(patients[labels == label])) for label in (1, 0))
    i = len(np.unique(patients))
    covariance = np.full((len(scores), len(scores)), np.nan)
    if min(i10, i01) < 2:
        return covariance
    parts = [sums(row) for row in scores]
    for r, (x_r, y_r) in enumerate(parts):
        for s, (x_s, y_s) in enumerate(parts):
            s10 = i10 / ((i10 - 1) * m) * (x_r @ x_s)
            s01 = i01 / ((i01 - 1) * n) * (y_r @ y_s)
            s11 = i / (i - 1) * (x_r @ y_s + y_r @ x_s)
            covariance[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return covariance


def correlated_study(rng, n_patients, n_models=1, labels_of_patients=True):
    """(patients, labels, scores (n_models, n)): two images a patient that share most of their score."""
    patients = np.repeat(np.arange(n_patients), 2)
    labels = (patients if labels_of_patients else np.arange(2 * n_patients)) % 3 == 0
    of_patients, of_images = rng.normal(size=(n_models, n_patients)), rng.normal(size=(n_models, 2 * n_patients))
    return patients, labels, labels + of_patients[:, patients] + 0.5 * of_images


def test_areas_and_covariance_of_the_reference_sets(reference):
    labels, a, b, expected = reference
    result = delong(labels, [a, b])
    assert result.areas == pytest.approx([expected["auc_a"], expected["auc_b"]], abs=1e-12)
    covariance = [[expected["var_a"], expected["cov_ab"]], [expected["cov_ab"], expected["var_b"]]]
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-10, atol=0)
    np.testing.assert_allclose(result.wald_intervals(), [expected["wald95_a"], expected["wald95_b"]], rtol=1e-10)
    np.testing.assert_allclose(result.logit_intervals(), [expected["logit95_a"], expected["logit95_b"]], rtol=1e-10)


def test_tests_of_the_reference_sets(reference):
    labels, a, b, expected = reference
    result = delong_test(labels, a, b)
    assert result.difference == pytest.approx(expected["diff"], abs=1e-12)
    assert result.variance == pytest.approx(expected["var_diff"], rel=1e-10)
    assert result.z == pytest.approx(expected["z"], rel=1e-10)
    assert result.p_value_normal == pytest.approx(expected["p_two_sided"], abs=1e-9)


@given(studies())
def test_patients_with_several_images_are_those_of_the_written_out_formula(study):
    patients, labels, *scores = study
    result = delong(labels, scores, patients)
    np.testing.assert_allclose(result.areas, [roc_auc_score(labels, row) for row in scores], rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.covariance, obuchowski(patients, labels, scores), rtol=1e-10, atol=1e-14)


@given(studies())
def test_one_image_a_patient_is_delongs_own(study):
    _, labels, *scores = study
    named = delong(labels, scores, [f"patient {i}" for i in range(len(labels))])
    np.testing.assert_allclose(named.covariance, delong(labels, scores).covariance, rtol=1e-10, atol=1e-15)
    positive, negative = (np.array(scores)[:, labels == label] for label in (1, 0))
    wins = (np.sign(positive[:, :, np.newaxis] - negative[:, np.newaxis]) + 1) / 2
    expected = np.cov(wins.mean(axis=2)) / positive.shape[1] + np.cov(wins.mean(axis=1)) / negative.shape[1]
    np.testing.assert_allclose(named.covariance, expected, rtol=1e-10, atol=1e-14)


@given(studies())
def test_one_image_a_patient_has_the_degrees_of_freedom_of_brunner_and_munzel(study):
    _, labels, scores, _ = study
    result = delong(labels, [scores])
    variance, (freedom,) = result.covariance[0, 0], result.degrees_of_freedom
    if variance < 1e-12:
        assert math.isnan(freedom)
    else:
        expected = brunnermunzel(scores[labels == 0], scores[labels == 1], distribution="t").pvalue
        z = (result.areas[0] - 0.5) / math.sqrt(variance)
        assert 2 * student_t.sf(abs(z), freedom) == pytest.approx(expected, abs=1e-9)


@given(studies())
def test_degrees_of_freedom_are_at_most_those_of_the_patients(study):
    patients, labels, *scores = study
    result = delong(labels, scores, patients)
    known = ~np.isnan(result.degrees_of_freedom)
    assert (result.degrees_of_freedom[known] <= len(np.unique(patients)) - 1).all()
    np.testing.assert_array_equal(known, np.diag(result.covariance) > 0)


@given(studies())
def test_order_monotone_change_and_exchange_leave_the_test_alone(study):
    patients, labels, a, b = study
    result = delong_test(labels, a, b, patients)
    order = np.random.default_rng(1).permutation(len(labels))

    def same(other: AucDifference, sign=1):
        assert (sign * other.difference, other.p_value_normal) == pytest.approx(
            (result.difference, result.p_value_normal), abs=1e-9, nan_ok=True
        )
        assert other.variance == pytest.approx(result.variance, rel=1e-9, abs=1e-15, nan_ok=True)

    same(delong_test(labels[order], a[order], b[order], patients[order]))
    same(delong_test(labels, np.exp(a), 3 * b - 7, patients))
    same(delong_test(labels, b, a, patients), sign=-1)
    same(delong_test(1 - labels, a, b, patients), sign=-1)
    covariance = delong(labels, [a, b], patients).covariance
    assert result.variance == pytest.approx(np.array([1, -1]) @ covariance @ [1, -1], abs=1e-14, nan_ok=True)
    assert not (np.diag(covariance) < 0).any()


def test_a_copy_of_every_image_adds_no_information():
    rng = np.random.default_rng(2)
    labels = np.arange(50) % 3 == 0
    scores = labels + rng.normal(size=(2, 50))
    once, patients = delong(labels, scores), np.tile(np.arange(50), 2)
    copied = delong(np.tile(labels, 2), np.tile(scores, 2), patients)
    np.testing.assert_allclose(copied.covariance, once.covariance, rtol=1e-12)
    as_if_independent = delong(np.tile(labels, 2), np.tile(scores, 2)).covariance
    np.testing.assert_allclose(as_if_independent, once.covariance / 2, rtol=0.05)


@pytest.mark.parametrize(("labels_of_patients", "naive_share"), [(True, (0, 0.7)), (False, (1.15, 2))])
def test_the_clustered_variance_is_that_of_new_patients(labels_of_patients, naive_share):
    """Images of a patient with one label carry less information than independent images; with two labels, more."""
    # Unrelated models on the same labels are equivalent to separate studies, each with its own scores.
    patients, labels, scores = correlated_study(np.random.default_rng(3), 60, 1500, labels_of_patients)
    clustered = delong(labels, scores, patients)
    actual = clustered.areas.var()
    assert np.diag(clustered.covariance).mean() == pytest.approx(actual, rel=0.1)
    naive = np.diag(delong(labels, scores).covariance).mean()
    assert naive_share[0] < naive / actual < naive_share[1]


def test_the_clustered_variance_is_that_of_the_bootstrap_over_patients():
    patients, labels, scores = correlated_study(np.random.default_rng(4), 300)
    values = auc_resampled(labels, scores[0], draw_patients(patients, labels, resamples=4000, seed=0))
    assert delong(labels, scores, patients).covariance[0, 0] == pytest.approx(values.var(), rel=0.08)


def test_the_p_value_of_equal_models_is_uniform():
    rng = np.random.default_rng(5)
    labels = np.arange(150) % 3 == 0
    p_values = [
        delong_test(labels, *(labels + rng.normal(size=150) + rng.normal(size=(2, 150)))).p_value_normal
        for _ in range(300)
    ]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_models_that_rank_alike_do_not_differ():
    patients, labels, scores = correlated_study(np.random.default_rng(6), 40)
    result = delong_test(labels, scores[0], np.exp(scores[0]), patients)
    assert (result.difference, result.variance, result.z, result.p_value_normal, result.p_value) == (0, 0, 0, 1, 1)
    assert result.t_interval() == (0, 0)


def test_a_difference_without_variance_is_not_tested():
    result = delong_test([0, 0, 1, 1], [1, 2, 3, 4], [5, 5, 5, 5])
    assert (result.difference, result.variance) == (0.5, 0.0)
    assert math.isnan(result.z)
    assert math.isnan(result.p_value_normal)
    assert math.isnan(result.p_value)
    assert np.isnan(result.t_interval()).all()


@pytest.mark.parametrize("labels_of_patients", [True, False])
def test_the_interval_of_a_difference_holds_0_where_its_p_value_is_large(labels_of_patients):
    patients, labels, scores = correlated_study(np.random.default_rng(9), 15, 200, labels_of_patients)
    for a, b in zip(scores[::2], scores[1::2] + 0.7 * labels, strict=True):
        result = delong_test(labels, a, b, patients)
        low, high = result.t_interval(0.9)
        assert (low <= 0 <= high) == (result.p_value > 0.1)
        assert result.p_value >= result.p_value_normal
        assert (low + high) / 2 == pytest.approx(result.difference)


@pytest.mark.parametrize(("scores", "area"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0)])
def test_an_area_at_the_end_of_its_range_has_no_logit_interval(scores, area):
    result = delong([0, 0, 1, 1], [scores, [1, 3, 2, 4]])
    np.testing.assert_array_equal(result.wald_intervals()[0], [area, area])
    with np.errstate(all="raise"):
        both = result.logit_intervals(), result.logit_t_intervals()
    for intervals in both:
        assert np.isnan(intervals[0]).all()
        assert np.isfinite(intervals[1]).all()


def test_intervals_by_hand():
    aucs = CorrelatedAucs(np.array([0.8]), np.array([[0.01]]), np.array([7.0]))
    z = norm.ppf(0.95)
    assert aucs.wald_intervals(0.9)[0] == pytest.approx([0.8 - 0.1 * z, 0.8 + 0.1 * z], abs=1e-12)
    odds = 4 * np.exp(np.array([-1, 1]) * z * 0.1 / 0.16)
    assert aucs.logit_intervals(0.9)[0] == pytest.approx(odds / (1 + odds), abs=1e-12)
    odds = 4 * np.exp(np.array([-1, 1]) * student_t.ppf(0.95, 7) * 0.1 / 0.16)
    assert aucs.logit_t_intervals(0.9)[0] == pytest.approx(odds / (1 + odds), abs=1e-12)


def test_with_many_patients_students_t_is_normal():
    labels = np.arange(20_000) % 2 == 0
    result = delong(labels, [labels + np.random.default_rng(8).normal(size=20_000)])
    np.testing.assert_allclose(result.logit_t_intervals(), result.logit_intervals(), atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "patients", "area_known"),
    [
        ([0, 0, 0, 0], None, False),
        ([1, 1, 1, 1], None, False),
        ([0, 0, 0, 1], None, True),
        ([1, 1, 0, 1], None, True),
        ([0, 0, 1, 1], ["ann", "bob", "eve", "eve"], True),
        ([0, 1, 0, 1], ["ann", "ann", "ann", "ann"], True),
    ],
)
def test_too_few_patients_leave_the_variance_undefined(labels, patients, area_known):
    scores = [0.1, 0.4, 0.2, 0.3]
    result = delong(labels, [scores], patients)
    assert np.isnan(result.covariance).all()
    np.testing.assert_equal(result.areas[0], auc(labels, scores))
    assert math.isfinite(result.areas[0]) == area_known
    assert math.isnan(delong_test(labels, scores, scores, patients).p_value_normal)


@pytest.mark.parametrize(
    ("labels", "scores", "patients", "message"),
    [
        ([0, 1, 2], [[1, 2, 3]], None, "found 2 at position 2"),
        ([0, 1, 1], [[1, 2, 3], [1, np.nan, 3]], None, r"scores\[1\] has NaN at position 1"),
        ([0, 1, 1], [[1, 2, 3], [1, 2]], None, r"scores\[1\] has 2"),
        ([0, 1, 1], [1, 2, 3], None, r"scores\[0\] must be a non-empty one-dimensional array"),
        ([0, 1, 1], [[1, 2, 3]], ["ann", "bob"], "patients has 2"),
        ([0, 1, 1], [[1, 2, 3]], ["ann", None, "bob"], "no id at position 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels, scores, patients, message):
    with pytest.raises(ValueError, match=message):
        delong(labels, scores, patients)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(confidence):
    result = delong([0, 1, 0, 1], [[1, 2, 3, 4]])
    difference = delong_test([0, 1, 0, 1], [1, 2, 3, 4], [1, 3, 2, 4])
    for intervals in (
        result.wald_intervals,
        result.logit_intervals,
        result.logit_t_intervals,
        difference.t_interval,
    ):
        with pytest.raises(ValueError, match="between 0 and 1"):
            intervals(confidence)


def test_nine_models_on_many_images_are_a_matter_of_a_second():
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(50_000), 2)
    start = time.process_time()
    delong(patients % 4 == 0, rng.normal(size=(9, 100_000)), patients)
    assert time.process_time() - start < 5  # about 0.4 s; all pairs would be 17 billion comparisons


@given(studies(), st.floats(0.01, 0.3), st.floats(0.02, 0.4))
def test_two_areas_are_equivalent_where_their_interval_lies_within_the_margin(study, margin, alpha):
    """The interval of confidence 1 - 2 alpha, as two one-sided tests have it (Schuirmann 1987)."""
    patients, labels, a, b = study
    test = delong_test(labels, a, b, patients)
    p_value = test.equivalence_p_value(margin)
    if not test.variance > 0:
        assert p_value == 0 if test.difference == 0 == test.variance else math.isnan(p_value)
        return
    low, high = test.t_interval(1 - 2 * alpha)
    assert abs(p_value - alpha) < 1e-9 or (p_value <= alpha) == (-margin < low <= high < margin)
    sides = [(test.difference - side * margin) / math.sqrt(test.variance) for side in (-1, 1)]
    one_sided = max(student_t.sf(sides[0], test.degrees_of_freedom), student_t.cdf(sides[1], test.degrees_of_freedom))
    assert p_value == pytest.approx(one_sided, rel=1e-9)


def test_models_that_rank_alike_are_equivalent_within_any_margin():
    test = delong_test([0, 1, 0, 1, 1], [0.1, 0.4, 0.5, 0.8, 0.9], [1, 4, 5, 8, 9])
    assert test.equivalence_p_value(0.001) == 0


@pytest.mark.parametrize("margin", [0, -0.1, math.nan])
def test_a_margin_is_above_0(margin):
    test = delong_test([0, 1, 0, 1, 1], [0.1, 0.4, 0.5, 0.8, 0.9], [1, 4, 5, 8, 9])
    with pytest.raises(ValueError, match="margin must be above 0"):
        test.equivalence_p_value(margin)
