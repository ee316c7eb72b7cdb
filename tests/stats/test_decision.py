import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.decision import decision_curve, decision_curve_resampled
from stats.metrics import confusion
from stats.resamples import draw_people

THRESHOLDS = np.array([0.05, 0.2, 0.5, 0.9])


def cohort(n, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.random(n).round(1)
    return (rng.random(n) < probabilities).astype(int), probabilities


def test_net_benefit_by_hand():
    # At 0.25 a false positive costs 1/3: the model treats 2 true and 1 false of 5, everyone 2 and 3.
    curve = decision_curve([1, 1, 0, 0, 0], [0.9, 0.25, 0.6, 0.1, 0.2], [0.25, 0.5])
    np.testing.assert_allclose(curve.model, [(2 - 1 / 3) / 5, 0], atol=1e-15)
    np.testing.assert_allclose(curve.treat_all, [(2 - 3 / 3) / 5, -1 / 5], atol=1e-15)


def test_net_benefit_is_that_of_the_counts():
    labels, probabilities = cohort(300)
    curve = decision_curve(labels, probabilities, THRESHOLDS)
    for threshold, model, treat_all in zip(THRESHOLDS, curve.model, curve.treat_all, strict=True):
        for value, treated in ((model, probabilities >= threshold), (treat_all, np.ones(300))):
            table = confusion(labels, treated)
            expected = (table.tp - table.fp * threshold / (1 - threshold)) / 300
            assert value == pytest.approx(expected, abs=1e-12)


def test_certain_probabilities_are_treating_all_none_or_the_right_ones():
    labels, _ = cohort(50)
    everyone = decision_curve(labels, np.ones(50), THRESHOLDS)
    np.testing.assert_array_equal(everyone.model, everyone.treat_all)
    assert (decision_curve(labels, np.zeros(50), THRESHOLDS).model == 0).all()
    np.testing.assert_allclose(decision_curve(labels, labels, THRESHOLDS).model, labels.mean(), atol=1e-15)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(any), min_size=1, max_size=6))
def test_calibrated_probabilities_never_lose_to_treating_all_or_none(groups):
    """Where every group's probability is its own share of positives."""
    labels = np.concatenate([[1] * yes + [0] * no for yes, no in groups])
    probabilities = np.concatenate([[yes / (yes + no)] * (yes + no) for yes, no in groups])
    curve = decision_curve(labels, probabilities, THRESHOLDS)
    assert (curve.model >= np.maximum(curve.treat_all, 0) - 1e-12).all()


def test_treating_all_breaks_even_at_the_prevalence():
    labels = np.arange(100) < 30
    assert decision_curve(labels, np.ones(100), [0.3]).treat_all[0] == pytest.approx(0, abs=1e-15)


def test_resampled_curves_are_those_of_the_repeated_rows():
    labels, probabilities = cohort(24)
    people = np.arange(24) // 2
    resamples = draw_people(people, labels, resamples=100, seed=1)
    curves = decision_curve_resampled(labels, probabilities, THRESHOLDS, resamples)
    assert curves.model.shape == curves.treat_all.shape == (100, 4)
    for counts, model, treat_all in zip(resamples.counts, curves.model, curves.treat_all, strict=True):
        rows = np.repeat(np.arange(24), counts[resamples.person_of_image])
        expected = decision_curve(labels[rows], probabilities[rows], THRESHOLDS)
        np.testing.assert_allclose(model, expected.model, atol=1e-12)
        np.testing.assert_allclose(treat_all, expected.treat_all, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "probabilities", "thresholds", "message"),
    [
        ([0, 2], [0.1, 0.2], [0.5], "labels must be 0 or 1"),
        ([0, 1], [0.1, 1.2], [0.5], r"found 1\.2 at position 1"),
        ([0, 1], [0.1, np.nan], [0.5], "NaN at position 1"),
        ([0, 1, 1], [0.1, 0.2], [0.5], "equally long"),
        ([0, 1], [0.1, 0.2], [0.5, 1], "between 0 and 1"),
        ([0, 1], [0.1, 0.2], [0, 0.5], "between 0 and 1"),
        ([0, 1], [0.1, 0.2], 0.5, "one-dimensional"),
    ],
)
def test_what_has_no_net_benefit(labels, probabilities, thresholds, message):
    with pytest.raises(ValueError, match=message):
        decision_curve(labels, probabilities, thresholds)


def test_other_images_than_those_resampled_are_refused():
    resamples = draw_people(["a", "b", "c"], [0, 1, 1], resamples=5, seed=0)
    with pytest.raises(ValueError, match="resampled_images has 3"):
        decision_curve_resampled([0, 1], [0.2, 0.3], [0.5], resamples)
