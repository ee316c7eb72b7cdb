"""The tables of an external validation in results.json."""

from benchmark.report.external_results import external_methods, external_result
from benchmark.report.results import ExternalResult
from benchmark.study.config import Statistics
from tests.benchmark.report.test_external_section import content


def test_every_row_has_its_numbers():
    tables = content((-0.1, 0.0)).tables
    result = external_result(tables, "study A", 70, 30)
    assert len(result.compared) == len(tables.external)
    first = result.compared[0]
    assert (first.measure, first.internal.value, first.internal.n, first.external.n) == ("auc", 0.8, 50, 40)
    assert first.difference.p_value == first.p_holm == 0.01
    assert first.difference.n == 90
    assert result.compared[2].threshold == 0.4
    assert result.recalibrated[0].measures["brier"].n == 20
    assert [(row.about, row.difference.value) for row in result.shifts] == [("scores", 1.0), ("images", 1.0)]
    assert ExternalResult.model_validate_json(result.model_dump_json()) == result


def test_every_number_names_a_method_that_is_described():
    result = external_result(content((-0.1, 0.0)).tables, "study A", 70, 30)
    named = {getattr(row, side).method for row in result.compared for side in ("internal", "external", "difference")}
    named |= {row.difference.method for row in result.shifts}
    named |= {number.method for row in result.recalibrated for number in row.measures.values()}
    assert named == {"patients", *external_methods(Statistics())}


def test_a_threshold_that_no_score_reaches_is_null():
    tables = content((-0.1, 0.0)).tables
    infinite = tables.external.with_columns(threshold=float("inf"))
    result = external_result(type(tables)(infinite, tables.recalibration, tables.shifts), "study A", 70, 30)
    assert {row.threshold for row in result.compared} == {None}
