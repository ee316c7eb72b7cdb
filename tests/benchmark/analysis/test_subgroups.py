"""Effects planted in one subgroup; against the measures of that subgroup alone; and against R."""

from functools import partial

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from benchmark.analysis.covariates import Grouping
from benchmark.analysis.measures import SCALES, Tested, estimate
from benchmark.analysis.subgroups import (
    COMPARED,
    HETEROGENEITY_SCHEMA,
    SUBGROUPS_SCHEMA,
    _measured,
    in_subgroups,
)
from benchmark.study.config import Statistics
from stats.multiple import holm
from stats.resamples import draw_patients
from tests.stats.covariates import CAMERA, LABEL, SCORE

SETTINGS = Statistics(resamples=200)
KEY = ("dinov2-tiny", "lora", 0)
PATIENTS = np.repeat(np.arange(150), 2)
LABELS = np.repeat(np.arange(150) % 2, 2)
SEX = np.repeat(np.arange(150) // 2 % 2, 2)


def scored(shown, seed=0):
    """Scores that follow the label by `shown`, (300,)."""
    noise = np.random.default_rng(seed).normal(size=150)[PATIENTS]
    return Tested(LABELS, expit(shown * LABELS + noise - 0.5), 0.5, {}, np.zeros(300))


def groups(of_image, name="sex"):
    names = tuple(f"group {k}" for k in range(int(of_image.max()) + 1))
    return Grouping(name, names, None, of_image)


def made(trials, groupings, settings=SETTINGS, patients=PATIENTS, labels=LABELS):
    keys = [(*KEY[:2], seed) for seed in range(len(trials))]
    resamples = draw_patients(patients, labels, settings.resamples, settings.seed)
    return in_subgroups(keys, trials, groupings, resamples, settings)


def test_a_signal_that_one_subgroup_does_not_show_is_found():
    subgroups, tests = made([scored(np.where(SEX == 1, 2.5, 0.0))], [groups(SEX)])
    aucs = {row["subgroup"]: row for row in subgroups.filter(measure="auc").to_dicts()}
    assert aucs["group 0"]["high"] < aucs["group 1"]["low"]
    assert aucs["group 0"]["low"] < 0.5 < aucs["group 0"]["high"]
    (test,) = tests.filter(measure="auc").to_dicts()
    assert test["p_holm"] < 0.001 and (test["n_subgroups"], test["n_tested"]) == (2, 2)
    assert aucs["group 0"]["value"] < test["within"] < aucs["group 1"]["value"]


def test_a_signal_that_all_show_alike_is_not_called_different():
    """In 40 studies, about two tests of five per cent are below it."""
    low = sum(
        made([scored(1.5, seed)], [groups(SEX)])[1].filter(measure="auc")["p_value"][0] < 0.05 for seed in range(40)
    )
    assert low <= 6


def test_a_subgroup_has_the_measures_of_its_images_alone():
    """Also the same interval, up to the degrees of freedom: patients outside do not matter."""
    trial, inside = scored(1.5), SEX == 1
    subgroups, _ = made([trial], [groups(SEX)])
    alone = Tested(LABELS[inside], trial.scores[inside], 0.5, {}, np.zeros(inside.sum()))
    resamples = draw_patients(PATIENTS[inside], LABELS[inside], 200, 0)
    expected = estimate(partial(_measured, alone), resamples, SETTINGS, SCALES)
    for row in subgroups.filter(subgroup="group 1").to_dicts():
        measure = row["measure"]
        assert row["value"] == pytest.approx(expected.values[measure])
        if measure != "auc":  # whose standard error is moderated
            assert (row["low"], row["high"]) == pytest.approx(expected.intervals[measure], rel=0.02, abs=0.01)
        assert row["n_patients"] == {"sensitivity": 37, "specificity": 37}.get(measure, 74)


def test_the_test_of_aucs_is_close_to_that_of_proc_and_metafor():
    """`rma(yi=qlogis(a), vi=var(roc)/(a*(1-a))^2, method="FE")`: Q = 1.0066, p = 0.6045, with DeLong's variances.

    Here, variances are those of the jackknife, moderated, and the F distribution replaces chi-squared.
    """
    trial = Tested(LABEL, expit(SCORE - 2), 0.5, {}, np.zeros(180))
    camera = np.searchsorted(["a", "b", "c"], CAMERA)
    subgroups, tests = made([trial], [groups(camera)], patients=np.arange(180), labels=LABEL)
    (test,) = tests.filter(measure="auc").to_dicts()
    assert (test["q"], test["p_value"]) == pytest.approx((1.0066, 0.6045), rel=0.1)
    expected = (0.84837962962963, 0.909090909090909, 0.84375)
    assert subgroups.filter(measure="auc")["value"].to_list() == pytest.approx(expected)


def test_patients_with_images_in_two_subgroups_are_no_independent_patients():
    """Each patient has one image in each group with almost the same score: a small difference is then certain."""
    eye = np.tile([0, 1], 150)
    jitter = np.random.default_rng(1).normal(size=300) * 0.01
    shown = scored(1.0)
    logit = np.log(shown.scores / (1 - shown.scores)) + jitter + 0.25 * eye * (2 * LABELS - 1)
    together = Tested(LABELS, expit(logit), 0.5, {}, np.zeros(300))
    _, paired = made([together], [groups(eye, "eye")])
    _, apart = made([together], [groups(eye, "eye")], patients=np.arange(300))
    (p_paired,), (p_apart,) = (each.filter(measure="auc")["p_value"].to_list() for each in (paired, apart))
    assert p_paired < 1e-6 and p_apart > 0.02


def test_p_values_are_adjusted_for_covariates_and_trials_of_one_measure():
    half = np.repeat(np.arange(150) % 4 // 2, 2)
    trials = [scored(1.5, seed) for seed in range(3)]
    _, tests = made(trials, [groups(SEX), groups(half, "half")])
    for measure in COMPARED:
        rows = tests.filter(measure=measure)
        assert len(rows) == 6
        expected = holm(rows["p_value"].fill_null(np.nan).to_numpy())
        assert rows["p_holm"].fill_null(np.nan).to_list() == pytest.approx(expected.tolist(), nan_ok=True)


def test_a_subgroup_with_one_class_has_no_auc_and_is_not_tested():
    one_class = np.where(LABELS == 1, 0, SEX + 1)
    subgroups, tests = made([scored(1.5)], [groups(one_class)])
    values = {row["subgroup"]: row["value"] for row in subgroups.filter(measure="auc").to_dicts()}
    assert set(values.values()) == {None}
    assert subgroups.filter(measure="specificity", subgroup="group 0")["value"].to_list() == [None]
    assert tests.filter(measure="auc").select("n_tested", "p_value", "within").row(0) == (0, None, None)
    assert tests.filter(measure="specificity")["n_tested"][0] == 2


def test_a_perfect_subgroup_has_exact_intervals():
    subgroups, _ = made([scored(np.where(SEX == 1, 40.0, 0.0))], [groups(SEX)])
    (row,) = subgroups.filter(measure="sensitivity", subgroup="group 1").to_dicts()
    assert (row["value"], row["high"]) == (1, 1) and 0.8 < row["low"] < 1


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_bootstrap_intervals(interval):
    subgroups, tests = made([scored(1.5)], [groups(SEX)], Statistics(resamples=200, interval=interval))
    (row,) = subgroups.filter(measure="auc", subgroup="group 1").to_dicts()
    assert row["low"] < row["value"] < row["high"]
    assert tests["p_value"][0] is not None


def test_columns_with_and_without_trials_and_values():
    for trials in ([], [scored(1.0)]):
        subgroups, tests = made(trials, [groups(SEX), groups(np.full(300, -1), "unknown")])
        assert subgroups.schema == pl.Schema(SUBGROUPS_SCHEMA) and tests.schema == pl.Schema(HETEROGENEITY_SCHEMA)
    assert tests.filter(covariate="unknown", measure="auc").select("n_subgroups", "n_missing").row(0) == (0, 300)
