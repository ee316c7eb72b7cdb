import polars as pl

from benchmark.analysis.leaderboard import build
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Statistics
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
