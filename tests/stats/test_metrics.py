import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    roc_auc_score,
)
from sklearn.metrics import roc_curve as sklearn_roc_curve

from stats.metrics import Confusion, auc, average_precision, confusion, confusion_by_threshold, f1, roc_curve

COUNTS = ["tn", "fp", "fn", "tp"]
MEASURES = ["sensitivity", "specificity", "ppv", "npv", "balanced_accuracy", "f1"]


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
    assert {name for name in MEASURES if math.isnan(getattr(table, name))} == undefined


@given(labelled_scores())
def test_every_threshold_has_the_table_of_its_predictions(case):
    labels, scores = case
    thresholds, tables = confusion_by_threshold(labels, scores)
    assert thresholds.tolist() == [np.inf, *np.unique(scores)[::-1]]
    for position, threshold in enumerate(thresholds):
        table = confusion(labels, scores >= threshold)
        for measure in (*COUNTS, *MEASURES):
            value = getattr(tables, measure)[position]
            assert value == pytest.approx(getattr(table, measure), abs=1e-15, nan_ok=True)


@given(labelled_scores())
def test_average_precision_is_scikit_learns_and_survives_monotone_change_and_order(case):
    labels, scores = case
    value = average_precision(labels, scores)
    order = np.random.default_rng(0).permutation(len(labels))
    assert value == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert value == average_precision(labels, np.exp(3 * scores))
    assert value == average_precision(labels[order], scores[order])


def test_average_precision_by_hand():
    # In steps: 1 of 1, then 2 of 4 (two are tied), then 3 of 5.
    assert average_precision([1, 1, 0, 0, 1], [0.9, 0.5, 0.5, 0.5, 0.1]) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    assert average_precision([0, 1, 0], [0.5, 0.5, 0.5]) == pytest.approx(1 / 3)


def test_average_precision_without_a_positive_is_undefined():
    assert math.isnan(average_precision([0, 0], [0.1, 0.2]))


@given(labelled_scores())
def test_roc_curve_is_scikit_learns_less_what_lies_on_its_lines(case):
    labels, scores = case
    fpr, tpr = roc_curve(labels, scores)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(labels, scores), abs=1e-12)
    right, up = np.diff(fpr), np.diff(tpr)
    assert (np.abs(right[:-1] * up[1:] - right[1:] * up[:-1]) > 1e-12).all()
    every = np.column_stack(sklearn_roc_curve(labels, scores, drop_intermediate=False)[:2])
    distances = np.abs(every[:, np.newaxis] - np.column_stack([fpr, tpr])).max(axis=2)
    assert (distances.min(axis=0) < 1e-12).all()


def test_roc_curve_by_hand():
    # From the top: positive, positive, then a tie of one each, negative, negative.
    fpr, tpr = roc_curve([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.5, 0.5, 0.3, 0.2])
    np.testing.assert_allclose(fpr, [0, 0, 1 / 3, 1], atol=1e-15)
    np.testing.assert_allclose(tpr, [0, 2 / 3, 1, 1], atol=1e-15)
    assert [axis.tolist() for axis in roc_curve([1, 0], [0.5, 0.5])] == [[0, 1], [0, 1]]


def test_the_axis_of_a_missing_class_is_undefined():
    fpr, tpr = roc_curve([1, 1], [0.1, 0.2])
    assert np.isnan(fpr).all()
    assert tpr.tolist() == [0, 1]


@pytest.mark.parametrize("measure", [auc, average_precision, roc_curve, f1, confusion, confusion_by_threshold])
def test_arrays_of_different_length_are_refused(measure):
    with pytest.raises(ValueError, match="same length"):
        measure([0, 1, 1], [0, 1])


@pytest.mark.parametrize("measure", [auc, average_precision, roc_curve, confusion_by_threshold])
def test_a_missing_score_is_refused(measure):
    with pytest.raises(ValueError, match="NaN at position 1"):
        measure([0, 1], [0.3, np.nan])


@pytest.mark.parametrize("measure", [average_precision, roc_curve, confusion_by_threshold])
def test_a_score_that_no_threshold_can_exceed_is_refused(measure):
    with pytest.raises(ValueError, match="infinite"):
        measure([0, 1], [0.3, np.inf])
