"""Every number of the tables of covariates is in results.json, with its n and its method."""

import json

import polars as pl
import pytest

from benchmark.report.covariate_results import covariate_methods, covariate_result
from benchmark.report.results import CovariateResult
from benchmark.study.config import Statistics
from tests.benchmark import page_content

TABLES = page_content.of_covariates(page_content.board().trials)


@pytest.fixture(scope="module")
def result() -> CovariateResult:
    return covariate_result(TABLES)


def numbers_in(values) -> set[float]:
    """Every number of nested lists and dictionaries."""
    if isinstance(values, dict | list):
        inside = values.values() if isinstance(values, dict) else values
        return set().union(*(numbers_in(value) for value in inside))
    return {values} if isinstance(values, int | float) else set()


@pytest.mark.parametrize(
    ("name", "part", "elsewhere"),
    [
        ("covariates", "baseline", set()),
        ("subgroups", "subgroups", {"n_patients", "n_positive"}),
        ("heterogeneity", "heterogeneity", {"n_images"}),
        ("image_adds", "image_adds", {"n_positive", "adjusted_auc_p"}),
        ("score_predicts", "score_predicts", set()),
    ],
)
def test_every_number_of_a_table_is_in_the_results(result, name, part, elsewhere):
    found = numbers_in(json.loads(result.model_dump_json())[part])
    table = TABLES.tables()[name]
    columns = [column for column in table.columns if table[column].dtype.is_numeric() and column not in elsewhere]
    missing = {column: {*table[column].drop_nulls()} - found for column in columns}
    assert not {column: values for column, values in missing.items() if values}


def test_rows_keep_their_names(result):
    first = result.image_adds[0]
    assert (first.covariates, first.predicts_covariates) == (["age", "sex"], ["age"])
    assert (first.backbone, first.strategy, first.seed) == ("openclip-tiny", "classifier_only", 0)
    assert first.measures["auc_gain"].n == 611
    assert [each.subgroup for each in result.subgroups[:5]] == ["≤ 54", "> 54, ≤ 66", "> 66", "female", "male"]
    age = next(each for each in result.baseline if each.covariate == "age" and each.patients == "test")
    assert age.difference is not None and age.difference.n == 248
    within = [each.measure for each in result.heterogeneity if each.within is not None]
    assert set(within) == {"auc"}


def test_every_method_is_described(result):
    numbers = [number for each in result.image_adds for number in each.measures.values()]
    numbers += [number for each in result.subgroups for number in each.measures.values()]
    numbers += [each.estimate for each in result.score_predicts]
    numbers += [number for each in result.baseline for number in (each.mean, each.share, each.difference) if number]
    assert {number.method for number in numbers} == {*covariate_methods(Statistics()), "patients"}


def test_what_is_not_known_has_no_measures():
    unknown = TABLES.image_adds.with_columns(
        pl.lit(None, pl.Float64).alias(name) for name, dtype in TABLES.image_adds.schema.items() if dtype == pl.Float64
    ).with_columns(not_known=pl.lit("too few"), predicts_covariates=pl.lit(""), adds=pl.lit(None, pl.Boolean))
    tables = TABLES.__class__(**TABLES.tables() | {"image_adds": unknown})
    first = covariate_result(tables).image_adds[0]
    assert (first.measures, first.predicts_covariates, first.not_known) == ({}, [], "too few")


def test_round_trip(result):
    assert CovariateResult.model_validate_json(result.model_dump_json()) == result
