"""Whether the image adds to the covariates, and how well its score predicts them.

Everything here is per patient: one row for each test patient, with the mean logit of the scores of the patient's
images, and positive if any image is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL, TrialKey, frame
from benchmark.analysis.covariates import FEWEST, kind_of, per_patient
from benchmark.analysis.measures import CHANCE, SCALES, Tested, bounded, estimate, expected_of_auc, p_above_chance
from benchmark.study.config import Statistics
from stats.added_value import MODELS, AddedValue, added_value, folds_of
from stats.adjusted import auc_of_residuals
from stats.association import linear_association, rank_association
from stats.calibration import as_logits
from stats.delong import delong
from stats.intervals import student_p_value
from stats.jackknife import Spread
from stats.multiple import holm
from stats.resamples import PatientResamples, draw_patients
from stats.spline import knots, spline_columns

PER_COEFFICIENT = 10  # patients of the rarer class for each coefficient of a model (Peduzzi et al. 1996)
SEPARATOR = "; "  # of names in a cell of a table
MOST = 500  # groups of patients left out in turn

IMAGE_ADDS_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "covariates": pl.String,
    **bounded([f"{measure}_{model}" for measure in ("auc", "brier") for model in MODELS]),
    **bounded(["auc_gain", "brier_gain"]),
    "likelihood_ratio": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    **bounded(["adjusted_auc"]),
    "adjusted_auc_p": pl.Float64,
    "adjusted_auc_p_holm": pl.Float64,
    "n_patients": pl.Int64,
    "n_positive": pl.Int64,
    "n_missing": pl.Int64,
    "n_coefficients": pl.Int64,
    "predicts_covariates": pl.String,
    "adds": pl.Boolean,
    "explained": pl.Boolean,
    "not_known": pl.String,
}
SCORE_PREDICTS_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "covariate": pl.String,
    "category": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "n_patients": pl.Int64,
}


@dataclass(frozen=True, eq=False)
class People:
    """The test patients, in the order of their sorted ids.

    Attributes:
        of_image: (images,) int, the patient of each test image.
        labels: (patients,) bool, whether any image is positive.
        covariates: one row per patient, one column per covariate.
    """

    of_image: np.ndarray
    labels: np.ndarray
    covariates: pl.DataFrame

    def scores(self, tested: Tested) -> np.ndarray:
        """The mean logit over the images of each patient."""
        logits = np.bincount(self.of_image, weights=as_logits(tested.scores))
        return logits / np.bincount(self.of_image)


def people(patients: pl.Series, labels: np.ndarray, covariates: pl.DataFrame) -> People:
    """The patients of images with these covariates."""
    _, of_image = np.unique(patients.to_numpy(), return_inverse=True)
    of_patients = {name: per_patient(patients, covariates[name]) for name in covariates.columns}
    return People(of_image, np.bincount(of_image, weights=labels) > 0, pl.DataFrame(of_patients))


def image_adds(
    keys: Sequence[TrialKey],
    tested: Sequence[Tested],
    predicts: Sequence[bool | None],
    patients: People,
    settings: Statistics,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What every trial's score adds to the covariates, and how well it predicts each of them.

    Args:
        keys: the trials.
        tested: each trial on the test images.
        predicts: whether each trial is shown to predict better than chance.
        patients: the patients of these images.
        settings: of intervals.

    Returns:
        Columns as `IMAGE_ADDS_SCHEMA` and `SCORE_PREDICTS_SCHEMA`. `p_holm` is adjusted for all trials in the first,
        and for all covariates and trials in the second. `explained`: the trial predicts and its score predicts a
        covariate, but it is not shown to add to the covariates, and its AUC is not shown to be above 0.5 among patients
        of equal covariates.
    """
    level = 1 - settings.confidence
    followed: list[dict[str, Any]] = []
    added: list[dict[str, Any]] = []
    known = complete(patients)
    for key, of_trial in zip(keys, tested, strict=True):
        named, scores = dict(zip(TRIAL, key, strict=True)), patients.scores(of_trial)
        followed += [named | row for row in _predicted(patients.covariates, scores, settings.confidence)]
        added.append(named | _added(known, scores, settings))
    _adjust(followed, "p_value", "p_holm")
    _adjust(added, "p_value", "p_holm")
    _adjust(added, "adjusted_auc_p", "adjusted_auc_p_holm")
    for row, predicting in zip(added, predicts, strict=True):
        of_trial_rows = [each for each in followed if all(each[name] == row[name] for name in TRIAL)]
        names = dict.fromkeys(each["covariate"] for each in of_trial_rows if each["p_holm"] <= level)
        row["predicts_covariates"] = SEPARATOR.join(names)
        if row["not_known"] is None:
            row["adds"] = row["p_holm"] <= level
            above = row["adjusted_auc_p_holm"] <= level and row["adjusted_auc"] > CHANCE
            row["explained"] = bool(predicting) and bool(names) and not row["adds"] and not above
    return frame(added, IMAGE_ADDS_SCHEMA), frame(followed, SCORE_PREDICTS_SCHEMA)


