"""Verdicts made by hand, compared with each truth."""

import polars as pl
import pytest

from benchmark.analysis.leaderboard import SCHEMA as LEADERBOARD
from benchmark.analysis.planted import INDICATORS, OUTCOMES, SCHEMA, compare_with_truth
from benchmark.synthetic import SyntheticCohort
from tests.benchmark import page_content


def leaderboard(**changes):
    """One cell that predicts, whose measures all name the vessels."""
    row = page_content.cells().row(0, named=True) | changes
    return pl.DataFrame([row], schema=LEADERBOARD)


def found(signal="vessels", best_auc=0.9, effect=1.0, **changes):
    """(verdict, outcome) of each measure."""
    cohort = SyntheticCohort(signal=signal, best_auc=best_auc, effect=effect)
    (row,) = compare_with_truth(leaderboard(**changes), cohort).trials.to_dicts()
    return {each.name: (row[f"{each.name}_verdict"], row[f"{each.name}_outcome"]) for each in INDICATORS}


@pytest.mark.parametrize(
    ("name", "column"), [("erasure", "depends"), ("permutation", "above_null"), ("other_class", "other_above_null")]
)
@pytest.mark.parametrize(
    ("shown", "verdict", "of_vessels", "of_periphery"),
    [(True, "vessels", "right", "wrong"), (False, "not shown", "missed", "right"), (None, None, None, None)],
)
def test_a_test_names_the_vessels_or_shows_nothing(name, column, shown, verdict, of_vessels, of_periphery):
    """Not showing a signal that is in the vessels is a miss, not a contradiction; if it is elsewhere, it is right."""
    assert found("vessels", **{column: shown})[name] == (verdict, of_vessels)
    assert found("periphery", **{column: shown})[name] == (verdict, of_periphery)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "of_vessels", "of_periphery"),
    [
        (1.01, 1.4, "vessels", "right", "wrong"),
        (1.0, 1.4, "not shown", "missed", "right"),
        (0.8, 1.0, "not shown", "missed", "right"),
        (0.8, 0.99, "elsewhere", "wrong", "right"),
        (None, None, None, None, None),
    ],
)
def test_the_interval_of_the_ratio_can_also_point_elsewhere(low, high, verdict, of_vessels, of_periphery):
    bounds = {"vessel_ratio_fov_low": low, "vessel_ratio_fov_high": high}
    assert found("vessels", **bounds)["ratio"] == (verdict, of_vessels)
    assert found("periphery", **bounds)["ratio"] == (verdict, of_periphery)


@pytest.mark.parametrize("signal", OUTCOMES)
@pytest.mark.parametrize("cell", [{"predicts": False}, {"predicts": None}, {"best_auc": 0.5}, {"effect": 0}])
def test_what_was_not_learned_is_shown_and_not_judged(signal, cell):
    """Nothing is judged if nothing was planted either."""
    assert set(found(signal, **cell).values()) == {("vessels", None)}


def test_one_row_per_finished_cell_with_the_numbers_behind_its_verdicts():
    cells = page_content.cells((0, 7))
    planted = compare_with_truth(cells, SyntheticCohort(best_auc=0.95, effect=2)).trials
    done = cells.filter(status="ok")
    assert planted.schema == pl.Schema(SCHEMA)
    shared = [name for name in SCHEMA if name in LEADERBOARD]
    assert {"auc", "auc_low", "depends_p_holm", "vessel_ratio_fov_null_p_holm", "vessel_ratio_fov_high"} < set(shared)
    assert planted.select(shared).equals(done.select(shared))
    assert planted.select("signal", "effect", "best_auc").unique().rows() == [("vessels", 2, 0.95)]
    assert compare_with_truth(cells.filter(pl.col("status") != "ok"), SyntheticCohort()).trials.is_empty()
