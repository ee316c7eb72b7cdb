"""Scores of patients, compared with R (aggregate in three steps, pROC's AUC) and with plain loops over images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from stats.combine import image_weights, patient_labels, patient_max, patient_mean
from stats.delong import delong, delong_test

# 60 images of 17 patients with up to three visits and three eyes ("unknown" is one), and the scores of two models.
IMAGE = np.arange(60)
PATIENTS = IMAGE * 7 % 17
VISITS = IMAGE * 5 % 3
EYES = np.array(["left", "right", None], dtype=object)[(IMAGE * 11 + IMAGE // 4) % 3]
SCORES = IMAGE * 37 % 101 / 101
OTHER = IMAGE * 59 % 97 / 97
LABELS = PATIENTS % 2
# R 4.2, for s in score, other:
#   a <- aggregate(s, list(eye, visit, patient), mean); b <- aggregate(a$x, list(visit, patient), mean)
#   m <- aggregate(b$x, list(patient), mean)
OF_R = [
    0.341584158415842, 0.33993399339934, 0.557755775577558, 0.722772277227723, 0.440594059405941, 0.438943894389439,
    0.656765676567657, 0.541254125412541, 0.53960396039604, 0.257425742574257, 0.422442244224422, 0.64026402640264,
    0.524752475247525, 0.356435643564356, 0.574257425742574, 0.405940594059406, 0.623762376237624,
]  # fmt: skip
# pROC 1.18: roc(label, m, direction = "<"), var(), roc.test(method = "delong", paired = TRUE); MAX: aggregate(…, max)
AUC, AUC_OTHER, AUC_MAX = 0.361111111111111, 0.444444444444444, 0.416666666666667
VARIANCE, VARIANCE_MAX = 0.0238370811287478, 0.0231068121693122
Z, P_VALUE = -0.445186604536601, 0.656184906394303

IDS = st.integers(0, 4)
IMAGES = st.lists(
    st.tuples(IDS, st.sampled_from(["1", "2", None]), st.sampled_from(["left", "right", None]), st.floats(0, 1)),
    min_size=1,
    max_size=30,
)


def columns(images):
    patients, visits, eyes, scores = (list(column) for column in zip(*images, strict=True))
    return scores, patients, visits, eyes


def by_loops(scores, patients, visits, eyes):
    """The mean of a patient, step by step over dictionaries."""
    means = {}
    for patient in sorted(set(patients)):
        of_visits = {}
        for score, whose, visit, eye in zip(scores, patients, visits, eyes, strict=True):
            if whose == patient:
                of_visits.setdefault(visit, {}).setdefault(eye, []).append(score)
        means[patient] = np.mean([np.mean([np.mean(each) for each in eye.values()]) for eye in of_visits.values()])
    return list(means.values())


def test_means_and_their_aucs_are_those_of_r():
    means, other = (patient_mean(scores, PATIENTS, VISITS, EYES) for scores in (SCORES, OTHER))
    labels, highest = patient_labels(LABELS, PATIENTS), patient_max(SCORES, PATIENTS)
    assert means == pytest.approx(OF_R, abs=1e-14)
    for scores, area in ((means, AUC), (other, AUC_OTHER), (highest, AUC_MAX)):
        assert delong(labels, [scores]).areas[0] == pytest.approx(area, abs=1e-14)
        assert roc_auc_score(labels, scores) == pytest.approx(area, abs=1e-14)
    assert delong(labels, [means, highest]).covariance.diagonal() == pytest.approx([VARIANCE, VARIANCE_MAX], abs=1e-14)
    test = delong_test(labels, means, other)
    assert (test.z, test.p_value_normal) == pytest.approx((Z, P_VALUE), abs=1e-13)


def test_five_photographs_of_one_eye_count_as_one_eye():
    scores, eyes = [0.1, 0.1, 0.1, 0.1, 0.1, 0.9], ["left"] * 5 + ["right"]
    assert patient_mean(scores, ["a"] * 6, None, eyes) == pytest.approx(0.5, abs=1e-15)
    assert patient_mean(scores, ["a"] * 6) == pytest.approx(1.4 / 6, abs=1e-15)


def test_a_visit_with_many_images_counts_as_one_visit():
    visits = ["2020-01-01"] * 4 + ["2021-01-01"]
    weights = image_weights(["a"] * 5, visits, ["left", "left", "left", "right", "right"])
    assert weights == pytest.approx([1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2], abs=1e-15)


def test_images_of_unknown_eyes_are_one_eye_of_their_own():
    weights = image_weights(["a"] * 4, None, ["left", "right", None, None])
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 6, 1 / 6], abs=1e-15)
    assert image_weights(["a"] * 2, ["1", None], None) == pytest.approx([0.5, 0.5], abs=1e-15)
    assert image_weights(["a"] * 2, None, [np.nan, "left"]) == pytest.approx([0.5, 0.5], abs=1e-15)


@given(IMAGES)
def test_means_are_those_of_loops_and_weights_add_up(images):
    scores, patients, visits, eyes = columns(images)
    assert patient_mean(scores, patients, visits, eyes) == pytest.approx(
        by_loops(scores, patients, visits, eyes), abs=1e-12
    )
    weights = image_weights(patients, visits, eyes)
    assert np.bincount(np.unique(patients, return_inverse=True)[1], weights=weights) == pytest.approx(1, abs=1e-12)
    assert patient_max(scores, patients).tolist() == [
        max(score for score, whose in zip(scores, patients, strict=True) if whose == patient)
        for patient in sorted(set(patients))
    ]


@given(IMAGES, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_to_the_last_digit(images, random):
    shuffled = random.sample(images, len(images))
    (scores, *groups), (other_scores, *other_groups) = columns(images), columns(shuffled)
    assert patient_mean(scores, *groups).tolist() == patient_mean(other_scores, *other_groups).tolist()
    assert patient_max(scores, groups[0]).tolist() == patient_max(other_scores, other_groups[0]).tolist()


@given(IMAGES, st.floats(0, 1))
def test_equal_scores_are_kept_exactly(images, score):
    """A model that gives every image the same score must not rank patients by rounding errors."""
    _, patients, visits, eyes = columns(images)
    assert set(patient_mean([score] * len(patients), patients, visits, eyes).tolist()) == {score}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20))
def test_with_one_image_per_patient_nothing_changes(images):
    scores, labels = (list(column) for column in zip(*images, strict=True))
    patients = [f"p{place:02}" for place in range(len(scores))]
    assert patient_mean(scores, patients, ["1"] * len(scores), [None] * len(scores)).tolist() == scores
    assert patient_max(scores, patients).tolist() == scores
    assert patient_labels(labels, patients).tolist() == [int(label) for label in labels]


def test_a_patient_is_positive_with_one_positive_eye():
    assert patient_labels([0, 1, 0, 0], ["b", "b", "a", "a"]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patient_mean([0.1, np.nan], ["a", "a"]), "scores has NaN at position 1"),
        (lambda: patient_mean([0.1], ["a", "a"]), "arrays must have the same length"),
        (lambda: patient_mean([0.1, 0.2], ["a", None]), "patients has no id at position 1"),
        (lambda: patient_mean([0.1, 0.2], ["a", "a"], None, ["left"]), "eyes has 1"),
        (lambda: patient_max([0.1], ["a", "a"]), "arrays must have the same length"),
        (lambda: patient_labels([2], ["a"]), "labels must be 0 or 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
