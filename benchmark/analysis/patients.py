"""Patients instead of images: the scores of a patient's images combined into one, and the measures of such scores.

A decision is about a person. Each way of combining is a level, next to the level of the images, by which trials are
ranked. Everything that is chosen on validation, threshold and recalibration, is chosen on validation patients at the
same level. Resamples and left-out patients are those of the images, so levels and trials are paired.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL, TrialKey, adjusted, frame, named
from benchmark.analysis.measures import SCALES, Estimates, Tested, bounded, estimate_trial, names_of
from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory, TrialDirectory
from benchmark.study.config import Statistics
from benchmark.study.splits import of_split
from benchmark.tables import read_parquet
from stats.combine import patient_labels, patient_max, patient_mean
from stats.delong import delong_test
from stats.operating import best_f1_threshold
from stats.resamples import PatientResamples
from stats.risk import Risk
from xai.saliency import RATIOS

# From labels of training patients, and labels and scores of validation patients, to the risks of scores.
Fits = Callable[[np.ndarray, np.ndarray, np.ndarray], Risk]

IMAGE, MEAN, MAX, ATTENTION = "image", "patient_mean", "patient_max", "patient_attention"
LEVELS = (IMAGE, MEAN, MAX, ATTENTION)  # in the order of the rows
MEASURED = tuple(name for name in names_of("discrimination", "call", "risk") if name in SCALES)
SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "level": pl.String,
    "n": pl.Int64,  # images at the level of images, otherwise patients
    "n_positive": pl.Int64,
    "n_called": pl.Int64,
    "threshold": pl.Float64,
    **bounded(MEASURED),
    "risk_intercept": pl.Float64,
    "risk_slope": pl.Float64,
}
PAIRS_SCHEMA: dict[str, type[pl.DataType]] = {
    "level": pl.String,
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
    "n_patients": pl.Int64,
}
DELONG_OF_PATIENTS = "DeLong, one score per patient"
COMPACT: dict[str, type[pl.DataType]] = bounded(["auc_patient"])  # the columns of the leaderboard


@dataclass(frozen=True, eq=False)
class AtLevel:
    """A trial at one level: what was tested, with one row per image or patient, and its measures."""

    tested: Tested
    found: Estimates

    def columns(self) -> dict[str, Any]:
        """Columns of `SCHEMA` other than the trial and the level."""
        tested = self.tested
        return {
            "n": len(tested.labels),
            "n_positive": int(tested.labels.sum()),
            "n_called": int((tested.scores >= tested.threshold).sum()),
            "threshold": tested.threshold,
            "risk_intercept": tested.risk.intercept,
            "risk_slope": tested.risk.slope,
            **{column: value for column, value in self.found.columns().items() if column in SCHEMA},
        }


Levels = Mapping[str, AtLevel]  # level -> the trial at that level


def read_images(directory: RunDirectory) -> pl.DataFrame:
    """The images of all splits: image, split, patient_id, label, and eye and visit if they are known.

    The cohort of a run; for an external cohort, its test images with the images of the run that trained the trials.
    """
    columns = ("image", "split", "patient_id", "label", "eye", "visit")
    cohort, trained = (read_parquet(each.cohort) for each in (directory, directory.trained_in))
    parts = [trained.filter(pl.col("split") != "test"), of_split(cohort, "test")]
    known = [part.select(name for name in columns if name in part.columns) for part in parts]
    return pl.concat(known, how="diagonal_relaxed")


def read_levels(
    folder: TrialDirectory, cohort: pl.DataFrame, resamples: PatientResamples, settings: Statistics, fits: Fits
) -> dict[str, AtLevel]:
    """A trial at every level of patients that it has.

    Args:
        cohort: from `read_images`; eyes and visits that it lacks are unknown.
        resamples: of the test images' patients.
    """
    trained = _labels(of_split(cohort, "train"))
    of_test = PatientResamples(resamples.counts, np.arange(resamples.counts.shape[1]), resamples.strata)
    levels = {}
    for level, table in combined(folder, cohort).items():
        (val_labels, val_scores), (labels, scores) = (_columns(of_split(table, split)) for split in ("val", "test"))
        if np.isnan(scores).any():
            raise UserError(f"{folder.attention}: lacks patients of the run; delete it and use --resume")
        tested = Tested(
            labels,
            scores,
            float(best_f1_threshold(val_labels, val_scores)),
            dict.fromkeys(RATIOS, np.full(len(labels), np.nan)),
            np.full(len(labels), np.nan),
            fits(trained, val_labels, val_scores),
        )
        levels[level] = AtLevel(tested, estimate_trial(tested, of_test, settings))
    return levels


def combined(folder: TrialDirectory, cohort: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A trial's patients at each level that it has: patient_id, label, score, split, by split and patient."""
    scores = read_parquet(folder.predictions).select("image", "split", "score")
    images = cohort.join(scores, on=["image", "split"], how="inner")  # two cohorts may use the same names
    found = {level: _per_patient(images, combine) for level, combine in _COMBINED.items()}
    if folder.attention.is_file():
        scores = read_parquet(folder.attention).select("patient_id", "split", "score").unique()
        patients = found[MEAN].drop("score")  # their order is that of the resamples
        found[ATTENTION] = patients.join(scores, on=["patient_id", "split"], how="left", maintain_order="left")
    return found


