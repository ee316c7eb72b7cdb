"""External validation: an external cohort next to the test images of the run that trained the models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL, frame
from benchmark.analysis.leaderboard import (
    failure,
    read_risk,
    read_saliency,
    read_tested,
    read_thresholds,
    read_training_labels,
)
from benchmark.analysis.measures import (
    SCALES,
    Estimates,
    Tested,
    bounded,
    estimate,
    estimate_calls,
    estimate_trial,
    measured_risks,
    names_of,
    spread_over_patients,
)
from benchmark.analysis.shifts import SHIFTS_SCHEMA, shift_rows
from benchmark.storage.rundir import RunDirectory, TrialDirectory
from benchmark.study.config import Statistics
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from finetune.recipe import Balance
from stats.delong import delong
from stats.independent import independent_difference
from stats.isotonic import fit_isotonic
from stats.multiple import holm
from stats.resamples import PatientResamples, draw_patients
from stats.risk import recalibrate

COMPARED = ("auc", "brier", "calibration_intercept", "calibration_slope", "ece", "vessel_ratio", "vessel_ratio_fov")
AT_POINTS = ("sensitivity", "specificity")
COHORTS_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "measure": pl.String,
    "point": pl.String,
    "threshold": pl.Float64,
    **bounded(["internal"]),
    "n_internal": pl.Int64,
    **bounded(["external"]),
    "n_external": pl.Int64,
    **bounded(["difference"]),
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
}
RISKS = names_of("risk")
RECALIBRATION_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "method": pl.String,
    "fitted_on": pl.String,
    "n_fitted_images": pl.Int64,
    "n_fitted_patients": pl.Int64,
    **bounded(RISKS),
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
}
CARRIED_OVER = "carried over"


@dataclass(frozen=True)
class ExternalValidation:
    """What external validation adds to a leaderboard, one frame per file.

    Attributes:
        external: each trial's measures inside and outside, and their difference; `COHORTS_SCHEMA`.
        recalibration: calibration of each trial's risks as carried over, and recalibrated; `RECALIBRATION_SCHEMA`.
        shifts: how scores, images and vessel masks differ; `benchmark.analysis.shifts.SHIFTS_SCHEMA`.
    """

    external: pl.DataFrame
    recalibration: pl.DataFrame
    shifts: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every frame under the name of its file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class _Side:
    """The test images of one of the two cohorts, and a trial's results there."""

    directory: RunDirectory
    test: pl.DataFrame
    resamples: PatientResamples

    @property
    def patients(self) -> np.ndarray:
        return self.test["patient_id"].to_numpy()

    @property
    def labels(self) -> np.ndarray:
        return self.test["label"].to_numpy()


def compare_cohorts(
    directory: RunDirectory, trials: Sequence[Trial], settings: Statistics, balance: Balance
) -> ExternalValidation:
    """Compare every complete trial on an external cohort with the same trial on the run's own test images.

    Args:
        directory: that of the external cohort.
        trials: those that were applied.
        balance: how training balanced the classes (`finetune.recipe.Recipe`).
    """
    inside, outside = (_side(each, settings) for each in (directory.trained_in, directory))
    trained = read_training_labels(directory)
    of_share = _fitted_patients(outside, directory.recalibrated_share, settings.seed)
    compared, recalibrated, scores = list[dict[str, Any]](), list[dict[str, Any]](), {}
    for trial in trials:
        folders = inside.directory.trial(trial), outside.directory.trial(trial)
        if any(failure(folder) is not None for folder in folders):
            continue
        named = dict(zip(TRIAL, trial.key, strict=True))
        thresholds = read_thresholds(folders[1])
        risk = read_risk(folders[1], trained, settings.risk, balance)
        tested = [
            read_tested(folder, side.test, read_saliency(folder, side.test), thresholds["best_f1"], risk)
            for side, folder in zip((inside, outside), folders, strict=True)
        ]
        compared += [named | row for row in _compared(tested, (inside, outside), thresholds, settings)]
        recalibrated += [named | row for row in _recalibrated(tested[1], outside, folders[1], of_share, settings)]
        scores[trial.key] = tuple(each.scores for each in tested)
    shifts = shift_rows((inside.directory, outside.directory), (inside.test, outside.test), scores, settings.confidence)
    return ExternalValidation(
        external=frame(_with_holm(compared), COHORTS_SCHEMA),
        recalibration=frame(recalibrated, RECALIBRATION_SCHEMA),
        shifts=frame(shifts, SHIFTS_SCHEMA),
    )


def _side(directory: RunDirectory, settings: Statistics) -> _Side:
    test = of_split(read_parquet(directory.cohort), "test")
    resamples = draw_patients(
        test["patient_id"].to_numpy(), test["label"].to_numpy(), settings.resamples, settings.seed
    )
    return _Side(directory, test, resamples)


def _compared(
    tested: Sequence[Tested], sides: Sequence[_Side], thresholds: dict[str, float], settings: Statistics
) -> Iterator[dict[str, Any]]:
    found = [estimate_trial(of_side, side.resamples, settings) for of_side, side in zip(tested, sides, strict=True)]
    for measure in COMPARED:
        row = {"measure": measure} | _two_sided(found, measure, [_counted(each, measure) for each in tested])
        difference = _of_aucs(tested, sides, settings) if measure == "auc" else _of(found, measure, settings)
        yield row | difference
    for point, threshold in thresholds.items():
        at = [
            estimate_calls(of_side, threshold, side.resamples, settings)
            for of_side, side in zip(tested, sides, strict=True)
        ]
        for measure in AT_POINTS:
            counts = [int(each.behind(threshold)[measure].sum()) for each in tested]
            row = {"measure": measure, "point": point, "threshold": threshold}
            yield row | _two_sided(at, measure, counts) | _of(at, measure, settings)