def _adjust(rows: list[dict[str, Any]], p_value: str, p_holm: str) -> None:
    for row, adjusted in zip(rows, holm([row.get(p_value, np.nan) for row in rows]), strict=True):
        row[p_holm] = float(adjusted)


@dataclass(frozen=True, eq=False)
class Complete:
    """The patients of whom every covariate is known, and the columns of the covariates in a regression.

    Attributes:
        known: (patients,) bool.
        labels: (known,) bool.
        design: (known, columns).
        names: of the covariates that have a column.
    """

    known: np.ndarray
    labels: np.ndarray
    design: np.ndarray
    names: tuple[str, ...]


def complete(patients: People) -> Complete:
    """The patients with all covariates.

    A number enters as a restricted cubic spline with three knots, or as a line where there would be fewer than
    `PER_COEFFICIENT` patients of the rarer class per coefficient. A category has one column for each level but the most
    frequent one; levels with fewer than `FEWEST` patients are joined. A column that follows from others is left out.
    """
    covariates = patients.covariates
    known = ~np.any([covariates[name].is_null().to_numpy() for name in covariates.columns], axis=0)
    of_known = covariates.filter(pl.Series(known))
    labels = patients.labels[known]
    rarer = min(int(labels.sum()), int((~labels).sum()))
    curved = _design(of_known, curved=True)
    coefficients = 2 + sum(part.shape[1] for part in curved.values())  # with the intercept and the score
    parts = curved if rarer >= PER_COEFFICIENT * coefficients else _design(of_known, curved=False)
    names, columns = list[str](), np.empty((len(of_known), 0))
    for name, part in parts.items():
        for column in part.T:
            wider = np.column_stack([columns, column])
            if _rank(wider) > wider.shape[1]:
                columns, names = wider, [*names, name]
    return Complete(known, labels, columns, tuple(dict.fromkeys(names)))


def _rank(columns: np.ndarray) -> int:
    """The rank of columns in any units, together with an intercept."""
    spread = columns.std(axis=0)
    if not len(columns) or not spread.all():
        return 0
    return int(
        np.linalg.matrix_rank(np.column_stack([np.ones(len(columns)), (columns - columns.mean(axis=0)) / spread]))
    )


def _design(covariates: pl.DataFrame, curved: bool) -> dict[str, np.ndarray]:
    parts = {}
    for name in covariates.columns:
        values = covariates[name]
        if values.is_empty():
            parts[name] = np.empty((0, 0))
        elif kind_of(values) == "number":
            numbers = values.to_numpy()
            parts[name] = spline_columns(numbers, knots(numbers) if curved else [])
        else:
            counts = values.value_counts(sort=True)
            frequent = sorted(counts.filter(pl.col("count") >= FEWEST)[name])
            base = counts[name][0]
            levels = [values == level for level in frequent if level != base]
            rare = ~values.is_in([base, *frequent])
            levels += [rare] if rare.sum() >= FEWEST else []
            parts[name] = np.column_stack([np.empty((len(values), 0)), *(level.to_numpy() for level in levels)])
    return parts


