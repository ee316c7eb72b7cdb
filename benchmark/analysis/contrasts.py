"""Average comparisons of strategies and of backbones, and of cells over their seeds: means, differences, letters.

With several seeds, intervals and p-values are for other patients and other trainings; with one seed, for other patients
and these trained models.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import COMPARED, TrialKey, frame
from benchmark.analysis.measures import SCALES, Estimates
from benchmark.study.config import Statistics
from stats.jackknife import Spread, spread
from stats.moderated import moderated
from stats.multiple import holm
from stats.ranks import groups, rank
from stats.seeds import TwoWay, repeatability, two_way, two_way_interval, two_way_p_value

Pair = tuple[str, str]  # backbone, strategy
Family = Literal["cells", "strategies", "backbones"]
TRAINED = "other patients, these trained models"
TRAININGS = "other patients, other trainings"
_MOST_LEVELS = 12  # levels to compare, up to which every subset is tried

AVERAGES_SCHEMA: dict[str, type[pl.DataType]] = {
    "family": pl.String,
    "backbone": pl.String,
    "strategy": pl.String,
    "measure": pl.String,
    "mean": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "group": pl.String,
    "n_cells": pl.Int64,
    "n_trainings": pl.Int64,
    "missing": pl.String,
    "holds_for": pl.String,
}
CONTRASTS_SCHEMA: dict[str, type[pl.DataType]] = {
    "family": pl.String,
    "measure": pl.String,
    **{f"{name}_{side}": pl.String for side in "ab" for name in ("backbone", "strategy")},
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "error_patients": pl.Float64,
    "error_trainings": pl.Float64,
    "n_cells": pl.Int64,
    "n_trainings": pl.Int64,
    "holds_for": pl.String,
}
REPEATABILITY_SCHEMA: dict[str, type[pl.DataType]] = {
    "measure": pl.String,
    "icc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "sd_cells": pl.Float64,
    "sd_trainings": pl.Float64,
    "n_cells": pl.Int64,
    "n_trainings": pl.Int64,
}


@dataclass(frozen=True)
class _Level:
    """A mean over some cells that is compared with others, and its name (None: averaged over)."""

    backbone: str | None
    strategy: str | None
    cells: tuple[Pair, ...]


@dataclass(frozen=True, eq=False)
class _Cells:
    """A measure of cells.

    values: cell -> (seeds,); left_out: cell -> jackknife values (seeds, groups); of_seeds: cells have several seeds.
    expected: cell -> the variance of such a statistic with this number of patients, for measures moderated by it.
    """

    measure: str
    values: dict[Pair, np.ndarray]
    left_out: dict[Pair, np.ndarray]
    expected: dict[Pair, float]
    strata: np.ndarray
    patients: np.ndarray
    of_seeds: bool

    def total(self, weights: dict[Pair, float]) -> tuple[float, TwoWay]:
        """A weighted sum of cells' means over seeds, and its variation over patients and over seeds."""
        value = sum(weight * float(self.values[cell].mean()) for cell, weight in weights.items())
        left_out = sum(weight * self.left_out[cell].mean(axis=0) for cell, weight in weights.items())
        patients = self._spread(value, np.asarray(left_out))
        if not self.of_seeds:
            return value, TwoWay(patients, Spread(0.0, np.nan), patients)
        # For a single cell nothing is subtracted, as in `stats.seeds.over_seeds`.
        shared = [self._of_each_seed(cell) if len(weights) > 1 else [0.0, 0.0] for cell in weights]
        return value, two_way(patients, [self.values[cell] for cell in weights], list(weights.values()), shared)

    def mean(self, cells: Sequence[Pair]) -> tuple[float, TwoWay]:
        """The unweighted mean over cells; for an AUC, the spread over patients is moderated, as for a single AUC."""
        value, varies = self.total({cell: 1 / len(cells) for cell in cells})
        if not all(cell in self.expected for cell in cells):
            return value, varies
        expected = float(np.mean([self.expected[cell] for cell in cells]))
        patients, alone = (moderated(each, expected) for each in (varies.patients, varies.patients_alone))
        return value, replace(varies, patients=patients, patients_alone=alone)

    def trainings(self, cells: Sequence[Pair]) -> int:
        return sum(len(self.values[cell]) for cell in cells)

    def _of_each_seed(self, cell: Pair) -> list[float]:
        """The variance over patients of each seed's value minus the mean over seeds."""
        own, without = self.values[cell] - self.values[cell].mean(), self.left_out[cell]
        each = zip(own, without - without.mean(axis=0), strict=True)
        errors = [self._spread(float(value), left_out).standard_error for value, left_out in each]
        return [0.0 if np.isnan(error) else error**2 for error in errors]  # undefined: nothing is subtracted

    def _spread(self, value: float, left_out: np.ndarray) -> Spread:
        return spread(value, left_out, self.strata, self.patients)


