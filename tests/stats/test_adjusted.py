"""Against R: pROC within strata, survival's counts of pairs, and pROC on the residuals of `lm`."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.adjusted import auc_of_residuals, auc_within_strata
from stats.jackknife import leave_out_patients
from stats.metrics import auc
from stats.resamples import PatientResamples, draw_patients
from tests.stats.covariates import AGE, CAMERA, LABEL, SCORE, SEX, I


def once(n):
    return PatientResamples(np.ones((1, n), dtype=np.uint8), np.arange(n))


def test_the_mean_within_strata_is_that_of_proc():
    """`a <- auc(roc(label[camera==c], score[camera==c]))` for each camera, weighted by its positives."""
    (found,) = auc_within_strata(LABEL, SCORE, CAMERA, once(180))
    assert found == pytest.approx(0.864677177177177, rel=1e-12)


def test_the_pairs_within_strata_are_those_of_survival():
    """`concordance(label ~ score + strata(camera))$count`: concordant and discordant pairs of each camera."""
    counts, positives = np.array([[733, 131], [760, 76], [756, 140]]), np.array([24, 22, 28])
    (found,) = auc_within_strata(LABEL, SCORE, CAMERA, once(180))
    assert found == pytest.approx(positives @ (counts[:, 0] / counts.sum(axis=1)) / positives.sum(), rel=1e-12)


def test_the_auc_of_residuals_is_that_of_lm_and_proc():
    """`fit <- lm(score ~ age + sex, controls)`; `auc(roc(label, score - predict(fit, all)))`; leaving out each row."""
    covariates = np.column_stack([AGE, SEX])
    (found,) = auc_of_residuals(LABEL, SCORE, covariates, once(180))
    groups = leave_out_patients(draw_patients(I, LABEL, 1, 0))
    without = auc_of_residuals(LABEL, SCORE, covariates, groups.resamples)
    assert found == pytest.approx(0.749235084140744, rel=1e-12)
    assert without.sum() == pytest.approx(134.866047449066, rel=1e-10)
    assert ((without - found) ** 2).sum() == pytest.approx(0.00234743562874143, rel=1e-8)


def test_a_resample_is_its_repeated_rows():
    patients = I // 2
    resamples = draw_patients(patients, LABEL, 20, 3)
    covariates = np.column_stack([AGE, SEX])
    strata, residuals = (
        auc_within_strata(LABEL, SCORE, CAMERA, resamples),
        auc_of_residuals(LABEL, SCORE, covariates, resamples),
    )
    for place, drawn in enumerate(resamples.counts):
        rows = np.repeat(I, drawn[patients])
        plain = once(len(rows))
        expected = auc_within_strata(LABEL[rows], SCORE[rows], CAMERA[rows], plain)
        assert strata[place] == pytest.approx(expected[0], rel=1e-12)
        expected = auc_of_residuals(LABEL[rows], SCORE[rows], covariates[rows], plain)
        assert residuals[place] == pytest.approx(expected[0], rel=1e-12)


def test_a_score_that_is_age_has_no_adjusted_auc():
    """0.8 over all patients, 0.5 among patients of the same age."""
    assert auc(LABEL, AGE) > 0.75
    (found,) = auc_of_residuals(LABEL, 2 * AGE + 1, AGE[:, None], once(180))
    assert found == 0.5
    (found,) = auc_within_strata(LABEL, AGE, AGE, once(180))
    assert found == 0.5


def test_a_score_without_age_keeps_its_auc():
    """Adjusting for something that has nothing to do with the score does not change much."""
    rng = np.random.default_rng(4)
    scores = rng.normal(size=180) + LABEL
    (found,) = auc_of_residuals(LABEL, scores, rng.normal(size=(180, 1)), once(180))
    assert found == pytest.approx(auc(LABEL, scores), abs=0.02)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=30))
def test_one_stratum_is_the_plain_auc_and_others_count_pairs(rows):
    labels, scores, strata = map(np.array, zip(*rows, strict=True))
    (found,) = auc_within_strata(labels, scores, np.zeros(len(labels)), once(len(labels)))
    assert found == pytest.approx(auc(labels, scores), nan_ok=True)
    (found,) = auc_within_strata(labels, scores, strata, once(len(labels)))
    shares = []
    for label, score, stratum in rows:
        others = scores[(strata == stratum) & (labels == 0)]
        if label and len(others):
            shares.append(np.mean((others < score) + (others == score) / 2))
    assert found == pytest.approx(np.mean(shares) if shares else math.nan, nan_ok=True)


def test_constant_covariates_and_too_few_negatives():
    (found,) = auc_of_residuals(LABEL, SCORE, np.ones((180, 2)), once(180))
    assert found == pytest.approx(auc(LABEL, SCORE))
    (found,) = auc_of_residuals([1, 1, 0, 0], [1.0, 2, 3, 4], [[1.0], [2], [3], [5]], once(4))
    assert math.isnan(found)
    with pytest.raises(ValueError, match="two-dimensional"):
        auc_of_residuals(LABEL, SCORE, AGE, once(180))
