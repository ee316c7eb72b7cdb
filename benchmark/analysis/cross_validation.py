"""The results of a study with folds: each measure per fold, averaged, with intervals over patients."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import SEEDS_SCHEMA, TRIAL, TrialKey, frame
from benchmark.analysis.leaderboard import (
    OK,
    failure,
    read_risk,
    read_saliency,
    read_tested,
    read_thresholds,
)
from benchmark.analysis.measures import CHANCE, SCALES, Tested, bounded
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Statistics
from benchmark.study.folds import Fold
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from finetune.recipe import Balance
from stats.cross_validated import (
    CrossValidated,
    FoldLayout,
    corrected_resampled,
    cross_validated_auc,
    cross_validated_mean,
    fold_layout,
)
from stats.delong import delong
from stats.intervals import Interval, interval_at_end, student_interval, student_p_value
from stats.multiple import holm
from stats.seeds import over_seeds
from stats.variance_components import Components, components
from xai.saliency import OUTSIDE, RATIOS

MEASURES = ("auc", "sensitivity", "specificity", "brier", *RATIOS, OUTSIDE)
COMPARED = ("auc", "vessel_ratio", "vessel_ratio_fov")  # in pairs of trials, over seeds, and by source of variance

FOLDS_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive_patients": pl.Int64,
    "n_negative_patients": pl.Int64,
    **bounded(["auc"]),
    **{name: pl.Float64 for name in MEASURES if name != "auc"},
    "status": pl.String,
}
CROSS_VALIDATED_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "n_folds": pl.Int64,
    "n_repeats": pl.Int64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive_patients": pl.Int64,
    "n_negative_patients": pl.Int64,
    **bounded(MEASURES),
    "auc_lowest_fold": pl.Float64,
    "auc_highest_fold": pl.Float64,
    "auc_p": pl.Float64,
    "auc_p_holm": pl.Float64,
    "predicts": pl.Boolean,
    "status": pl.String,
}
PAIRS_SCHEMA: dict[str, type[pl.DataType]] = {
    "measure": pl.String,
    **{f"{name}_{side}": kind for side in "ab" for name, kind in TRIAL.items()},
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "corrected_low": pl.Float64,
    "corrected_high": pl.Float64,
    "corrected_p": pl.Float64,
    "corrected_p_holm": pl.Float64,
    "n_folds": pl.Int64,
    "n_patients": pl.Int64,
}
VARIANCE_SCHEMA: dict[str, type[pl.DataType]] = {
    "measure": pl.String,
    "backbone": pl.String,
    "strategy": pl.String,
    "source": pl.String,
    "variance": pl.Float64,
    "sd": pl.Float64,
    "sd_low": pl.Float64,
    "sd_high": pl.Float64,
    "share": pl.Float64,
    "sd_of_mean": pl.Float64,
    "n_cells": pl.Int64,
    "n_seeds": pl.Int64,
    "n_repeats": pl.Int64,
    "n_patients": pl.Int64,
}


@dataclass(frozen=True)
class CrossValidation:
    """What the report of a study with folds computes, one frame per file.

    Attributes:
        folds: one row per trial, repeat and fold; columns as `FOLDS_SCHEMA`.
        cross_validated: one row per trial, best AUC first, those with an unfinished fold last;
            `CROSS_VALIDATED_SCHEMA`.
        comparisons: every pair of trials; `PAIRS_SCHEMA`.
        seeds: cells with several seeds; `benchmark.analysis.comparisons.SEEDS_SCHEMA`.
        variance: where the variance comes from, for each cell and (without backbone and strategy) for all cells;
            `VARIANCE_SCHEMA`.
    """

    folds: pl.DataFrame
    cross_validated: pl.DataFrame
    comparisons: pl.DataFrame
    seeds: pl.DataFrame
    variance: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every frame, under the name of its file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class _InFolds:
    """The test images of all folds, one after another, and every complete trial on them."""

    tests: Mapping[Fold, pl.DataFrame]
    tested: Mapping[TrialKey, Sequence[Tested]]

    @property
    def patients(self) -> np.ndarray:
        return np.concatenate([test["patient_id"].to_numpy() for test in self.tests.values()])

    @property
    def labels(self) -> np.ndarray:
        return np.concatenate([test["label"].to_numpy() for test in self.tests.values()])

    @property
    def layout(self) -> FoldLayout:
        sizes = [len(test) for test in self.tests.values()]
        of_repeat, of_fold = (np.repeat([getattr(f, part) for f in self.tests], sizes) for part in ("repeat", "fold"))
        return fold_layout(self.patients, of_repeat, of_fold)


def cross_validate(
    directory: RunDirectory,
    folds: Sequence[Fold],
    trials: Sequence[Trial],
    settings: Statistics,
    balance: Balance = "weights",
) -> CrossValidation:
    """Read every trial of every fold and average over folds; a trial that one fold lacks has the reason in its row.

    Args:
        balance: how training balanced the classes (`finetune.recipe.Recipe`).
    """
    tests: dict[Fold, pl.DataFrame] = {}
    tested: dict[TrialKey, list[Tested]] = {trial.key: [] for trial in trials}
    reasons: dict[TrialKey, str] = {}
    rows: list[dict[str, Any]] = []
    for fold in folds:
        place = directory.fold(fold.name)
        cohort = read_parquet(place.cohort)
        tests[fold], trained = of_split(cohort, "test"), of_split(cohort, "train")["label"].to_numpy()
        for trial in trials:
            folder, named = place.trial(trial), dict(zip(TRIAL, trial.key, strict=True)) | vars(fold)
            reason = failure(folder)
            if reason is not None:
                reasons.setdefault(trial.key, f"{fold.name}: {reason}")
                rows.append(named | {"status": reason})
                continue
            saliency, threshold = read_saliency(folder, tests[fold]), read_thresholds(folder)["best_f1"]
            risk = read_risk(folder, trained, settings.risk, balance)
            tested[trial.key].append(read_tested(folder, tests[fold], saliency, threshold, risk))
            found = tested[trial.key][-1]
            rows.append(named | _of_fold(found, tests[fold], settings.confidence) | {"status": OK})
    complete = {key: found for key, found in tested.items() if key not in reasons}
    failed = [dict(zip(TRIAL, key, strict=True)) | {"status": reason} for key, reason in reasons.items()]
    of_trials: list[dict[str, Any]] = []
    pairs, seeds, variance = [pl.DataFrame(schema=s) for s in (PAIRS_SCHEMA, SEEDS_SCHEMA, VARIANCE_SCHEMA)]
    if complete:
        everything = _InFolds(tests, complete)
        layout = everything.layout
        measures = {name: _averaged(name, everything, layout) for name in MEASURES}
        keys = list(complete)
        of_trials = _trial_rows(keys, measures, everything, layout, settings.confidence)
        pairs = _pairs(keys, measures, layout, settings.confidence)
        seeds = _over_seeds(keys, measures, settings.confidence)
        variance = _variance(keys, measures, layout, settings.confidence)
    best_first = ["auc", *TRIAL]
    table = frame(of_trials + failed, CROSS_VALIDATED_SCHEMA)
    return CrossValidation(
        folds=frame(rows, FOLDS_SCHEMA),
        cross_validated=table.sort(best_first, descending=[True, False, False, False], nulls_last=True),
        comparisons=pairs,
        seeds=seeds,
        variance=variance,
    )


def _values(name: str, tested: Tested) -> np.ndarray:
    """(n,): the value of each image whose mean is the measure; NaN for an image that does not count."""
    called, positive = (tested.scores >= tested.threshold).astype(float), tested.labels == 1
    if name == "sensitivity":
        return np.where(positive, called, np.nan)
    if name == "specificity":
        return np.where(positive, np.nan, 1 - called)
    if name == "brier":
        return (tested.risks - tested.labels) ** 2
    return tested.outside if name == OUTSIDE else tested.ratios[name]


def _of_fold(tested: Tested, test: pl.DataFrame, confidence: float) -> dict[str, Any]:
    """The row of one trial in one fold; the interval of its AUC is DeLong's."""
    patients, positive = test["patient_id"].to_numpy(), tested.labels == 1
    found = delong(tested.labels, [tested.scores], patients)
    ((low, high),) = found.logit_t_intervals(confidence)
    of_images = {name: _values(name, tested) for name in MEASURES if name != "auc"}
    means = {name: float(np.nanmean(x)) if np.isfinite(x).any() else np.nan for name, x in of_images.items()}
    return {
        "n_images": len(test),
        "n_patients": len(np.unique(patients)),
        "n_positive_patients": len(np.unique(patients[positive])),
        "n_negative_patients": len(np.unique(patients[~positive])),
        "auc": float(found.areas[0]),
        "auc_low": low,
        "auc_high": high,
    } | means


