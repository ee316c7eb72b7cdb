"""The leaderboard: one row per trial from the trial's files, with intervals over the same patients for all trials."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis import comparisons, contrasts, control_estimates, curves, evidence, patients, ratios
from benchmark.analysis.comparisons import TRIAL, TrialKey, frame
from benchmark.analysis.covariate_tables import CovariateTables, covariate_tables
from benchmark.analysis.measures import (
    CALLS,
    Estimates,
    Tested,
    bounded,
    estimate_calls,
    estimate_trial,
    names_of,
    p_above_chance,
    standard_error,
)
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory, TrialDirectory
from benchmark.study.config import RiskMethod, Statistics
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from finetune.recipe import Balance
from stats.delong import delong
from stats.jackknife import skewness
from stats.operating import best_f1_threshold, threshold_at_sensitivity, threshold_at_specificity
from stats.resamples import PatientResamples, draw_patients
from stats.risk import SCORE, Risk, recalibrate, undo_balancing
from stats.selection import optimism_of_highest
from stats.within import compared
from xai.controls.null import TESTED_RATIOS
from xai.saliency import OUTSIDE, RATIOS, Scaling

OK = "ok"
OPERATING_POINTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "best_f1": best_f1_threshold,
    "sensitivity_80": partial(threshold_at_sensitivity, target=0.8),
    "sensitivity_90": partial(threshold_at_sensitivity, target=0.9),
    "specificity_80": partial(threshold_at_specificity, target=0.8),
    "specificity_90": partial(threshold_at_specificity, target=0.9),
}


SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive": pl.Int64,
    "n_positive_patients": pl.Int64,
    "n_negative_patients": pl.Int64,
    "rank": pl.Float64,
    "rank_low": pl.Float64,
    "rank_high": pl.Float64,
    "group": pl.String,
    "tied_best": pl.Boolean,
    **bounded(["auc"]),
    "auc_delong_low": pl.Float64,
    "auc_delong_high": pl.Float64,
    "auc_corrected": pl.Float64,
    **patients.COMPACT,
    **bounded([name for name in names_of("discrimination") if name != "auc"]),
    "threshold": pl.Float64,
    "n_called": pl.Int64,
    **bounded(names_of("call", "risk")),
    "risk_intercept": pl.Float64,
    "risk_slope": pl.Float64,
    **bounded(names_of("ratio")),
    **{f"{name}_skewness": pl.Float64 for name in TESTED_RATIOS},
    "n_ratio": pl.Int64,
    **bounded(names_of("map", "within")),
    "n_map": pl.Int64,
    "n_right": pl.Int64,
    "n_wrong": pl.Int64,
    **{f"n_{called}_{label}": pl.Int64 for label in ("positive", "negative") for called in ("right", "wrong")},
    **control_estimates.SCHEMA,
    **evidence.SCHEMA,
    "status": pl.String,
}
OPERATING_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "point": pl.String,
    "threshold": pl.Float64,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_images": pl.Int64,
}


@dataclass(frozen=True)
class Leaderboard:
    """What the report computes, one frame per file.

    Attributes:
        trials: one row per trial, best AUC first, failed ones last; columns as `SCHEMA`.
        operating: each trial's measures at thresholds chosen on validation images; `OPERATING_SCHEMA`.
        curves: ROC, calibration and decision curves; `benchmark.analysis.curves.SCHEMA`.
        ratios: each trial's ratios under every convention; `benchmark.analysis.ratios.SCHEMA`.
        comparisons: every pair of trials; `benchmark.analysis.comparisons.COMPARISON_SCHEMA`.
        seeds: cells with several seeds; `benchmark.analysis.comparisons.SEEDS_SCHEMA`.
        correlation: performance against explainability over cells; `benchmark.analysis.comparisons.CORRELATION_SCHEMA`.
        averages: strategies over backbones, backbones over strategies, cells over seeds;
            `benchmark.analysis.contrasts.AVERAGES_SCHEMA`.
        contrasts: their differences; `benchmark.analysis.contrasts.CONTRASTS_SCHEMA`.
        repeatability: agreement between trainings of one cell; `benchmark.analysis.contrasts.REPEATABILITY_SCHEMA`.
        patients: each trial's measures at the level of images and at each level of patients;
            `benchmark.analysis.patients.SCHEMA`.
        patient_pairs: every pair of trials at each level of patients; `benchmark.analysis.patients.PAIRS_SCHEMA`.
        of_covariates: the tables of covariates, if the study has any.
    """

    trials: pl.DataFrame
    operating: pl.DataFrame
    curves: pl.DataFrame
    ratios: pl.DataFrame
    comparisons: pl.DataFrame
    seeds: pl.DataFrame
    correlation: pl.DataFrame
    averages: pl.DataFrame
    contrasts: pl.DataFrame
    repeatability: pl.DataFrame
    patients: pl.DataFrame
    patient_pairs: pl.DataFrame
    of_covariates: CovariateTables | None = None

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every frame but the cells, under the name of its file."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        of_covariates = {} if self.of_covariates is None else self.of_covariates.tables()
        return {name: value for name, value in found.items() if name not in ("trials", "of_covariates")} | of_covariates


def build(
    directory: RunDirectory,
    cells: Sequence[Trial],
    settings: Statistics,
    scaling: Scaling = "minmax",
    balance: Balance = "weights",
) -> Leaderboard:
    """Read every trial and compute its row; a trial without complete results has the reason in its row.

    Args:
        scaling: the scaling of the maps from which the columns of `saliency.parquet` without a suffix were computed.
        balance: how training balanced the classes (`finetune.recipe.Recipe`).
    """
    cohort, trained = read_parquet(directory.cohort), read_training_labels(directory)
    test = of_split(cohort, "test")
    patient_ids, labels = test["patient_id"].to_numpy(), test["label"].to_numpy()
    resamples = draw_patients(patient_ids, labels, settings.resamples, settings.seed)
    fits = partial(fitted_risk, method=settings.risk, balance=balance)
    doubtful, every_image = read_doubtful(directory, test), patients.read_images(directory)
    failed: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    operating: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    conventions: list[dict[str, Any]] = []
    keys: list[TrialKey] = []
    all_tested: list[Tested] = []
    estimates: list[Estimates] = []
    levels: list[patients.Levels] = []
    for cell in cells:
        key = cell.key
        named = dict(zip(TRIAL, key, strict=True))
        folder = directory.trial(cell)
        reason = failure(folder)
        if reason is not None:
            failed.append(named | {"status": reason})
            continue
        saliency, thresholds = read_saliency(folder, test), read_thresholds(folder)
        risk = read_risk(folder, trained, settings.risk, balance)
        tested = read_tested(folder, test, saliency, thresholds["best_f1"], risk)
        found = estimate_trial(tested, resamples, settings)
        of_patients = patients.read_levels(folder, every_image, resamples, settings, fits)
        rows.append(
            named
            | {"risk_intercept": risk.intercept, "risk_slope": risk.slope}
            | _counts(tested, patient_ids)
            | found.columns()
            | patients.compact(of_patients)
            | {"auc_p": p_above_chance([found], settings)}
            | {f"{name}_skewness": skewness(found.left_out[name]) for name in TESTED_RATIOS}
            | _delong(tested, patient_ids, settings.confidence)
            | control_estimates.read_controls(folder, test, resamples, settings)
            | {"status": OK}
        )
        operating += [named | row for row in _operating(tested, thresholds, resamples, settings)]
        points += [named | row for row in curves.curve_rows(tested, resamples.patient_of_image, settings.confidence)]
        conventions += [named | row for row in ratios.ratio_rows(saliency, resamples, scaling, settings, doubtful)]
        keys.append(key)
        all_tested.append(tested)
        estimates.append(found)
        levels.append({patients.IMAGE: patients.AtLevel(tested, found), **of_patients})
    if all_tested:
        points += curves.treat_all_rows(labels)
    pairs = comparisons.compare(keys, all_tested, estimates, resamples, settings)
    ranks = comparisons.ranked(keys, estimates, pairs, settings.confidence)
    rows = [row | of_cell for row, of_cell in zip(rows, ranks, strict=True)]
    rows = _with_corrected_highest(evidence.with_evidence(rows, settings.confidence), estimates)
    averages, differences = contrasts.average(keys, estimates, settings)
    best_first = ["auc", *TRIAL]
    return Leaderboard(
        trials=frame(rows + failed, SCHEMA).sort(best_first, descending=[True, False, False, False], nulls_last=True),
        operating=frame(operating, OPERATING_SCHEMA),
        curves=frame(points, curves.SCHEMA),
        ratios=frame(conventions, ratios.SCHEMA),
        comparisons=pairs,
        seeds=comparisons.over_all_seeds(keys, estimates, settings),
        correlation=comparisons.correlate(keys, estimates, settings),
        averages=averages,
        contrasts=differences,
        repeatability=contrasts.repeat(keys, estimates, settings),
        patients=patients.level_table(keys, levels),
        patient_pairs=patients.compare_patients(keys, levels, settings),
        of_covariates=covariate_tables(
            directory, cohort, keys, all_tested, [row["predicts"] for row in rows], resamples, settings
        ),
    )


def failure(folder: TrialDirectory) -> str | None:
    """Why a trial has no complete results; None if it has."""
    if folder.has_failed:
        return folder.failure.read_text(encoding="utf-8").strip()
    return None if folder.is_explained else "not finished"


# The functions below join by image name, because resamples identify images by their position in the cohort.


def read_saliency(folder: TrialDirectory, test: pl.DataFrame) -> pl.DataFrame:
    """A trial's saliency in the order of the test images."""
    saliency = read_parquet(folder.saliency).drop("patient_id")
    return test.select("image", "patient_id").join(saliency, on="image", how="left", maintain_order="left")


