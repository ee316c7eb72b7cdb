"""Risks from the scores of models trained on balanced classes, compared with known true risks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from stats.calibration import brier, calibration
from stats.decision import decision_curve
from stats.risk import SCORE, Risk, recalibrate, undo_balancing


def drawn(n: int, prevalence: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One feature (n, 1), normal in either class, and the labels: the true log-odds are linear in it."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < prevalence).astype(int)
    return rng.normal(1.5 * labels)[:, np.newaxis], labels


@pytest.mark.parametrize("prevalence", [0.05, 0.1, 0.5, 0.8])
def test_a_class_weighted_model_is_calibrated_again(prevalence):
    """scikit-learn's logistic regression with balanced class weights, compared with the same without weights."""
    features, labels = drawn(40_000, prevalence)
    weighted = LogisticRegression(penalty=None, class_weight="balanced").fit(features, labels)
    plain = LogisticRegression(penalty=None).fit(features, labels)
    test, test_labels = drawn(40_000, prevalence, seed=1)
    scores, truth = (model.predict_proba(test)[:, 1] for model in (weighted, plain))
    risks = undo_balancing(labels).of(scores)
    assert calibration(test_labels, scores).intercept == pytest.approx(logit(prevalence), abs=0.15)
    assert calibration(test_labels, risks).intercept == pytest.approx(0, abs=0.1)
    assert brier(test_labels, risks) == pytest.approx(brier(test_labels, truth), abs=5e-4)
    np.testing.assert_allclose(risks, truth, atol=0.03)


def test_sampling_both_classes_equally_often_is_undone_alike():
    features, labels = drawn(40_000, 0.1)
    rng = np.random.default_rng(0)
    often = rng.choice(len(labels), len(labels), p=0.5 / np.bincount(labels)[labels])
    sampled = LogisticRegression(penalty=None).fit(features[often], labels[often])
    risks = undo_balancing(labels).of(sampled.predict_proba(features)[:, 1])
    assert abs(calibration(labels, risks).intercept) < 0.06


def test_what_balancing_cost_in_net_benefit_comes_back():
    """With a prevalence of 10 %, the scores alone would treat nearly everyone at a threshold of 20 %."""
    features, labels = drawn(40_000, 0.1)
    scores = LogisticRegression(penalty=None, class_weight="balanced").fit(features, labels).predict_proba(features)
    of_scores, of_risks = (
        decision_curve(labels, values, [0.2]).model[0]
        for values in (scores[:, 1], undo_balancing(labels).of(scores[:, 1]))
    )
    assert of_scores < 0.005 < 0.03 < of_risks


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(1, 50), st.integers(1, 50))
def test_the_order_of_scores_stays(scores, positive, negative):
    risks = undo_balancing([1] * positive + [0] * negative).of(scores)
    assert ((risks >= 0) & (risks <= 1)).all()
    order = np.argsort(scores)
    assert (np.diff(risks[order]) >= 0).all()


def test_equal_classes_leave_scores_alone():
    scores = np.array([0, 0.1, 0.5, 1])
    np.testing.assert_array_equal(undo_balancing([0, 1, 1, 0]).of(scores), scores)
    np.testing.assert_array_equal(SCORE.of(scores), scores)


def test_a_line_on_validation_is_the_logistic_regression():
    rng = np.random.default_rng(0)
    truth = rng.normal(-1, 1, 4000)
    labels, scores = (rng.random(4000) < expit(truth)).astype(int), expit(2 * truth + 1)
    fitted = recalibrate(labels, scores)
    regression = LogisticRegression(penalty=None, tol=1e-10).fit(logit(scores)[:, np.newaxis], labels)
    assert (fitted.intercept, fitted.slope) == pytest.approx(
        (regression.intercept_[0], regression.coef_[0, 0]), abs=1e-4
    )
    again = calibration(labels, fitted.of(scores))
    assert (again.intercept, again.slope) == pytest.approx((0, 1), abs=1e-6)
    np.testing.assert_array_equal(rankdata(fitted.of(scores)), rankdata(scores))


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([1, 1, 1], [0.1, 0.2, 0.3]),
        ([1, 1, 0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    ],
    ids=["separated", "one class", "turned round"],
)
def test_no_line_where_none_fits(labels, scores):
    assert recalibrate(labels, scores) is None


def test_one_class_has_no_balance():
    with pytest.raises(ValueError, match="both classes"):
        undo_balancing([1, 1])


def test_a_risk_is_of_probabilities():
    with pytest.raises(ValueError, match="scores"):
        Risk(1.0).of([1.2])
