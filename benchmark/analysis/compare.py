"""Comparison of several runs, with paired differences if their test patients are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import COMPARED, TRIAL, TrialKey, compare
from benchmark.analysis.leaderboard import (
    failure,
    read_risk,
    read_saliency,
    read_tested,
    read_thresholds,
    read_training_labels,
)
from benchmark.analysis.measures import Estimates, Tested, estimate_trial
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory
from benchmark.study.cohort import digest
from benchmark.study.config import Statistics, load_study
from benchmark.study.splits import of_split
from benchmark.study.trials import trials_of
from benchmark.tables import read_parquet
from stats.multiple import holm
from stats.resamples import PatientResamples, draw_patients
from xai.saliency import RATIOS

SIDES = ("a", "b")
SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "measure": pl.String,
    **{
        column: kind
        for side in SIDES
        for column, kind in (
            (f"run_{side}", pl.String),
            (side, pl.Float64),
            (f"{side}_low", pl.Float64),
            (f"{side}_high", pl.Float64),
            (f"n_{side}", pl.Int64),
        )
    },
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "method": pl.String,
    "n_images": pl.Int64,
}


@dataclass(frozen=True)
class _Run:
    name: str
    digest: str
    test: pl.DataFrame
    resamples: PatientResamples
    tested: dict[TrialKey, Tested]
    estimates: dict[TrialKey, Estimates]


def compare_runs(paths: Sequence[Path]) -> pl.DataFrame:
    """Every later run (b) minus the first (a), trial by trial; columns as `SCHEMA`.

    Each value has its interval over patients and its number of images; for a ratio, only images that have one count.
    The difference of a ratio is computed on the `n_images` that have it in both runs, so it can deviate from b minus a.
    There is no difference if only one run has the trial, or if the runs' test images, patients or labels differ; the
    two values are then reported without it. p-values are adjusted for all pairs of a measure by Holm's method. The
    first run's statistics (method, confidence, resamples) are used.

    Raises:
        UserError: fewer than two runs, a duplicate, or a run that is not finished.
    """
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise UserError("compare needs two or more different run directories")
    settings = _study(paths[0]).statistics
    first, *others = (_read(path, settings) for path in paths)
    rows: list[dict[str, Any]] = []
    for other in others:
        paired = first.digest == other.digest
        for key in dict.fromkeys([*first.estimates, *other.estimates]):
            rows += _rows(first, other, key, paired, settings)
    adjusted: list[dict[str, Any]] = []
    for measure in COMPARED:
        of_measure = [row for row in rows if row["measure"] == measure]
        p_values = holm([np.nan if row["p_value"] is None else row["p_value"] for row in of_measure])
        adjusted += [row | {"p_holm": p} for row, p in zip(of_measure, p_values.tolist(), strict=True)]
    return pl.DataFrame(adjusted, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _study(path: Path) -> Any:
    file = RunDirectory(path).study
    if not file.is_file():
        raise UserError(f"{path}: not a run directory (it has no {file.name}); give the folder passed to --out")
    return load_study(file)


def _read(path: Path, settings: Statistics) -> _Run:
    study, directory = _study(path), RunDirectory(path)
    if study.splits is not None:
        raise UserError(f"{path}: models differ from fold to fold; compare one fold, as in {path}/folds/r1-f1")
    if not directory.cohort.is_file():
        raise UserError(f"{path}: the run has no images yet; finish it with --resume")
    # Sorted by name, so that two runs with the same patients have them in the same order.
    test, trained = of_split(read_parquet(directory.cohort), "test").sort("image"), read_training_labels(directory)
    resamples = draw_patients(
        test["patient_id"].to_numpy(), test["label"].to_numpy(), settings.resamples, settings.seed
    )
    tested = {}
    for trial in trials_of(study):
        folder = directory.trial(trial)
        if failure(folder) is None:
            saliency, threshold = read_saliency(folder, test), read_thresholds(folder)["best_f1"]
            key = trial.key
            risk = read_risk(folder, trained, settings.risk, study.training.balance)
            tested[key] = read_tested(folder, test, saliency, threshold, risk)
    if not tested:
        raise UserError(f"{path}: no trial of the run is finished; continue it with --resume")
    estimates = {key: estimate_trial(of_trial, resamples, settings) for key, of_trial in tested.items()}
    return _Run(str(path), digest(test, study.cohort.synthetic), test, resamples, tested, estimates)


def _rows(first: _Run, other: _Run, key: TrialKey, paired: bool, settings: Statistics) -> list[dict[str, Any]]:
    named = dict(zip(TRIAL, key, strict=True)) | {"run_a": first.name, "run_b": other.name}
    both = key in first.estimates and key in other.estimates
    found: dict[str, dict[str, Any]] = {}
    if both and paired:
        pair = [other.tested[key], first.tested[key]]
        estimates = [other.estimates[key], first.estimates[key]]
        of_pair = compare([key, key], pair, estimates, first.resamples, settings)
        kept = ("measure", "difference", "low", "high", "p_value", "method", "n_images")
        found = {row["measure"]: row for row in of_pair.select(kept).drop_nulls("difference").to_dicts()}
    why = "undefined" if paired else "other test patients"
    return [
        named
        | {"measure": measure, "method": why if both else "in one run only", "p_value": None}
        | _value(first, key, measure, "a")
        | _value(other, key, measure, "b")
        | found.get(measure, {})
        for measure in COMPARED
    ]


def _value(run: _Run, key: TrialKey, measure: str, side: str) -> dict[str, Any]:
    """The columns of one side; empty if the run does not have this trial."""
    if key not in run.estimates:
        return {}
    estimates, tested = run.estimates[key], run.tested[key]
    low, high = estimates.intervals[measure]
    n = int((~np.isnan(tested.ratios[measure])).sum()) if measure in RATIOS else len(tested.labels)
    return {side: estimates.values[measure], f"{side}_low": low, f"{side}_high": high, f"n_{side}": n}