def read_doubtful(directory: RunDirectory, test: pl.DataFrame) -> np.ndarray:
    """Whether the vessel masks of each test image look wrong (`xai.vessels.quality`), (n,) bool."""
    flags = read_parquet(directory.vessels).select("image", "flags")
    return (test.join(flags, on="image", how="left", maintain_order="left")["flags"].fill_null("") != "").to_numpy()


def read_thresholds(folder: TrialDirectory) -> dict[str, float]:
    """The threshold of each of `OPERATING_POINTS`, chosen on validation images."""
    validation = of_split(read_parquet(folder.predictions), "val")
    labels, scores = validation["label"].to_numpy(), validation["score"].to_numpy()
    return {point: float(choose(labels, scores)) for point, choose in OPERATING_POINTS.items()}


def read_training_labels(directory: RunDirectory) -> np.ndarray:
    """The labels of the images on which the trials were trained, also if that was in another run."""
    return of_split(read_parquet(directory.trained_in.cohort), "train")["label"].to_numpy()


def read_risk(folder: TrialDirectory, trained: np.ndarray, method: RiskMethod, balance: Balance) -> Risk:
    """How a trial's scores become risks; if no line can be fitted on validation images, only balancing is undone.

    Args:
        trained: labels of the training images.
    """
    validation = of_split(read_parquet(folder.predictions), "val")
    labels, scores = (validation[name].to_numpy() for name in ("label", "score"))
    return fitted_risk(trained, labels, scores, method, balance)