def _per_patient(images: pl.DataFrame, combine: Callable[[pl.DataFrame], np.ndarray]) -> pl.DataFrame:
    parts = []
    for (split,), of_one in images.group_by("split", maintain_order=True):
        ids = np.unique(of_one["patient_id"].to_numpy())
        parts.append(
            pl.DataFrame(
                {"patient_id": ids.tolist(), "label": _labels(of_one), "score": combine(of_one), "split": split}
            )
        )
    return pl.concat(parts)


def _mean(images: pl.DataFrame) -> np.ndarray:
    visits, eyes = (images[name].to_list() if name in images.columns else None for name in ("visit", "eye"))
    return patient_mean(images["score"], images["patient_id"].to_numpy(), visits, eyes)


def _max(images: pl.DataFrame) -> np.ndarray:
    return patient_max(images["score"], images["patient_id"].to_numpy())


_COMBINED: dict[str, Callable[[pl.DataFrame], np.ndarray]] = {MEAN: _mean, MAX: _max}


def _labels(images: pl.DataFrame) -> np.ndarray:
    """Labels of the patients of some images, in the order of their ids."""
    if images.is_empty():
        return np.zeros(0, dtype=np.int64)
    return patient_labels(images["label"], images["patient_id"].to_numpy())


def _columns(patients: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return patients["label"].to_numpy(), patients["score"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def level_table(keys: Sequence[TrialKey], levels: Sequence[Levels]) -> pl.DataFrame:
    """One row per trial and level, columns as `SCHEMA`."""
    rows = [
        dict(zip(TRIAL, key, strict=True)) | {"level": level} | of_trial[level].columns()
        for key, of_trial in zip(keys, levels, strict=True)
        for level in LEVELS
        if level in of_trial
    ]
    return frame(rows, SCHEMA)


def compact(levels: Levels) -> dict[str, float]:
    """The columns of the leaderboard: the AUC of patients, from the means of their scores."""
    found = levels[MEAN].found.columns()
    return {column: found[column.replace("_patient", "")] for column in COMPACT}


def compare_patients(keys: Sequence[TrialKey], levels: Sequence[Levels], settings: Statistics) -> pl.DataFrame:
    """Differences of the AUCs of every pair of trials at each level of patients, columns as `PAIRS_SCHEMA`.

    DeLong's test on patients, with Student's t. Holm's method adjusts for all pairs of a level.
    """
    rows: list[dict[str, Any]] = []
    for level in LEVELS[1:]:
        of_level = []
        having = [place for place in range(len(keys)) if level in levels[place]]
        for a, b in itertools.combinations(having, 2):
            of_a, of_b = (levels[place][level].tested for place in (a, b))
            test = delong_test(of_a.labels, of_a.scores, of_b.scores)
            low, high = test.t_interval(settings.confidence)
            of_level.append(
                {"level": level}
                | named(keys[a], "a")
                | named(keys[b], "b")
                | {"difference": test.difference, "low": low, "high": high, "p_value": test.p_value}
                | {"p_equivalent": test.equivalence_p_value(settings.equivalence_margin), "method": DELONG_OF_PATIENTS}
                | {"n_patients": len(of_a.labels)}
            )
        if of_level:
            rows += adjusted(of_level, settings.confidence)
    return frame(rows, PAIRS_SCHEMA)
