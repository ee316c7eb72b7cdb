"""Averages of strategies and backbones, and of cells over their seeds, made equal or far apart."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import t as student_t

from benchmark.analysis.comparisons import COMPARED, over_all_seeds
from benchmark.analysis.contrasts import (
    AVERAGES_SCHEMA,
    CONTRASTS_SCHEMA,
    REPEATABILITY_SCHEMA,
    TRAINED,
    TRAININGS,
    average,
    complete,
    repeat,
)
from benchmark.analysis.measures import Estimates, difference, estimate_trial
from benchmark.study.config import Statistics
from stats.jackknife import spread
from stats.multiple import holm
from stats.resamples import draw_patients
from tests.benchmark.trials import LABELS, PATIENTS, make_tested
from xai.saliency import RATIOS

SETTINGS = Statistics()
RESAMPLES = draw_patients(PATIENTS, LABELS, resamples=100, seed=0)
BACKBONES, STRATEGIES = ("a", "b"), ("classifier_only", "partial", "lora")


def made(seeds: int, cells=None) -> tuple[list, list, list[Estimates]]:
    """Keys, arrays, and estimates of trainings; LoRA's ratios and AUCs are higher, backbones do not differ."""
    cells = cells or [(backbone, strategy) for backbone in BACKBONES for strategy in STRATEGIES]
    keys = [(*cell, seed) for cell in cells for seed in range(seeds)]
    tested = [
        make_tested(
            strength=2 if strategy == "lora" else 0.3,
            ratio=1.5 if strategy == "lora" else 1.1,
            seed=10 * cells.index((backbone, strategy)) + seed,
        )
        for backbone, strategy, seed in keys
    ]
    return keys, tested, [estimate_trial(of_cell, RESAMPLES, SETTINGS) for of_cell in tested]


@pytest.fixture(scope="module")
def once():
    return made(1)


@pytest.fixture(scope="module")
def thrice():
    return made(3)


def averaged(run, settings=SETTINGS):
    keys, _, estimates = run
    return average(keys, estimates, settings)


def test_families_levels_and_columns(once, thrice):
    for run, families, holds_for in ((once, 2, TRAINED), (thrice, 3, TRAININGS)):
        averages, contrasts = averaged(run)
        assert (averages.columns, contrasts.columns) == (list(AVERAGES_SCHEMA), list(CONTRASTS_SCHEMA))
        assert (
            averages["family"].unique(maintain_order=True).to_list() == ["strategies", "backbones", "cells"][:families]
        )
        assert set(averages["measure"]) == set(COMPARED)
        assert set(averages["holds_for"]) | set(contrasts["holds_for"]) == {holds_for}
    of_auc = contrasts.filter(measure="auc")
    assert of_auc["family"].value_counts().sort("family").rows() == [("backbones", 1), ("cells", 15), ("strategies", 3)]
    assert of_auc.filter(family="strategies")["n_trainings"].to_list() == [12] * 3
    assert averages.filter(family="strategies", measure="auc").select("n_cells", "n_trainings").rows() == [(2, 6)] * 3


def test_a_mean_is_that_of_the_cells_and_a_difference_that_of_the_means(thrice):
    keys, _, estimates = thrice
    averages, contrasts = averaged(thrice)
    for measure in COMPARED:
        own = {
            strategy: np.mean([e.values[measure] for key, e in zip(keys, estimates, strict=True) if key[1] == strategy])
            for strategy in STRATEGIES
        }
        means = averages.filter(family="strategies", measure=measure)
        assert dict(means.select("strategy", "mean").rows()) == pytest.approx(own)
        for row in contrasts.filter(family="strategies", measure=measure).to_dicts():
            assert row["difference"] == pytest.approx(own[row["strategy_a"]] - own[row["strategy_b"]])
            assert row["low"] < row["difference"] < row["high"]


def test_with_one_seed_a_difference_of_averages_is_paired_over_patients(once):
    """Computed differently: the mean of two differences between strategies, one per backbone, by jackknife."""
    _, tested, estimates = once
    _, contrasts = averaged(once)
    row = contrasts.filter(family="strategies", measure="auc", strategy_a="partial", strategy_b="lora").row(
        0, named=True
    )
    pairs = [
        difference((tested[i], estimates[i]), (tested[i + 1], estimates[i + 1]), "auc", RESAMPLES, SETTINGS)
        for i in (1, 4)
    ]
    assert row["difference"] == pytest.approx(np.mean([pair.value for pair in pairs]))
    groups = estimates[0].groups
    left_out = np.mean([estimates[i].left_out["auc"] - estimates[i + 1].left_out["auc"] for i in (1, 4)], axis=0)
    found = spread(row["difference"], left_out, groups.strata, groups.patients)
    margin = student_t.isf(0.025, found.degrees_of_freedom) * found.standard_error
    assert (row["low"], row["high"]) == pytest.approx((row["difference"] - margin, row["difference"] + margin))
    assert (row["error_patients"], row["error_trainings"]) == (pytest.approx(found.standard_error), None)


def test_several_seeds_widen_what_one_had(once, thrice):
    """With the same patients, other trainings widen the interval."""
    _, contrasts = averaged(thrice)
    assert (contrasts["error_trainings"] > 0).all()
    of_auc = contrasts.filter(family="strategies", measure="auc").to_dicts()
    for row in of_auc:
        assert (row["high"] - row["low"]) / 2 > student_t.isf(0.025, 49) * row["error_patients"]