def _added(known: Complete, scores: np.ndarray, settings: Statistics) -> dict[str, Any]:
    """The columns of `IMAGE_ADDS_SCHEMA` of one trial, without what depends on other trials."""
    row: dict[str, Any] = {
        "covariates": SEPARATOR.join(known.names),
        "n_patients": len(known.labels),
        "n_positive": int(known.labels.sum()),
        "n_missing": int((~known.known).sum()),
        "n_coefficients": 2 + known.design.shape[1],
        "not_known": _obstacle(known),
    }
    if row["not_known"] is not None:
        return row
    logits = scores[known.known]
    found = added_value(known.labels, known.design, logits, folds_of(known.labels, settings.seed), settings.confidence)
    if found is None:
        return row | {"not_known": "covariates or score separate the classes, so a logistic model does not exist"}
    return row | _values(found) | _adjusted(known, logits, settings)


def _obstacle(known: Complete) -> str | None:
    """Why nothing can be computed, if so."""
    if not known.names:
        return "no covariate is known of patients that differ in it"
    fewest = min(int(known.labels.sum()), int((~known.labels).sum()))
    if fewest < FEWEST:
        return f"only {fewest} patients of one class have all covariates; {FEWEST} are needed"
    return None


def _values(found: AddedValue) -> dict[str, Any]:
    numbers = {f"auc_{name}": found.auc[name] for name in MODELS}
    numbers |= {f"brier_{name}": found.brier[name] for name in MODELS}
    numbers |= {"auc_gain": found.auc_gain, "brier_gain": found.brier_gain}
    columns: dict[str, Any] = {"likelihood_ratio": found.test.statistic, "p_value": found.test.p}
    for name, number in numbers.items():
        columns |= {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}
    return columns


def _adjusted(known: Complete, logits: np.ndarray, settings: Statistics) -> dict[str, Any]:
    """The AUC among patients of equal covariates, with its interval and test."""
    labels = known.labels.astype(np.int64)
    resamples = draw_patients(np.arange(len(labels)), labels, settings.resamples, settings.seed)

    def adjusted(drawn: PatientResamples) -> dict[str, np.ndarray]:
        return {"auc": auc_of_residuals(labels, logits, known.design, drawn)}

    found = estimate(adjusted, resamples, settings, SCALES, partial(expected_of_auc, labels, resamples), MOST)
    low, high = found.intervals["auc"]
    value = found.values["auc"]
    p_value = p_above_chance([found], settings)
    return {"adjusted_auc": value, "adjusted_auc_low": low, "adjusted_auc_high": high, "adjusted_auc_p": p_value}


def _predicted(covariates: pl.DataFrame, scores: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    """How well a score predicts each covariate: rank correlation and R squared of a number, AUC of each category.

    Of two categories, only the last is shown: the AUC of the other is one minus it.
    """
    rows: list[dict[str, Any]] = []
    for name in covariates.columns:
        values = covariates[name]
        known = values.is_not_null().to_numpy()
        if not known.any():
            continue
        if kind_of(values) == "number":
            numbers = values.drop_nulls().to_numpy()
            for measure, associate in (("spearman", rank_association), ("r_squared", linear_association)):
                found = associate(scores[known], numbers, confidence)
                row = {"covariate": name, "measure": measure, "value": found.value, "n_patients": found.n}
                # R squared is another view of the same question, so only rho is tested.
                row |= {"low": found.low, "high": found.high, "p_value": found.p if measure == "spearman" else np.nan}
                rows.append(row)
            continue
        categories = values.drop_nulls().unique().sort().to_list()
        for category in categories[1:] if len(categories) <= 2 else categories:
            row = {"covariate": name, "category": category, "measure": "auc", "n_patients": int(known.sum())}
            belongs = (values.filter(pl.Series(known)) == category).to_numpy()
            rows.append(row | _of_category(belongs, scores[known], confidence))
    return rows


def _of_category(belongs: np.ndarray, scores: np.ndarray, confidence: float) -> dict[str, float]:
    found = delong(belongs, [scores])
    area, freedom = float(found.areas[0]), float(found.degrees_of_freedom[0])
    ((low, high),) = found.logit_t_intervals(confidence)
    spread = Spread(float(np.sqrt(found.covariance[0, 0])), freedom)
    return {"value": area, "low": low, "high": high, "p_value": student_p_value(area, spread, CHANCE, "logit")}
