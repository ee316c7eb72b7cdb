"""Against R (cvAUC's formula with ROCR 1.0.11, and pROC 1.18.0; values are stored here), and by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.cross_validated import corrected_resampled, cross_validated_auc, cross_validated_mean, fold_layout
from stats.delong import delong
from stats.intervals import student_p_value
from tests.stats.folds_coverage import simulate

# Three folds, each with 8 positive and then 12 negative patients; scores of two trials in thousandths.
LABELS = np.tile(np.repeat([1, 0], [8, 12]), 3)
FOLDS = np.repeat([0, 1, 2], 20)
A = np.array([
    901, 183, 393, 373, 497, 775, 840, 805, 554, 673, 281, 385, 421, 662, 497, 166, 509, 662, 507, 139,
    658, 793, 541, 800, 790, 877, 609, 550, 506, 637, 437, 359, 345, 477, 682, 577, 501, 674, 802, 76,
    403, 713, 744, 408, 472, 754, 712, 962, 551, 804, 565, 473, 326, 542, 525, 722, 223, 340, 78, 868,
]) / 1000  # fmt: skip
B = np.array([
    714, 441, 466, 806, 436, 579, 891, 695, 140, 388, 673, 498, 217, 132, 605, 194, 425, 498, 705, 326,
    655, 715, 405, 927, 135, 839, 930, 782, 727, 666, 693, 433, 848, 773, 821, 681, 318, 430, 629, 110,
    374, 745, 601, 428, 809, 383, 688, 987, 827, 352, 556, 792, 800, 170, 758, 496, 289, 263, 215, 929,
]) / 1000  # fmt: skip
LAYOUT = fold_layout(np.arange(60), np.zeros(60, int), FOLDS)


def test_the_mean_over_folds_is_cvaucs():
    """performance(prediction(...), "auc") per fold, and their mean."""
    found = cross_validated_auc(LABELS, [A, B], LAYOUT)
    assert found.by_fold[0] == pytest.approx([0.651041666667, 0.791666666667, 0.645833333333], abs=1e-12)
    assert found.by_fold[1] == pytest.approx([0.802083333333, 0.635416666667, 0.604166666667], abs=1e-12)
    assert found.estimates == pytest.approx([0.696180555556, 0.680555555556], abs=1e-12)


def test_the_standard_error_is_cvaucs_with_small_sample_factors():
    """cvAUC: se = sqrt(mean of the folds' mean squared influence / n), without small-sample factors."""
    found = cross_validated_auc(LABELS, [A, B], LAYOUT)
    squares = (found.contributions[:, :, 0] ** 2).sum(axis=2)  # (strata, trials)
    assert np.sqrt(squares.sum(axis=0)) == pytest.approx([0.070266939114, 0.0696827508347], rel=1e-10)


def test_the_standard_error_is_procs():
    """sqrt(sum(sapply(folds, function(x) var(roc(x$label, x$a))))) / 3, and var + var - 2 cov for the difference."""
    found = cross_validated_auc(LABELS, [A, B], LAYOUT)
    expected = {(1, 0): 0.0744440582858, (0, 1): 0.0737355668748, (1, -1): 0.0914670972709}
    for weights, standard_error in expected.items():
        spread = found.spread(weights)
        assert spread.standard_error == pytest.approx(standard_error, rel=1e-10)
        assert 0 < spread.degrees_of_freedom <= 54


@given(st.integers(0, 2**32 - 1))
def test_one_fold_is_delongs_test_with_several_images_per_patient(seed):
    rng = np.random.default_rng(seed)
    of_patient = np.append(rng.integers(0, 2, 12), [0, 0, 1, 1])
    patients = rng.permutation(np.append(np.arange(16), rng.integers(0, 16, 20)))
    labels, scores = of_patient[patients], [rng.integers(0, 6, 36), rng.random(36)]
    found = cross_validated_auc(labels, scores, fold_layout(patients, np.zeros(36, int), np.zeros(36, int)))
    expected = delong(labels, scores, patients)
    assert found.estimates == pytest.approx(expected.areas)
    for trial in range(2):
        spread = found.spread(np.eye(2)[trial])
        assert spread.standard_error**2 == pytest.approx(expected.covariance[trial, trial], rel=1e-9, abs=1e-15)
        if spread.standard_error > 0:
            assert spread.degrees_of_freedom == pytest.approx(expected.degrees_of_freedom[trial])
    both = found.spread([1, -1]).standard_error ** 2
    assert both == pytest.approx(np.array([1, -1]) @ expected.covariance @ [1, -1], rel=1e-6, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_what_a_patient_adds_is_the_change_when_the_patient_counts_more(seed):
    """By the definition of an influence function, with all images of one patient weighted by 1 + a little, per fold."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(20), 2)
    labels, scores = (np.arange(40) // 2) % 2, rng.random(40)
    folds = (np.arange(40) // 10).astype(int)
    found = cross_validated_auc(labels, [scores], fold_layout(patients, np.zeros(40, int), folds))
    above = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    for patient in (0, 7, 19):
        estimates = []
        for more in (0.0, 1e-6):
            weight = np.where(patients == patient, 1 + more, 1.0)
            of_folds = []
            for fold in range(4):
                p, n = (weight * (labels == label) * (folds == fold) for label in (1, 0))
                of_folds.append(p @ above @ n / p.sum() / n.sum())
            estimates.append(np.mean(of_folds))
        slope = (estimates[1] - estimates[0]) / 1e-6
        assert found.contributions[:, 0, 0, patient].sum() == pytest.approx(slope, abs=1e-5)


def test_the_same_folds_twice_say_no_more_than_once():
    once = cross_validated_auc(LABELS, [A], LAYOUT)
    layout = fold_layout(np.tile(np.arange(60), 2), np.repeat([0, 1], 60), np.tile(FOLDS, 2))
    twice = cross_validated_auc(np.tile(LABELS, 2), [np.tile(A, 2)], layout)
    assert twice.estimates == pytest.approx(once.estimates)
    assert twice.spread([1]).standard_error == pytest.approx(once.spread([1]).standard_error)
    assert twice.by_repeat.shape == (1, 2)


def test_the_factor_of_a_mean_over_repeats_is_the_trace_of_the_residual_matrix():
    """Matrices that average over folds, written out; values that are the same in all repeats have a known variance."""
    rng = np.random.default_rng(8)
    folds = [rng.permutation(24) % 4 for _ in range(3)]
    layout = fold_layout(np.tile(np.arange(24), 3), np.repeat([0, 1, 2], 24), np.concatenate(folds))
    found = cross_validated_mean([np.tile(rng.random(24), 3)], layout)
    matrix = np.eye(24) - np.mean([(fold[:, None] == fold) / 6 for fold in folds], axis=0)
    assert found.factors_of_mean[0] == pytest.approx(24 / np.trace(matrix @ matrix))
    assert found.factors[0] == pytest.approx(24 / 20)


def test_other_patients_in_a_second_repeat_halve_the_variance():
    layout = fold_layout(np.arange(120), np.repeat([0, 1], 60), np.tile(FOLDS, 2))
    both = cross_validated_auc(np.tile(LABELS, 2), [np.tile(A, 2)], layout)
    once = cross_validated_auc(LABELS, [A], LAYOUT).spread([1])
    assert both.spread([1]).standard_error ** 2 == pytest.approx(once.standard_error**2 / 2)


def test_a_mean_is_the_mean_over_folds_with_the_standard_error_of_stratified_means():
    """Folds of 20, 20 and 19 values, because one has none: the variance of a mean of independent means."""
    values = np.where(np.arange(60) == 5, np.nan, A)
    found = cross_validated_mean([values], LAYOUT)
    of_folds = [part[~np.isnan(part)] for part in np.split(values, 3)]
    assert found.estimates[0] == pytest.approx(np.mean([part.mean() for part in of_folds]))
    expected = np.sqrt(sum(part.var() / len(part) for part in of_folds) / 9 * 59 / 56)
    assert found.spread([1]).standard_error == pytest.approx(expected)


def test_a_fold_without_values_is_left_out_of_a_mean():
    values = np.where(FOLDS == 1, np.nan, A)
    found = cross_validated_mean([values], LAYOUT)
    assert np.isnan(found.by_fold[0, 1])
    assert found.estimates[0] == pytest.approx(np.mean([A[FOLDS == 0].mean(), A[FOLDS == 2].mean()]))


def test_a_fold_with_one_class_has_no_auc():
    found = cross_validated_auc(np.where(FOLDS == 1, 1, LABELS), [A], LAYOUT)
    assert np.isnan(found.estimates).all()
    assert np.isnan(found.spread([1]).standard_error)


def test_as_many_folds_as_patients_of_a_class_have_no_interval():
    """Nothing varies within a fold then, and a standard error of 0 would be wrong."""
    labels, folds = np.array([1, 0, 0, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 1])
    found = cross_validated_auc(labels, [np.arange(6.0)], fold_layout(np.arange(6), np.zeros(6, int), folds))
    assert np.isfinite(found.estimates).all()
    assert np.isnan(found.spread([1]).standard_error)


def test_a_patient_in_two_folds_of_a_repeat_is_refused():
    with pytest.raises(ValueError, match=r"patient p is tested in two folds of one repeat"):
        fold_layout(["p", "q", "p"], [0, 0, 0], [0, 1, 1])
    layout = fold_layout(["p", "q", "p", "q"], [0, 0, 1, 1], [0, 1, 1, 0])
    assert layout.repeats == 2
    assert len(layout.repeat) == 4


def test_the_corrected_t_test():
    """R: d <- c(.05,-.02,.08,.03,.01); t <- mean(d)/sqrt(var(d)*(1/5+1/4)); 2*pt(-abs(t),4)."""
    spread = corrected_resampled([0.05, -0.02, 0.08, 0.03, 0.01], 1 / 4)
    assert spread.standard_error == pytest.approx(0.0255440795489, rel=1e-9)
    assert student_p_value(0.03, spread) == pytest.approx(0.305364664885, rel=1e-9)


def test_coverage_in_one_small_study():
    """docs/folds.md has the whole table."""
    found = simulate(patients=80, folds=5, repeats=2, positive=0.5, studies=150, seed=3)
    assert 0.9 <= found.of_models <= 0.99
    assert 0.9 <= found.difference <= 0.99
    assert found.corrected < 0.1