def _averaged(name: str, everything: _InFolds, layout: FoldLayout) -> CrossValidated:
    """A measure of all complete trials."""
    if name == "auc":
        scores = [np.concatenate([fold.scores for fold in found]) for found in everything.tested.values()]
        return cross_validated_auc(everything.labels, scores, layout)
    values = [np.concatenate([_values(name, fold) for fold in found]) for found in everything.tested.values()]
    return cross_validated_mean(values, layout)


def _trial_rows(
    keys: Sequence[TrialKey],
    measures: Mapping[str, CrossValidated],
    everything: _InFolds,
    layout: FoldLayout,
    confidence: float,
) -> list[dict[str, Any]]:
    patients, positive = everything.patients, everything.labels == 1
    counted = {
        "n_folds": len(layout.repeat),
        "n_repeats": layout.repeats,
        "n_images": len(pl.concat([test.select("image") for test in everything.tests.values()]).unique()),
        "n_patients": len(layout.patients),
        "n_positive_patients": len(np.unique(patients[positive])),
        "n_negative_patients": len(np.unique(patients[~positive])),
    }
    shares = {"sensitivity": counted["n_positive_patients"], "specificity": counted["n_negative_patients"]}
    rows = []
    for place, key in enumerate(keys):
        row: dict[str, Any] = dict(zip(TRIAL, key, strict=True)) | counted
        for name, found in measures.items():
            value = float(found.estimates[place])
            low, high = _interval(name, value, found, _one(place, len(keys)), confidence)
            if name in shares and value in (0, 1):
                low, high = interval_at_end(value, shares[name], confidence)
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        of_folds, auc = measures["auc"].by_fold[place], measures["auc"]
        spread = auc.spread(_one(place, len(keys)))
        p_value = student_p_value(row["auc"], spread, CHANCE, "logit")
        row |= {"auc_lowest_fold": of_folds.min(), "auc_highest_fold": of_folds.max(), "auc_p": p_value}
        rows.append(row | {"status": OK})
    adjusted = holm([row["auc_p"] for row in rows]).tolist()
    return [
        row | {"auc_p_holm": p, "predicts": bool(row["auc"] > CHANCE and p <= 1 - confidence)}
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _one(place: int, trials: int) -> np.ndarray:
    return np.eye(trials)[place]


def _interval(name: str, value: float, found: CrossValidated, weights: np.ndarray, confidence: float) -> Interval:
    return student_interval(value, found.spread(weights), confidence, SCALES[name])


def _pairs(
    keys: Sequence[TrialKey], measures: Mapping[str, CrossValidated], layout: FoldLayout, confidence: float
) -> pl.DataFrame:
    """Every pair of trials by each of `COMPARED`; Holm's method adjusts for all pairs of a measure."""
    rows: list[dict[str, Any]] = []
    folds = len(layout.repeat)
    # Of two folds, the one that is not tested trains; validation images count as training images.
    test_share = 1 / max(1, folds / layout.repeats - 1)
    for measure in COMPARED:
        found, of_measure = measures[measure], []
        for a, b in itertools.combinations(range(len(keys)), 2):
            difference = float(found.estimates[a] - found.estimates[b])
            spread = found.spread(_one(a, len(keys)) - _one(b, len(keys)))
            by_fold = found.by_fold[a] - found.by_fold[b]
            row: dict[str, Any] = {"measure": measure, "difference": difference, "n_patients": len(layout.patients)}
            row |= {f"{name}_a": part for name, part in zip(TRIAL, keys[a], strict=True)}
            row |= {f"{name}_b": part for name, part in zip(TRIAL, keys[b], strict=True)}
            row["low"], row["high"] = student_interval(difference, spread, confidence)
            row["p_value"] = student_p_value(difference, spread)
            known = by_fold[np.isfinite(by_fold)]
            row["n_folds"] = len(known)
            if len(known) > 1:
                corrected, mean = corrected_resampled(known, test_share), float(known.mean())
                row["corrected_low"], row["corrected_high"] = student_interval(mean, corrected, confidence)
                row["corrected_p"] = student_p_value(mean, corrected)
            of_measure.append(row)
        for name in ("p_value", "corrected_p"):
            adjusted = holm([row.get(name, np.nan) for row in of_measure]).tolist() if of_measure else []
            column = "p_holm" if name == "p_value" else "corrected_p_holm"
            of_measure = [row | {column: p} for row, p in zip(of_measure, adjusted, strict=True)]
        rows += of_measure
    return frame(rows, PAIRS_SCHEMA)


def _cells(keys: Sequence[TrialKey]) -> dict[tuple[str, str], list[int]]:
    """The positions of the trials of each cell."""
    found: dict[tuple[str, str], list[int]] = {}
    for place, (backbone, strategy, _) in enumerate(keys):
        found.setdefault((backbone, strategy), []).append(place)
    return found


def _over_seeds(keys: Sequence[TrialKey], measures: Mapping[str, CrossValidated], confidence: float) -> pl.DataFrame:
    rows = []
    for (backbone, strategy), places in _cells(keys).items():
        if len(places) < 2:
            continue
        weights = np.bincount(places, minlength=len(keys)) / len(places)
        for name in COMPARED:
            found = measures[name]
            values = found.estimates[places]
            if np.isnan(values).any():
                continue
            of_patients = _interval(name, float(values.mean()), found, weights, confidence)
            over = over_seeds(values, of_patients, confidence, SCALES[name])
            row = {"backbone": backbone, "strategy": strategy, "measure": name, "method": "cross-validated"}
            rows.append(row | vars(over))
    return frame(rows, SEEDS_SCHEMA)


def _variance(
    keys: Sequence[TrialKey], measures: Mapping[str, CrossValidated], layout: FoldLayout, confidence: float
) -> pl.DataFrame:
    """The sources of variance of each cell, and of all cells together; cells that lack a seed are left out of these."""
    rows: list[dict[str, Any]] = []
    cells = _cells(keys)
    most = max(len(places) for places in cells.values())
    for name in COMPARED:
        found = measures[name]
        usable = {cell: places for cell, places in cells.items() if np.isfinite(found.by_repeat[places]).all()}
        whole = [places for places in usable.values() if len(places) == most]
        groups: list[tuple[tuple[str | None, str | None], list[list[int]]]] = [((None, None), whole)]
        groups += [(cell, [places]) for cell, places in usable.items()]
        for (backbone, strategy), of_group in groups:
            if not of_group:
                continue
            shared = [found.patients_variance(places) for places in of_group]
            freedom = min(
                found.spread(np.bincount(places, minlength=len(keys)) / len(places)).degrees_of_freedom
                for places in of_group
            )
            parts = components([found.by_repeat[places] for places in of_group], shared, freedom, confidence)
            common = {
                "measure": name,
                "backbone": backbone,
                "strategy": strategy,
                "n_cells": len(of_group),
                "n_seeds": len(of_group[0]),
                "n_repeats": layout.repeats,
                "n_patients": len(layout.patients),
            }
            rows += [common | row for row in _sources(parts, len(of_group[0]), layout.repeats)]
    return frame(rows, VARIANCE_SCHEMA)


def _sources(parts: Components, seeds: int, repeats: int) -> list[dict[str, Any]]:
    """A row per source, and their total; `sd_of_mean`: what is left of it in the mean over all trainings."""
    divisors = {"patients": 1, "seeds": seeds, "splits": repeats, "rest": seeds * repeats}
    rows = []
    for source, divisor in divisors.items():
        part = getattr(parts, source)
        rows.append(
            {
                "source": source,
                "variance": part.variance,
                "sd": float(np.sqrt(part.variance)),
                "sd_low": float(np.sqrt(part.low)),
                "sd_high": float(np.sqrt(part.high)),
                "share": part.variance / parts.total if parts.total > 0 else np.nan,
                "sd_of_mean": float(np.sqrt(part.variance / divisor)),
            }
        )
    total = {"source": "total", "variance": parts.total, "sd": float(np.sqrt(parts.total))}
    return [*rows, total | {"share": 1.0, "sd_of_mean": float(np.sqrt(parts.of_mean(seeds, repeats)))}]
