"""Scores that are age and nothing else, and scores that show more, in patients whose label depends on age."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from benchmark.analysis.image_adds import (
    IMAGE_ADDS_SCHEMA,
    SCORE_PREDICTS_SCHEMA,
    complete,
    image_adds,
    people,
)
from benchmark.analysis.measures import Tested
from benchmark.study.config import Statistics
from stats.added_value import added_value, folds_of
from stats.calibration import as_logits
from stats.metrics import auc
from stats.multiple import holm

SETTINGS = Statistics(resamples=200)
N = 240
RNG = np.random.default_rng(11)
AGE = RNG.normal(60, 9, N)
SEX = np.where(RNG.uniform(size=N) < 0.5, "female", "male")
LABEL = (RNG.uniform(size=N) < expit((AGE - 60) / 5)).astype(int)
COVARIATES = pl.DataFrame({"age": AGE, "sex": SEX})
PATIENTS = [f"p{i:03d}" for i in range(N)]
OLDER = (AGE - 60) / 9 + 0.4 * RNG.normal(size=N)


def trial(logits, labels=LABEL):
    return Tested(labels, expit(logits), 0.5, {}, np.zeros(len(labels)))


def made(*logits, covariates=COVARIATES, predicts=True):
    keys = [("dinov2-tiny", "lora", seed) for seed in range(len(logits))]
    patients = people(pl.Series(PATIENTS), LABEL, covariates)
    return image_adds(keys, [trial(each) for each in logits], [predicts] * len(logits), patients, SETTINGS)


@pytest.fixture(scope="module")
def both():
    """The first score is age and noise; the second shows the label, too."""
    return made(OLDER, OLDER + 1.2 * (LABEL - 0.5))


def test_a_score_that_is_age_is_explained_by_it(both):
    row = both[0].row(0, named=True)
    assert auc(LABEL, OLDER) > 0.75
    assert row["explained"] and not row["adds"] and row["p_holm"] > 0.05
    assert row["adjusted_auc_low"] < 0.5 < row["adjusted_auc_high"]
    assert row["auc_gain_low"] < 0 < row["auc_gain_high"] or abs(row["auc_gain"]) < 0.01
    assert row["predicts_covariates"] == "age"


def test_a_score_that_shows_more_adds(both):
    row = both[0].row(1, named=True)
    assert row["adds"] and not row["explained"]
    assert row["adjusted_auc_low"] > 0.5 and row["auc_gain"] > 0.02 and row["brier_gain"] > 0
    assert row["auc_both"] > row["auc_covariates"]


def test_a_trial_that_does_not_predict_is_not_called_explained():
    table, _ = made(OLDER, predicts=False)
    assert table["explained"].to_list() == [False]


def test_the_numbers_are_those_of_the_models(both):
    known = complete(people(pl.Series(PATIENTS), LABEL, COVARIATES))
    assert known.design.shape == (N, 3), "a curve of age, and one column of sex"
    expected = added_value(LABEL, known.design, as_logits(expit(OLDER)), folds_of(LABEL, SETTINGS.seed))
    row = both[0].row(0, named=True)
    assert expected is not None
    assert row["likelihood_ratio"] == pytest.approx(expected.test.statistic)
    assert row["auc_covariates"] == pytest.approx(expected.auc["covariates"].value)
    assert (row["n_patients"], row["n_positive"], row["n_missing"]) == (N, LABEL.sum(), 0)
    assert row["n_coefficients"] == 5 and row["covariates"] == "age; sex"


def test_the_score_is_compared_with_each_covariate(both):
    rows = both[1].filter(seed=0)
    rho = rows.filter(measure="spearman").row(0, named=True)
    assert rho["value"] > 0.85 and rho["low"] < rho["value"] < rho["high"] and rho["p_holm"] < 1e-6
    squared = rows.filter(measure="r_squared").row(0, named=True)
    assert squared["value"] == pytest.approx(np.corrcoef(OLDER, AGE)[0, 1] ** 2) and squared["p_value"] is None
    sex = rows.filter(covariate="sex").to_dicts()
    assert [(each["category"], each["measure"]) for each in sex] == [("male", "auc")]
    assert sex[0]["value"] == pytest.approx(auc(SEX == "male", OLDER))
    assert sex[0]["low"] < 0.5 < sex[0]["high"]


def test_p_values_are_adjusted_for_covariates_and_trials(both):
    for column, table in (("p_value", both[1]), ("p_value", both[0]), ("adjusted_auc_p", both[0])):
        adjusted = table[column.replace("p_value", "p") + "_holm"].fill_null(np.nan).to_list()
        assert adjusted == pytest.approx(holm(table[column].fill_null(np.nan).to_numpy()).tolist(), nan_ok=True)


def test_several_images_are_one_patient():
    """The mean logit; positive if any image is."""
    patients = people(pl.Series(["b", "a", "b"]), np.array([0, 0, 1]), pl.DataFrame({"age": [60.0, 50.0, 62.0]}))
    assert patients.labels.tolist() == [False, True]
    assert patients.covariates["age"].to_list() == [50, 61]
    scores = patients.scores(trial(np.array([1.0, -1.0, 2.0]), np.array([0, 0, 1])))
    assert scores.tolist() == pytest.approx([-1.0, 1.5])


def test_patients_with_a_missing_covariate_are_counted_and_left_out():
    age = pl.Series([None] * 30 + AGE[30:].tolist(), dtype=pl.Float64)
    table, follows = made(OLDER, covariates=COVARIATES.with_columns(age=age))
    assert table.select("n_patients", "n_missing").row(0) == (N - 30, 30)
    assert dict(follows.select("measure", "n_patients").iter_rows()) == {"spearman": 210, "r_squared": 210, "auc": N}


def test_a_covariate_that_follows_from_another_has_no_column():
    doubled = COVARIATES.with_columns(months=pl.col("age") * 12, gender="sex", site=pl.lit("one"))
    known = complete(people(pl.Series(PATIENTS), LABEL, doubled))
    assert known.names == ("age", "sex") and known.design.shape == (N, 3)


def test_a_number_enters_as_a_line_where_patients_are_few():
    few = complete(people(pl.Series(PATIENTS[:60]), LABEL[:60], COVARIATES[:60]))
    assert few.design.shape == (60, 2)
    np.testing.assert_array_equal(few.design[:, 0], AGE[:60])


def test_rare_categories_are_joined():
    camera = pl.Series(["a"] * 150 + ["b"] * 70 + ["c"] * 8 + ["d"] * 8 + ["e"] * 4)
    known = complete(people(pl.Series(PATIENTS), LABEL, pl.DataFrame({"camera": camera})))
    assert known.design.sum(axis=0).tolist() == [70, 20]


@pytest.mark.parametrize(
    ("covariates", "reason"),
    [
        (pl.DataFrame({"age": pl.Series([None] * N, dtype=pl.Float64)}), "no covariate is known"),
        (pl.DataFrame({"site": ["one"] * N}), "no covariate is known of patients that differ"),
        (pl.DataFrame({"age": pl.Series([60.0 + i if i < 15 else None for i in range(N)])}), "of one class have"),
        (pl.DataFrame({"has_it": LABEL.astype(str)}), "separate the classes"),
    ],
)
def test_what_cannot_be_known_has_a_reason(covariates, reason):
    table, _ = made(OLDER, covariates=covariates)
    row = table.row(0, named=True)
    assert reason in row["not_known"]
    assert row["adds"] is None and row["explained"] is None and row["p_holm"] is None


def test_columns_with_and_without_trials():
    for tables in (made(), made(OLDER)):
        assert tables[0].schema == pl.Schema(IMAGE_ADDS_SCHEMA)
        assert tables[1].schema == pl.Schema(SCORE_PREDICTS_SCHEMA)