def average(
    keys: Sequence[TrialKey], estimates: Sequence[Estimates], settings: Statistics
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Means with letters, columns as `AVERAGES_SCHEMA`, and differences of pairs, columns as `CONTRASTS_SCHEMA`.

    There are three families, each for every measure in `COMPARED`: strategies, averaged over the backbones that have
    all of them; backbones, averaged over strategies in the same way; and cells, averaged over seeds if there are
    several. The levels averaged over are fixed: the intervals do not generalise to other backbones or strategies. If
    some cells have several seeds, cells with one seed count as missing. Intervals are Student's t over patients,
    whatever `statistics.interval` is. p-values are adjusted within family and measure (Holm), and levels that share a
    letter do not differ significantly.
    """
    averages: list[dict[str, Any]] = []
    contrasts: list[dict[str, Any]] = []
    for measure in COMPARED if keys else ():
        cells = _measured(keys, estimates, measure)
        run = list(dict.fromkeys(key[:2] for key in keys))
        for family, levels in _families(cells):
            used = {cell for level in levels for cell in level.cells}
            named = {
                "family": family,
                "measure": measure,
                "holds_for": TRAININGS if cells.of_seeds else TRAINED,
            }
            missing = "; ".join(", ".join(cell) for cell in run if cell not in used)
            means, differences = _compared(cells, levels, settings)
            averages += [named | {"missing": missing} | row for row in means]
            contrasts += [named | row for row in differences]
    order: dict[str, int] = {"strategies": 0, "backbones": 1, "cells": 2}
    return (
        frame(sorted(averages, key=lambda row: order[row["family"]]), AVERAGES_SCHEMA),
        frame(sorted(contrasts, key=lambda row: order[row["family"]]), CONTRASTS_SCHEMA),
    )


def repeat(keys: Sequence[TrialKey], estimates: Sequence[Estimates], settings: Statistics) -> pl.DataFrame:
    """The intraclass correlation of each of `COMPARED` over cells with several seeds; `REPEATABILITY_SCHEMA`."""
    rows = []
    for measure in COMPARED:
        several = (
            [cell for cell in _measured(keys, estimates, measure).values.values() if len(cell) > 1] if keys else []
        )
        if len(several) < 2:
            continue
        found = repeatability(several, settings.confidence)
        rows.append(
            {
                "measure": measure,
                "icc": found.icc,
                "low": found.low,
                "high": found.high,
                "sd_cells": found.sd_cells,
                "sd_trainings": found.sd_seeds,
                "n_cells": found.n_cells,
                "n_trainings": found.n_trainings,
            }
        )
    return frame(rows, REPEATABILITY_SCHEMA)


def _measured(keys: Sequence[TrialKey], estimates: Sequence[Estimates], measure: str) -> _Cells:
    """The cells that have the measure in every seed; if some have several seeds, only those."""
    values: dict[Pair, list[float]] = {}
    left_out: dict[Pair, list[np.ndarray]] = {}
    expected: dict[Pair, list[float]] = {}
    for key, of_trial in zip(keys, estimates, strict=True):
        values.setdefault(key[:2], []).append(of_trial.values[measure])
        left_out.setdefault(key[:2], []).append(of_trial.left_out[measure])
        if measure in of_trial.expected:
            expected.setdefault(key[:2], []).append(of_trial.expected[measure])
    several = any(len(seeds) > 1 for seeds in values.values())
    kept = [
        cell
        for cell, seeds in values.items()
        if np.isfinite(seeds).all() and np.isfinite(left_out[cell]).all() and len(seeds) > several
    ]
    return _Cells(
        measure,
        {cell: np.array(values[cell]) for cell in kept},
        {cell: np.array(left_out[cell]) for cell in kept},
        {cell: float(np.mean(expected[cell])) for cell in kept if cell in expected},
        estimates[0].groups.strata,
        estimates[0].groups.patients,
        several,
    )


def _families(cells: _Cells) -> Iterator[tuple[Family, list[_Level]]]:
    """Each family with its levels, at least two."""
    there = list(cells.values)
    strategies, averaged = complete([(strategy, backbone) for backbone, strategy in there])
    if strategies:
        yield "strategies", [_Level(None, name, tuple((other, name) for other in averaged)) for name in strategies]
    backbones, averaged = complete(there)
    if backbones:
        yield "backbones", [_Level(name, None, tuple((name, other) for other in averaged)) for name in backbones]
    if cells.of_seeds and len(there) > 1:
        yield "cells", [_Level(*cell, (cell,)) for cell in there]


def complete(there: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Two or more levels to compare, and two or more to average over, such that every combination exists.

    there: (compared, averaged over) of each cell. Returns the choice with the most cells, and among those the one that
    compares the most levels; two empty lists if there is none.
    """
    compared, averaged = (list(dict.fromkeys(cell[side] for cell in there)) for side in (0, 1))
    having = {level: {cell[1] for cell in there if cell[0] == level} for level in compared}
    best: tuple[list[str], list[str]] = ([], [])
    for size in range(len(compared), 1, -1) if len(compared) <= _MOST_LEVELS else (len(compared),):
        for chosen in itertools.combinations(compared, size):
            common = [level for level in averaged if all(level in having[name] for name in chosen)]
            if len(common) > 1 and len(chosen) * len(common) > len(best[0]) * len(best[1]):
                best = list(chosen), common
    return best


def _compared(
    cells: _Cells, levels: Sequence[_Level], settings: Statistics
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the levels' means and of their pairwise differences."""
    means = [_mean(cells, level, settings) for level in levels]
    pairs = list(itertools.combinations(range(len(levels)), 2))
    differences = [_difference(cells, levels[a], levels[b], settings) for a, b in pairs]
    p_values = np.eye(len(levels))
    for (a, b), row, p_holm in zip(pairs, differences, holm([row["p_value"] for row in differences]), strict=True):
        row["p_holm"] = p_values[a, b] = p_values[b, a] = float(p_holm)
    letters = groups(p_values, rank([row["mean"] for row in means]), 1 - settings.confidence)
    return [row | {"group": letter} for row, letter in zip(means, letters, strict=True)], differences


def _mean(cells: _Cells, level: _Level, settings: Statistics) -> dict[str, Any]:
    value, varies = cells.mean(level.cells)
    low, high = two_way_interval(value, varies, settings.confidence, SCALES[cells.measure])
    return {
        "backbone": level.backbone,
        "strategy": level.strategy,
        "mean": value,
        "low": low,
        "high": high,
        "n_cells": len(level.cells),
        "n_trainings": cells.trainings(level.cells),
    }


def _difference(cells: _Cells, a: _Level, b: _Level, settings: Statistics) -> dict[str, Any]:
    share = {cell: 1 / len(a.cells) for cell in a.cells} | {cell: -1 / len(b.cells) for cell in b.cells}
    value, varies = cells.total(share)
    low, high = two_way_interval(value, varies, settings.confidence)
    return {
        "backbone_a": a.backbone,
        "strategy_a": a.strategy,
        "backbone_b": b.backbone,
        "strategy_b": b.strategy,
        "difference": value,
        "low": low,
        "high": high,
        "p_value": two_way_p_value(value, varies),
        "error_patients": varies.patients.standard_error,
        "error_trainings": varies.seeds.standard_error if cells.of_seeds else np.nan,
        "n_cells": len(a.cells),
        "n_trainings": cells.trainings(list(share)),
    }
