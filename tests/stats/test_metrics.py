import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_score, roc_auc_score

from stats.metrics import Confusion, auc, best_f1_threshold, confusion, f1


@pytest.fixture(scope="module")
def score_sets(shared):
    sets = json.loads((shared / "fixtures/stats/stats.json").read_text())["score_sets"]
    return [{**case, "labels": np.array(list(case["labels"]), dtype=int)} for case in sets]


@st.composite
def labelled_scores(draw):
    """Labels with both classes and scores on so coarse a grid that ties are common."""
    n = draw(st.integers(2, 30))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))]
    scores = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    return np.array(labels), np.array(scores) / 4


@pytest.mark.parametrize("model", ["a", "b"])
def test_auc_of_the_reference_sets(score_sets, model):
    for case in score_sets:
        assert auc(case["labels"], case[f"scores_{model}"]) == pytest.approx(case["delong"][f"auc_{model}"], abs=1e-12)


@pytest.mark.parametrize("model", ["a", "b"])
def test_f1_and_counts_of_the_reference_sets(score_sets, model):
    for case in score_sets:
        predicted = np.array(case[f"scores_{model}"]) >= 0.5
        expected = case[f"f1_{model}"]
        table = confusion(case["labels"], predicted)
        assert [table.tn, table.fp, table.fn, table.tp] == expected["counts_ge_tn_fp_fn_tp"]
        assert f1(case["labels"], predicted) == pytest.approx(expected["f1_ge_0.5"], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(labelled_scores())
def test_auc_is_scikit_learns_and_survives_monotone_change_order_and_complement(case):
    labels, scores = case
    value = auc(labels, scores)
    order = np.random.default_rng(0).permutation(len(labels))
    assert value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert value == auc(labels, np.exp(3 * scores))
    assert value == auc(labels[order], scores[order])
    assert value == pytest.approx(1 - auc(labels, -scores), abs=1e-12)
    assert value == pytest.approx(1 - auc(1 - labels, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [([0, 1], [0, 1], 1.0), ([0, 1], [1, 0], 0.0), ([0, 1], [1, 1], 0.5), ([0, 0, 1], [-np.inf, 2, np.inf], 1.0)],
)
def test_auc_by_hand(labels, scores, expected):
    assert auc(labels, scores) == expected


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_auc_of_one_class_is_undefined(labels):
    assert math.isnan(auc(labels, [0.1, 0.2]))


def test_confusion_measures_are_scikit_learns():
    rng = np.random.default_rng(3)
    labels, predicted = rng.integers(0, 2, (2, 200))
    table = confusion(labels, predicted)
    assert [table.tn, table.fp, table.fn, table.tp] == confusion_matrix(labels, predicted).ravel().tolist()
    assert table.ppv == pytest.approx(precision_score(labels, predicted), abs=1e-12)
    assert table.npv == pytest.approx(precision_score(1 - labels, 1 - predicted), abs=1e-12)
    assert table.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-12)
    assert table.f1 == pytest.approx(f1_score(labels, predicted), abs=1e-12)


@pytest.mark.parametrize(
    ("table", "undefined"),
    [
        (Confusion(tn=3, fp=1, fn=0, tp=0), {"sensitivity", "balanced_accuracy"}),
        (Confusion(tn=0, fp=0, fn=1, tp=3), {"specificity", "balanced_accuracy"}),
        (Confusion(tn=3, fp=0, fn=2, tp=0), {"ppv"}),
        (Confusion(tn=0, fp=3, fn=0, tp=2), {"npv"}),
        (Confusion(tn=3, fp=0, fn=0, tp=0), {"sensitivity", "ppv", "balanced_accuracy", "f1"}),
    ],
)
def test_a_measure_without_denominator_is_nan(table, undefined):
    measures = ["sensitivity", "specificity", "ppv", "npv", "balanced_accuracy", "f1"]
    assert {name for name in measures if math.isnan(getattr(table, name))} == undefined


@settings(max_examples=60, deadline=None)
@given(labelled_scores())
def test_best_threshold_is_the_highest_of_all_that_reach_the_best_f1(case):
    labels, scores = case
    tried = {t: f1_score(labels, scores >= t) for t in np.unique(scores)}
    best = max(tried.values())
    assert best_f1_threshold(labels, scores) == max(t for t, value in tried.items() if value == best)


def test_best_threshold_on_single_precision_scores_calls_the_image_it_came_from():
    scores = np.array([0.1, 0.2, 0.7, 0.9], dtype=np.float32)
    threshold = best_f1_threshold([0, 0, 1, 1], scores)
    assert (scores >= threshold).tolist() == [False, False, True, True]


def test_best_threshold_takes_the_highest_of_equals():
    # At 0.8: tp 1, called 1, positives 2. At 0.2: tp 2, called 4, positives 2. Both 2/3.
    assert best_f1_threshold([1, 0, 0, 1], [0.8, 0.5, 0.4, 0.2]) == 0.8


def test_best_threshold_needs_a_positive():
    with pytest.raises(ValueError, match="no positive label"):
        best_f1_threshold([0, 0], [0.1, 0.2])


@pytest.mark.parametrize("measure", [auc, f1, confusion, best_f1_threshold])
def test_arrays_of_different_length_are_refused(measure):
    with pytest.raises(ValueError, match="equally long"):
        measure([0, 1, 1], [0, 1])


@pytest.mark.parametrize("measure", [auc, best_f1_threshold])
def test_a_missing_score_is_refused(measure):
    with pytest.raises(ValueError, match="NaN at position 1"):
        measure([0, 1], [0.3, np.nan])