def test_planted_strategies_are_found_and_equal_backbones_are_not(thrice):
    averages, contrasts = averaged(thrice)
    letters = dict(averages.filter(family="strategies", measure="vessel_ratio").select("strategy", "group").rows())
    assert letters == {"lora": "a", "partial": "b", "classifier_only": "b"}
    assert averages.filter(family="backbones", measure="vessel_ratio")["group"].to_list() == ["a", "a"]
    for (_, _), rows in contrasts.group_by("family", "measure"):
        assert rows["p_holm"].to_list() == pytest.approx(holm(rows["p_value"]).tolist())


def test_trainings_that_differ_are_not_taken_for_cells_that_do():
    """Two cells whose seeds differ far more than the cells: significant over patients alone, but not over seeds."""
    keys = [("a", strategy, seed) for strategy in ("partial", "lora") for seed in (0, 1)]
    tested = [make_tested(ratio=ratio, seed=seed) for seed, ratio in enumerate((1.0, 3.0, 1.3, 3.4))]
    estimates = [estimate_trial(of_cell, RESAMPLES, SETTINGS) for of_cell in tested]
    (row,) = average(keys, estimates, SETTINGS)[1].filter(family="cells", measure="vessel_ratio").to_dicts()
    assert student_t.sf(abs(row["difference"]) / row["error_patients"], 40) < 0.001
    assert row["p_value"] > 0.3


def test_cells_over_seeds_have_the_interval_of_the_seeds_table(thrice):
    keys, _, estimates = thrice
    cells = averaged(thrice)[0].filter(family="cells")
    of_seeds = over_all_seeds(keys, estimates, SETTINGS)
    joined = cells.join(of_seeds, on=["backbone", "strategy", "measure"], suffix="_seeds")
    assert len(joined) == len(cells) == 6 * len(COMPARED)
    for name in ("mean", "low", "high"):
        assert joined[name].to_list() == pytest.approx(joined[f"{name}_seeds"].to_list())


def test_only_what_all_have_is_averaged_and_the_rest_is_named():
    run = made(1, cells=[("a", "partial"), ("a", "lora"), ("b", "partial"), ("b", "lora"), ("b", "full")])
    averages, _ = averaged(run)
    of_strategies = averages.filter(family="strategies", measure="auc")
    assert of_strategies["strategy"].to_list() == ["partial", "lora"]
    assert set(averages["missing"]) == {"b, full"}


def test_a_cell_with_one_seed_is_missing_where_others_have_several():
    keys, _, estimates = made(2)
    averages, _ = average(keys[:-1], estimates[:-1], SETTINGS)
    assert set(averages.filter(family="strategies")["strategy"]) == {"classifier_only", "partial"}
    assert set(averages["missing"]) == {"a, lora; b, lora", "b, lora"}


def test_a_cell_without_ratios_is_missing_from_those_of_ratios_alone(once):
    keys, tested, estimates = once
    nothing = replace(tested[0], ratios={name: np.full(100, np.nan) for name in RATIOS})
    averages, _ = average(keys, [estimate_trial(nothing, RESAMPLES, SETTINGS), *estimates[1:]], SETTINGS)
    missing = dict(averages.filter(family="strategies").select("measure", "missing").unique().rows())
    assert missing["auc"] == ""
    assert missing["vessel_ratio"] == "a, classifier_only; b, classifier_only"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], ([], [])),
        ([("x", "1"), ("y", "1")], ([], [])),
        ([("x", "1"), ("y", "1"), ("x", "2")], ([], [])),
        ([(a, b) for a in "xy" for b in "123"], (["x", "y"], ["1", "2", "3"])),
        ([(a, b) for a in "xyz" for b in "123" if (a, b) != ("z", "3")], (["x", "y", "z"], ["1", "2"])),
    ],
)
def test_the_largest_complete_part_of_a_layout(there, expected):
    assert complete(there) == expected


def test_fewer_cells_than_a_family_takes():
    for run in (([], [], []), made(1, cells=[("a", "lora")]), made(1, cells=[("a", "lora"), ("a", "partial")])):
        averages, contrasts = averaged(run)
        assert (len(averages), len(contrasts)) == (0, 0)
        assert (averages.columns, contrasts.columns) == (list(AVERAGES_SCHEMA), list(CONTRASTS_SCHEMA))


def test_the_intraclass_correlation_is_over_cells_of_several_seeds(once, thrice):
    keys, _, estimates = thrice
    table = repeat(keys, estimates, SETTINGS)
    assert table.columns == list(REPEATABILITY_SCHEMA)
    assert table["measure"].to_list() == list(COMPARED)
    row = table.filter(measure="vessel_ratio").row(0, named=True)
    values = np.array([e.values["vessel_ratio"] for e in estimates]).reshape(6, 3)
    within = values.var(axis=1, ddof=1).mean()
    between = 3 * values.mean(axis=1).var(ddof=1)
    assert row["icc"] == pytest.approx((between - within) / (between + 2 * within))
    assert row["low"] < row["icc"] < row["high"]
    assert (row["n_cells"], row["n_trainings"]) == (6, 18)
    assert len(repeat(*(once[0], once[2]), SETTINGS)) == len(repeat([], [], SETTINGS)) == 0


def test_no_table_holds_nan(once, thrice):
    for run in (once, thrice):
        for table in averaged(run):
            assert not table.select(pl.col(pl.Float64).is_nan().any()).to_numpy().any()
