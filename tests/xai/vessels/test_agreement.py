import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    precision_score,
    recall_score,
)

from xai.vessels import VesselMasks
from xai.vessels.agreement import Overlap, agreement, coverage_agreement

NONE, ARTERY, VEIN, CROSSING = range(4)


def masks(labels):
    """From a map of the four classes: a crossing is marked uncertain."""
    labels = np.atleast_2d(labels)
    return VesselMasks(labels == ARTERY, labels == VEIN, labels == CROSSING)


def everywhere(one):
    return np.ones(one.artery.shape, dtype=bool)


@pytest.fixture
def drawn():
    """Two maps of the four classes that agree in part, and a field of view."""
    rng = np.random.default_rng(0)
    expert = rng.choice(4, size=(60, 80), p=[0.7, 0.12, 0.13, 0.05])
    found = np.where(rng.random(expert.shape) < 0.7, expert, rng.choice(4, size=expert.shape))
    return found, expert, rng.random(expert.shape) < 0.8


def scores(found, expert):
    return Overlap(
        f1_score(expert, found, zero_division=np.nan),
        recall_score(expert, found, zero_division=np.nan),
        precision_score(expert, found, zero_division=np.nan),
    )


def close(overlap, expected):
    np.testing.assert_allclose(
        [overlap.dice, overlap.sensitivity, overlap.precision],
        [expected.dice, expected.sensitivity, expected.precision],
        rtol=1e-12,
    )


def test_overlap_is_scikit_learns(drawn):
    found, expert, fov = drawn
    result = agreement(masks(found), masks(expert), fov)
    close(result.vessel, scores(found[fov] != NONE, expert[fov] != NONE))
    decided = fov & (expert != CROSSING)
    close(result.artery, scores(np.isin(found[decided], (ARTERY, CROSSING)), expert[decided] == ARTERY))
    close(result.vein, scores(np.isin(found[decided], (VEIN, CROSSING)), expert[decided] == VEIN))


def test_confusion_is_scikit_learns(drawn):
    found, expert, fov = drawn
    result = agreement(masks(found), masks(expert), fov)
    decided = fov & np.isin(found, (ARTERY, VEIN)) & np.isin(expert, (ARTERY, VEIN))
    (_, artery_as_vein), (vein_as_artery, _) = confusion_matrix(expert[decided], found[decided], normalize="true")
    assert result.artery_as_vein == pytest.approx(artery_as_vein, rel=1e-12)
    assert result.vein_as_artery == pytest.approx(vein_as_artery, rel=1e-12)
    assert result.accuracy == pytest.approx(accuracy_score(expert[decided], found[decided]), rel=1e-12)


def test_an_expert_agrees_with_itself(drawn):
    _, expert, fov = drawn
    result = agreement(masks(expert), masks(expert), fov)
    assert result.vessel == result.artery == result.vein == Overlap(1, 1, 1)
    assert (result.artery_as_vein, result.vein_as_artery, result.accuracy) == (0, 0, 1)


def test_exchanged_names_leave_the_vessels_right(drawn):
    _, expert, fov = drawn
    true = masks(expert)
    result = agreement(VesselMasks(true.vein, true.artery, true.uncertain), true, fov)
    assert result.vessel == Overlap(1, 1, 1)
    assert result.artery.dice == result.vein.dice == 0
    assert (result.artery_as_vein, result.vein_as_artery, result.accuracy) == (1, 1, 0)


def test_what_the_expert_leaves_open_is_vessel_and_says_nothing_of_artery_and_vein():
    expert = masks([ARTERY, VEIN, CROSSING, CROSSING, CROSSING, NONE])
    found = masks([ARTERY, VEIN, ARTERY, VEIN, NONE, NONE])
    result = agreement(found, expert, everywhere(expert))
    assert result.artery == result.vein == Overlap(1, 1, 1)
    assert result.accuracy == 1
    assert result.vessel.sensitivity == 4 / 5


def test_what_the_mask_leaves_open_counts_as_artery_and_as_vein_but_is_no_confusion():
    expert = masks([ARTERY, ARTERY, VEIN, VEIN, VEIN])
    found = masks([ARTERY, CROSSING, VEIN, VEIN, CROSSING])
    result = agreement(found, expert, everywhere(expert))
    assert result.vessel == Overlap(1, 1, 1)
    assert result.artery == Overlap(4 / 5, 1, 2 / 3)
    assert result.vein == Overlap(6 / 7, 1, 3 / 4)
    assert (result.artery_as_vein, result.vein_as_artery, result.accuracy) == (0, 0, 1)


def test_a_crossing_drawn_as_artery_and_vein_is_one_marked_uncertain(drawn):
    found, expert, fov = drawn

    def overlapping(labels):
        both = labels == CROSSING
        return VesselMasks((labels == ARTERY) | both, (labels == VEIN) | both, np.zeros_like(both))

    expected = agreement(masks(found), masks(expert), fov)
    assert agreement(overlapping(found), masks(expert), fov) == expected
    assert agreement(masks(found), overlapping(expert), fov) == expected


def test_nothing_outside_the_field_of_view_counts(drawn):
    found, expert, fov = drawn
    expected = agreement(masks(found), masks(expert), fov)
    assert agreement(masks(np.where(fov, found, ARTERY)), masks(np.where(fov, expert, VEIN)), fov) == expected


def test_without_vessels_there_is_no_number():
    none, artery = masks([NONE, NONE, NONE]), masks([ARTERY, NONE, NONE])
    missed = agreement(none, artery, everywhere(artery))
    assert (missed.vessel.dice, missed.vessel.sensitivity) == (0, 0)
    assert np.isnan([missed.vessel.precision, missed.vein.dice, missed.artery_as_vein, missed.accuracy]).all()
    invented = agreement(artery, none, everywhere(artery))
    assert (invented.vessel.dice, invented.vessel.precision) == (0, 0)
    assert np.isnan(invented.vessel.sensitivity)


def test_coverage_is_compared_as_scipy_and_scikit_learn_do():
    rng = np.random.default_rng(0)
    expert = rng.integers(0, 200, size=(30, 30)).astype(np.uint8)
    found = (expert + rng.integers(0, 50, size=expert.shape)).astype(np.uint8)
    fov = np.where(np.arange(30) < 20, 200, 0) * np.ones((30, 1))
    one, other = found[:, :20].ravel() / 255, expert[:, :20].ravel() / 255
    result = coverage_agreement(found, expert, fov)
    assert result.error == pytest.approx(mean_absolute_error(other, one), rel=1e-12)
    assert result.correlation == pytest.approx(pearsonr(one, other).statistic, rel=1e-12)
    assert result.bias == pytest.approx(one.mean() / other.mean() - 1, rel=1e-12)
    assert result.bias > 0 > coverage_agreement(expert, found, fov).bias


def test_coverage_without_vessels_has_an_error_but_no_correlation_or_bias():
    expert, fov = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    result = coverage_agreement(np.full((4, 4), 51, np.uint8), expert, fov)
    assert result.error == pytest.approx(0.2)
    assert np.isnan([result.correlation, result.bias]).all()


def test_coverage_needs_a_field_of_view():
    empty = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="field of view is empty"):
        coverage_agreement(empty, empty, empty)
