"""Comparisons of trials and cells: paired differences, ranks, seeds of a cell, performance against explainability.

All trials share one set of resamples of patients, so their differences are paired.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.measures import (
    CHANCE,
    MEASURES,
    SCALES,
    Difference,
    Estimates,
    Tested,
    difference,
    interval_of_mean,
    p_above_chance,
)
from benchmark.study.config import IntervalMethod, Statistics
from stats.correlation import COEFFICIENTS, Coefficient, RankCorrelation, kendall, spearman
from stats.delong import delong_test
from stats.error_in_cells import OverCells, over_cells
from stats.intervals import UNDEFINED, percentile_interval
from stats.jackknife import LeftOut, covariance
from stats.multiple import holm
from stats.ranks import groups, rank, rank_sets, tied_with_best
from stats.resamples import PatientResamples
from stats.seeds import over_seeds, seeds_covariance

TrialKey = tuple[str, str, int]  # backbone, strategy, seed
TRIAL: dict[str, type[pl.DataType]] = {"backbone": pl.String, "strategy": pl.String, "seed": pl.Int64}

COMPARED = ("auc", "f1", "artery_ratio", "vein_ratio", "vessel_ratio", "vessel_ratio_fov")
CORRELATED = [
    (performance, ratio)
    for performance in ("auc", "f1")
    for ratio in ("vessel_ratio", "artery_ratio", "vein_ratio", "vessel_ratio_fov")
]
PAIRED: dict[IntervalMethod, str] = {
    "t": "Student's t over patients",
    "percentile": "percentile bootstrap over patients, p from its standard error",
    "bca": "BCa bootstrap over patients, p from its standard error",
}
DELONG = "DeLong, clustered by patient"
# The verdict on a pair of trials. "not known": a difference is neither shown nor ruled out.
DIFFERS, EQUIVALENT, DIFFERS_WITHIN, NOT_KNOWN = "differs", "equivalent", "differs within the margin", "not known"
COMPARISON_SCHEMA: dict[str, type[pl.DataType]] = {
    "measure": pl.String,
    **{f"{name}_{side}": kind for side in "ab" for name, kind in TRIAL.items()},
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "p_equivalent": pl.Float64,
    "p_equivalent_holm": pl.Float64,
    "verdict": pl.String,
    "method": pl.String,
    "n_images": pl.Int64,
}
SEEDS_SCHEMA: dict[str, type[pl.DataType]] = {
    "backbone": pl.String,
    "strategy": pl.String,
    "measure": pl.String,
    "n_seeds": pl.Int64,
    "mean": pl.Float64,
    "sd": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "method": pl.String,
}
CORRELATION_SCHEMA: dict[str, type[pl.DataType]] = {
    "performance": pl.String,
    "explainability": pl.String,
    "coefficient": pl.String,
    "estimate": pl.Float64,
    "patients_low": pl.Float64,
    "patients_high": pl.Float64,
    "corrected": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "not_known": pl.String,
    "p_value": pl.Float64,
    "n_cells": pl.Int64,
    "n_predicting": pl.Int64,
    "method": pl.String,
}
FEWEST_CELLS = 6  # for inference about other cells: fewer have too few permutations for a significant correlation
_TESTS: dict[Coefficient, Callable[..., RankCorrelation]] = {"spearman": spearman, "kendall": kendall}


def compare(
    keys: Sequence[TrialKey],
    tested: Sequence[Tested],
    estimates: Sequence[Estimates],
    resamples: PatientResamples,
    settings: Statistics,
) -> pl.DataFrame:
    """Every pair of trials by each of `COMPARED`, columns as `COMPARISON_SCHEMA`.

    For AUCs, intervals and p-values are DeLong's for patients with several images (Student's t); for other measures,
    those of `benchmark.analysis.measures.difference`. Holm's method adjusts for all pairs. Two AUCs are equivalent if
    two one-sided tests show that they differ by less than the margin (Schuirmann 1987); these tests use DeLong's
    variance and the same adjustment.
    """
    trials = list(zip(tested, estimates, strict=True))
    rows: list[dict[str, Any]] = []
    for measure in COMPARED:
        of_measure = []
        for a, b in itertools.combinations(range(len(keys)), 2):
            p_equivalent = np.nan
            if measure == "auc":
                test = delong_test(tested[a].labels, tested[a].scores, tested[b].scores, resamples.patient_of_image)
                n = len(tested[a].labels)
                found = Difference(test.difference, test.t_interval(settings.confidence), test.p_value, n)
                p_equivalent, method = test.equivalence_p_value(settings.equivalence_margin), DELONG
            else:
                found = difference(trials[a], trials[b], measure, resamples, settings)
                method = PAIRED[settings.interval]
            of_measure.append(
                {"measure": measure}
                | named(keys[a], "a")
                | named(keys[b], "b")
                | {"difference": found.value, **dict(zip(("low", "high"), found.interval, strict=True))}
                | {"p_value": found.p_value, "p_equivalent": p_equivalent, "method": method}
                | {"n_images": found.n_images}
            )
        if of_measure:
            rows += adjusted(of_measure, settings.confidence)
    return frame(rows, COMPARISON_SCHEMA)


def adjusted(rows: list[dict[str, Any]], confidence: float) -> list[dict[str, Any]]:
    """Pairs of one measure with p-values adjusted for all of them, and the verdict at a level of 1 - confidence."""
    differ, equivalent = (holm([row[name] for row in rows]).tolist() for name in ("p_value", "p_equivalent"))
    return [
        row | {"p_holm": p, "p_equivalent_holm": q, "verdict": verdict(p <= 1 - confidence, q <= 1 - confidence)}
        for row, p, q in zip(rows, differ, equivalent, strict=True)
    ]


def verdict(differs: bool, equivalent: bool) -> str:
    """The verdict from two tests of a pair: whether it differs, and whether it differs by less than the margin."""
    if differs:
        return DIFFERS_WITHIN if equivalent else DIFFERS
    return EQUIVALENT if equivalent else NOT_KNOWN


def ranked(
    keys: Sequence[TrialKey], estimates: Sequence[Estimates], comparisons: pl.DataFrame, confidence: float
) -> list[dict[str, Any]]:
    """For every trial: rank by AUC with its confidence set, letters of the groups that do not differ, tied_best."""
    if not keys:
        return []
    areas = [estimate.values["auc"] for estimate in estimates]
    ranks, p_values = rank(areas), _p_values(keys, comparisons, "auc")
    sets = rank_sets(p_values, areas, 1 - confidence)
    letters = groups(p_values, ranks, 1 - confidence)
    tied = tied_with_best(p_values, ranks, 1 - confidence)
    return [
        {"rank": ranks[i], "rank_low": low, "rank_high": high, "group": letters[i], "tied_best": bool(tied[i])}
        for i, (low, high) in enumerate(sets)
    ]


def tied_best(done: pl.DataFrame, comparisons: pl.DataFrame, measure: str, alpha: float) -> list[bool]:
    """Whether each row of a leaderboard has the highest value of one of `COMPARED`, or does not differ from it."""
    values = done[measure].fill_null(np.nan).to_numpy()
    if not len(values):
        return []
    p_values = _p_values(done.select(*TRIAL).rows(), comparisons, measure)
    return tied_with_best(p_values, rank(values), alpha).tolist()


def _p_values(keys: Sequence[TrialKey], comparisons: pl.DataFrame, measure: str) -> np.ndarray:
    """Adjusted p-values of all pairs (k, k), 1 on the diagonal, NaN for an undefined one."""
    place = {key: index for index, key in enumerate(keys)}
    p_values = np.eye(len(keys))
    for row in comparisons.filter(measure=measure).to_dicts():
        a, b = (place[row[f"backbone_{s}"], row[f"strategy_{s}"], row[f"seed_{s}"]] for s in "ab")
        p_values[a, b] = p_values[b, a] = np.nan if row["p_holm"] is None else row["p_holm"]
    return p_values


def over_all_seeds(keys: Sequence[TrialKey], estimates: Sequence[Estimates], settings: Statistics) -> pl.DataFrame:
    """Every measure of cells with several seeds, columns as `SEEDS_SCHEMA`."""
    rows = []
    for backbone, strategy in dict.fromkeys(key[:2] for key in keys):
        of_cell = [estimate for key, estimate in zip(keys, estimates, strict=True) if key[:2] == (backbone, strategy)]
        for measure in MEASURES if len(of_cell) > 1 else ():
            values = [estimate.values[measure] for estimate in of_cell]
            if np.isnan(values).any():
                continue
            of_patients = interval_of_mean(of_cell, measure, settings) if measure in SCALES else UNDEFINED
            found = over_seeds(values, of_patients, settings.confidence, SCALES.get(measure, "identity"))
            rows.append(
                {
                    "backbone": backbone,
                    "strategy": strategy,
                    "measure": measure,
                    "n_seeds": found.n_seeds,
                    "mean": found.mean,
                    "sd": found.sd,
                    "low": found.low,
                    "high": found.high,
                    "method": "patients and seeds",
                }
            )
    return frame(rows, SEEDS_SCHEMA)


def correlate(keys: Sequence[TrialKey], estimates: Sequence[Estimates], settings: Statistics) -> pl.DataFrame:
    """Performance against explainability over cells, columns as `CORRELATION_SCHEMA`; the published pair comes first.

    A cell is a backbone with a strategy. Its seeds are averaged, because they are repetitions and not further cells.
    estimate: for these cells and these patients. patients_low, patients_high: interval for other patients and these
    cells. corrected, low, high: for other cells, without the error that patients (and seeds, if there are several) add
    to the values; not_known: the reason if they are undefined. p-values are for other cells and permute whole backbones
    and whole strategies. With fewer than `FEWEST_CELLS` cells, there is no inference about other cells.
    """
    rows: list[dict[str, Any]] = []
    cells = [
        _OverSeeds.of(pair, [e for key, e in zip(keys, estimates, strict=True) if key[:2] == pair], settings)
        for pair in dict.fromkeys(key[:2] for key in keys)
    ]
    above = holm([cell.p_above_chance for cell in cells]).tolist()  # NaN: not above chance
    predicting = {
        cell.pair for cell, p in zip(cells, above, strict=True) if p <= 1 - settings.confidence and cell.above_chance
    }
    for performance, explainability in CORRELATED:
        kept = [cell for cell in cells if not np.isnan([cell.values[performance], cell.values[explainability]]).any()]
        named = {
            "performance": performance,
            "explainability": explainability,
            "n_cells": len(kept),
            "n_predicting": sum(cell.pair in predicting for cell in kept),
        }
        errors = _errors(kept, (performance, explainability)) if len(kept) >= FEWEST_CELLS else None
        for name, test in _TESTS.items():
            if not kept:
                rows.append(named | {"coefficient": name, "method": "undefined"})
                continue
            x, y = ([cell.values[measure] for cell in kept] for measure in (performance, explainability))
            layout = ([cell.pair[0] for cell in kept], [cell.pair[1] for cell in kept])
            found = test(x, y, layout=layout, seed=settings.seed)
            few = errors is None and found.method != "undefined"
            samples = (np.stack([cell.samples[m] for cell in kept], axis=1) for m in (performance, explainability))
            of_patients = UNDEFINED
            if not np.isnan(found.coefficient):
                of_patients = percentile_interval(COEFFICIENTS[name](*samples), settings.confidence)
            others: OverCells | None = None
            why: str | None = f"fewer than {FEWEST_CELLS} cells"
            if errors is not None:
                others = over_cells(x, y, errors, layout, name, settings.confidence, seed=settings.seed)
                why = _not_known(others, performance, explainability)
            rows.append(
                named
                | {
                    "coefficient": name,
                    "estimate": found.coefficient,
                    **dict(zip(("patients_low", "patients_high"), of_patients, strict=True)),
                    "corrected": np.nan if others is None else others.estimate,
                    **dict(zip(("low", "high"), UNDEFINED if others is None else others.interval, strict=True)),
                    "not_known": None if np.isnan(found.coefficient) else why,
                    "p_value": np.nan if few else found.p_value,
                    "method": f"no p-value below {FEWEST_CELLS} cells" if few else found.method,
                }
            )
    return frame(rows, CORRELATION_SCHEMA)


def _not_known(others: OverCells, performance: str, explainability: str) -> str | None:
    """Why there is no interval for other cells."""
    if not others.not_known:
        return None
    if others.not_known in ("x", "y", "both"):
        which = {"x": (performance,), "y": (explainability,), "both": (performance, explainability)}[others.not_known]
        measures = " or ".join({"auc": "AUC", "f1": "F1"}.get(name, name.replace("_", " ")) for name in which)
        return f"cells are not shown to differ in {measures} by more than its error"
    return "the error of a cell is undefined"


@dataclass(frozen=True, eq=False)
class _OverSeeds:
    """Means over the seeds of a cell, and the two-sided p-value of its mean AUC against chance.

    of_seeds, without: each measure's value for every seed, (seeds,), and the same without each group, (seeds, groups).
    """

    pair: tuple[str, str]
    values: dict[str, float]
    samples: dict[str, np.ndarray]
    p_above_chance: float
    of_seeds: dict[str, np.ndarray]
    without: dict[str, np.ndarray]
    groups: LeftOut

    @property
    def above_chance(self) -> bool:
        return self.values["auc"] > CHANCE

    @classmethod
    def of(cls, pair: tuple[str, str], seeds: Sequence[Estimates], settings: Statistics) -> "_OverSeeds":
        measures = {measure for correlated in CORRELATED for measure in correlated}
        of_seeds = {measure: np.array([seed.values[measure] for seed in seeds]) for measure in measures}
        return cls(
            pair,
            {measure: float(values.mean()) for measure, values in of_seeds.items()},
            {measure: np.mean([seed.samples[measure] for seed in seeds], axis=0) for measure in measures},
            p_above_chance(seeds, settings),
            of_seeds,
            {measure: np.stack([seed.left_out[measure] for seed in seeds]) for measure in measures},
            seeds[0].groups,
        )


def _errors(cells: Sequence[_OverSeeds], measures: tuple[str, str]) -> np.ndarray:
    """Covariance (2k, 2k) of the errors of two measures' means over seeds: from patients, and from seeds if known."""
    strata, patients = cells[0].groups.strata, cells[0].groups.patients
    means = [cell.values[measure] for measure in measures for cell in cells]
    without = [cell.without[measure].mean(axis=0) for measure in measures for cell in cells]
    errors = covariance(means, without, strata, patients)
    several = [cell for cell in cells if len(cell.of_seeds[measures[0]]) > 1]
    if not several or np.isnan(errors).any():
        return errors
    observed, shared = [], []
    for cell in several:
        values, left = (np.stack([part[measure] for measure in measures]) for part in (cell.of_seeds, cell.without))
        observed.append(values)
        own, without_each = values - values.mean(axis=1, keepdims=True), left - left.mean(axis=1, keepdims=True)
        shared.append([covariance(own[:, s], without_each[:, s], strata, patients) for s in range(values.shape[1])])
    of_seed = seeds_covariance(observed, shared)
    seeds = np.diag([1 / len(cell.of_seeds[measures[0]]) for cell in cells])
    return errors + np.kron(of_seed, seeds)


def named(key: TrialKey, side: str) -> dict[str, Any]:
    """The columns that name one side, `a` or `b`, of a pair of trials."""
    return {f"{name}_{side}": part for name, part in zip(TRIAL, key, strict=True)}


def frame(rows: list[dict[str, Any]], schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    """A table in which undefined values are null."""
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))