def fitted_risk(
    trained: np.ndarray, labels: np.ndarray, scores: np.ndarray, method: RiskMethod, balance: Balance
) -> Risk:
    """How scores become risks.

    Args:
        trained: labels (0, 1) of what the model was trained on.
        labels: (n,) of 0/1, of what it was validated on.
        scores: (n,) in [0, 1], of the same.
    """
    if method == "recalibrated":
        fitted = recalibrate(labels, scores)
        if fitted is not None:
            return fitted
    if method == "score" or balance == "none" or len(np.unique(trained)) < 2:
        return SCORE
    return undo_balancing(trained)


def read_tested(
    folder: TrialDirectory, test: pl.DataFrame, saliency: pl.DataFrame, threshold: float, risk: Risk
) -> Tested:
    """A trial's scores, risks and ratios in the order of the test images."""
    if OUTSIDE not in saliency.columns:
        raise UserError(f"{folder.saliency}: written by an earlier version (no {OUTSIDE}); delete it and use --resume")
    values = {name: saliency[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in (*RATIOS, OUTSIDE)}
    outside = values.pop(OUTSIDE)
    return Tested(test["label"].to_numpy(), read_scores(folder, test), threshold, values, outside, risk)


def read_scores(folder: TrialDirectory, test: pl.DataFrame) -> np.ndarray:
    """A trial's scores in the order of the test images, (n,); validation images may have the same names."""
    predictions = of_split(read_parquet(folder.predictions), "test").select("image", "score")
    return test.select("image").join(predictions, on="image", how="left", maintain_order="left")["score"].to_numpy()


def _counts(tested: Tested, patients: np.ndarray) -> dict[str, float | None]:
    positive, called, known = (
        tested.labels == 1,
        tested.scores >= tested.threshold,
        np.isfinite(tested.ratios["vessel_ratio"]),
    )
    right = called == positive
    kept = compared(right, positive, known)
    return {
        "n_images": len(tested.labels),
        "n_patients": len(set(patients.tolist())),
        "n_positive": int(tested.labels.sum()),
        "n_positive_patients": len(set(patients[positive].tolist())),
        "n_negative_patients": len(set(patients[~positive].tolist())),
        "threshold": tested.threshold,
        "n_called": int(called.sum()),
        "n_map": int(np.isfinite(tested.outside).sum()),
        "n_right": int((kept & right).sum()) if kept.any() else None,
        "n_wrong": int((kept & ~right).sum()) if kept.any() else None,
        **{
            f"n_{called}_{label}": int((known & of_label & of_call).sum())
            for label, of_label in (("positive", positive), ("negative", ~positive))
            for called, of_call in (("right", right), ("wrong", ~right))
        },
        "n_ratio": int(known.sum()),
    }


def _delong(tested: Tested, patients: np.ndarray, confidence: float) -> dict[str, float]:
    ((low, high),) = delong(tested.labels, [tested.scores], patients).logit_t_intervals(confidence)
    return {"auc_delong_low": low, "auc_delong_high": high}


def _operating(
    tested: Tested, thresholds: dict[str, float], resamples: PatientResamples, settings: Statistics
) -> list[dict[str, Any]]:
    rows = []
    for point, threshold in thresholds.items():
        found, of_images = estimate_calls(tested, threshold, resamples, settings), tested.behind(threshold)
        for measure in CALLS:
            low, high = found.intervals[measure]
            rows.append(
                {
                    "point": point,
                    "threshold": threshold,
                    "measure": measure,
                    "value": found.values[measure],
                    "low": low,
                    "high": high,
                    "n_images": int(of_images[measure].sum()) if measure in of_images else len(tested.labels),
                }
            )
    return rows


def _with_corrected_highest(rows: list[dict[str, Any]], estimates: Sequence[Estimates]) -> list[dict[str, Any]]:
    """Add the corrected AUC to the row with the highest AUC, which is too high because it was selected."""
    aucs = np.array([estimate.values["auc"] for estimate in estimates])
    if len(aucs) < 2 or np.isnan(aucs).all():
        return rows
    samples = np.stack([estimate.samples["auc"] for estimate in estimates], axis=1)
    optimism = optimism_of_highest(aucs, samples, [standard_error(estimate, "auc") for estimate in estimates])
    highest = int(np.nanargmax(aucs))
    return [row | ({"auc_corrected": row["auc"] - optimism} if i == highest else {}) for i, row in enumerate(rows)]