def _counted(tested: Tested, measure: str) -> int:
    return int(np.isfinite(tested.ratios[measure]).sum()) if measure in tested.ratios else len(tested.labels)


def _two_sided(found: Sequence[Estimates], measure: str, counts: Sequence[int]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, each, n in zip(("internal", "external"), found, counts, strict=True):
        low, high = each.intervals[measure]
        row |= {name: each.values[measure], f"{name}_low": low, f"{name}_high": high, f"n_{name}": n}
    return row


def _of(found: Sequence[Estimates], measure: str, settings: Statistics) -> dict[str, Any]:
    """External minus internal of a measure, by the jackknife over patients of each."""
    inside, outside = found
    if measure == "ece":  # has no interval on either side
        return {"difference": outside.values[measure] - inside.values[measure]}
    errors = [spread_over_patients(each, measure) for each in (outside, inside)]
    (variance_out, free_out), (variance_in, free_in) = (
        (each.standard_error**2, each.degrees_of_freedom) for each in errors
    )
    return _named(
        independent_difference(
            outside.values[measure], variance_out, free_out, inside.values[measure], variance_in, free_in,
            settings.confidence,
        )
    )  # fmt: skip


def _of_aucs(tested: Sequence[Tested], sides: Sequence[_Side], settings: Statistics) -> dict[str, Any]:
    """External minus internal AUC, by DeLong's variances clustered by patient."""
    (area_in, variance_in, free_in), (area_out, variance_out, free_out) = (
        (float(found.areas[0]), float(found.covariance[0, 0]), float(found.degrees_of_freedom[0]))
        for found in (
            delong(each.labels, [each.scores], side.patients) for each, side in zip(tested, sides, strict=True)
        )
    )
    return _named(
        independent_difference(area_out, variance_out, free_out, area_in, variance_in, free_in, settings.confidence)
    )


def _named(found: Any) -> dict[str, Any]:
    return {
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "p_value": found.p_value,
    }


def _with_holm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the p-values adjusted for all trials, for each measure and point by itself."""
    groups: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["measure"], row.get("point")), []).append(row)
    for group in groups.values():
        known = [row for row in group if row.get("p_value") is not None and np.isfinite(row["p_value"])]
        for row, adjusted in zip(known, holm([row["p_value"] for row in known]) if known else (), strict=True):
            row["p_holm"] = float(adjusted)
    return rows


def _fitted_patients(side: _Side, share: float | None, seed: int) -> np.ndarray:
    """Whether each external image is of a patient on whom recalibrations may be fitted, (n,) bool."""
    chosen: set[str] = set()
    positive = set(side.patients[side.labels == 1].tolist())
    generator = np.random.default_rng(seed)
    for stratum in (sorted(positive), sorted(set(side.patients.tolist()) - positive)):
        chosen |= set(generator.permutation(stratum)[: round((share or 0.0) * len(stratum))].tolist())
    return np.array([patient in chosen for patient in side.patients.tolist()])


def _recalibrated(
    tested: Tested, side: _Side, folder: TrialDirectory, fitted: np.ndarray, settings: Statistics
) -> Iterator[dict[str, Any]]:
    """The risks as carried over and recalibrated, all on the external patients on whom nothing was fitted.

    A line that does not exist, because the classes are separated or scores are reversed, has no values.
    """
    validation = of_split(read_parquet(folder.predictions), "val")
    kept = ~fitted
    labels, scores, patients = tested.labels[kept], tested.scores[kept], side.patients[kept]
    resamples = draw_patients(patients, labels, settings.resamples, settings.seed)
    sources = {"validation": (validation["label"], validation["score"], validation["patient_id"])}
    if fitted.any():
        sources["external"] = (tested.labels[fitted], tested.scores[fitted], side.patients[fitted])
    conversions: list[tuple[str, str, int, int, Callable[[np.ndarray], np.ndarray] | None]] = [
        (CARRIED_OVER, "", 0, 0, tested.risk.of)
    ]
    for name, (own, score, patient) in sources.items():
        of_labels, of_scores = np.asarray(own), np.asarray(score)
        counts = len(of_labels), len(set(np.asarray(patient).tolist()))
        line = recalibrate(of_labels, of_scores)
        conversions.append(("logistic", name, *counts, line.of if line is not None else None))
        conversions.append(("isotonic", name, *counts, fit_isotonic(of_labels, of_scores).of))
    for method, fitted_on, images, people, convert in conversions:
        found: dict[str, float] = {}
        if convert is not None:
            of_risks = partial(measured_risks, labels, convert(scores))
            found = estimate(of_risks, resamples, settings, SCALES).columns()
        yield {
            "method": method,
            "fitted_on": fitted_on,
            "n_fitted_images": images,
            "n_fitted_patients": people,
            **found,
            "n_images": len(labels),
            "n_patients": len(set(patients.tolist())),
        }
