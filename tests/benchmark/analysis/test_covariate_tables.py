"""All tables of covariates of a run, and effects planted in a synthetic cohort that they must find."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from benchmark.analysis.covariate_tables import covariate_tables
from benchmark.analysis.leaderboard import build
from benchmark.analysis.measures import Tested
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Statistics
from benchmark.synthetic import SyntheticCohort, plan
from stats.resamples import draw_patients
from tests.benchmark.trials import one_trial, write_cohort, write_trial

SETTINGS = Statistics(resamples=200)
NAMES = ["covariates", "subgroups", "heterogeneity", "image_adds", "score_predicts"]


def made(path, covariates):
    directory = write_cohort(RunDirectory(path))
    if covariates is not None:
        images = pl.read_parquet(directory.cohort).select("image")
        write_parquet(directory.covariates, images.with_columns(covariates))
    write_trial(directory, one_trial(), strength=1.2, ratio=1.2)
    return build(directory, [one_trial(), one_trial("partial")], SETTINGS)


def test_a_study_without_covariates_has_no_tables(tmp_path):
    board = made(tmp_path, None)
    assert board.of_covariates is None and not set(NAMES) & set(board.tables())


def test_every_finished_trial_is_in_the_tables(tmp_path):
    age = pl.Series("age", [50.0 + i % 31 for i in range(100)])
    sex = pl.Series("sex", ["f" if i // 4 % 2 else "m" for i in range(100)])
    board = made(tmp_path, [age, sex])
    tables = board.tables()
    assert list(tables)[-5:] == NAMES
    for name in NAMES[1:]:
        assert set(tables[name]["strategy"]) == {"lora"}
    assert set(tables["covariates"]["patients"]) == {"val", "test", "positive", "negative"}
    (row,) = tables["image_adds"].to_dicts()
    assert (row["n_patients"], row["n_positive"]) == (40, 20)
    assert row["not_known"] is None
    assert row["adds"] and not row["explained"], "the scores of `write_trial` follow the label, whatever the age"
    for name in NAMES:
        table = tables[name]
        assert not any(table[column].is_nan().any() for column in table.columns if table[column].dtype.is_float()), name


def of_ideal_reader(covariates, patients=500, seed=1):
    """The tables of a reader whose score is what the images show, in a synthetic cohort of test images."""
    rows = plan(SyntheticCohort(patients=patients, best_auc=0.8, seed=seed, covariates=covariates))
    drawn = pl.DataFrame(rows).with_columns(split=pl.lit("test"))
    label = drawn["label"].to_numpy()
    tested = Tested(label, expit(drawn["severity"].to_numpy() - 0.6), 0.5, {}, np.zeros(len(drawn)))
    resamples = draw_patients(drawn["patient_id"].to_numpy(), label, 200, 0)
    return drawn, tested, resamples


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of each planted effect."""
    found = {}
    for covariates in ("independent", "subgroup", "confounded"):
        drawn, tested, resamples = of_ideal_reader(covariates)
        directory = RunDirectory(tmp_path_factory.mktemp(covariates))
        write_parquet(directory.covariates, drawn.select("image", "age", "sex", "camera"))
        key = ("ideal", "reader", 0)
        made = covariate_tables(directory, drawn, [key], [tested], [True], resamples, SETTINGS)
        assert made is not None
        found[covariates] = made
    return found


def auc_test_of(tables, covariate):
    return tables.heterogeneity.filter(covariate=covariate, measure="auc").row(0, named=True)


def test_a_planted_subgroup_effect_is_found_and_no_other(tables):
    found = tables["subgroup"]
    assert auc_test_of(found, "camera")["p_holm"] < 0.001
    assert not auc_test_of(found, "sex")["differs"] and not auc_test_of(found, "age")["differs"]
    aucs = found.subgroups.filter(covariate="camera", measure="auc")
    a, b = (aucs.row(by_predicate=pl.col("subgroup") == name, named=True) for name in "AB")
    assert a["low"] < 0.8 < a["high"] and b["low"] < 0.5 < b["high"]
    assert not found.image_adds["explained"][0]


def test_planted_confounding_is_found(tables):
    row = tables["confounded"].image_adds.row(0, named=True)
    assert row["explained"] and row["predicts_covariates"].split("; ")[0] == "age"
    assert row["adjusted_auc_low"] < 0.5 < row["adjusted_auc_high"] and not row["adds"]
    assert row["auc_score"] > 0.75 and row["auc_gain_high"] < 0.02
    bands = tables["confounded"].subgroups.filter(covariate="age", measure="auc")["value"]
    assert bands.max() < row["auc_score"], "among patients of about the same age, the score says less"
    age = tables["confounded"].score_predicts.filter(covariate="age", measure="r_squared")["value"][0]
    assert age > 0.75


def test_covariates_that_have_nothing_to_do_with_it_explain_nothing(tables):
    row = tables["independent"].image_adds.row(0, named=True)
    assert row["adds"] and not row["explained"] and row["predicts_covariates"] == ""
    assert row["adjusted_auc"] == pytest.approx(row["auc_score"], abs=0.02)
    assert not tables["independent"].heterogeneity["differs"].any()
