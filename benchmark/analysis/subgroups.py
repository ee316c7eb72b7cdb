"""Prediction in subgroups of patients, and tests of whether it differs between them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL, TrialKey, frame
from benchmark.analysis.covariates import Grouping
from benchmark.analysis.measures import (
    SCALES,
    Estimates,
    Resampled,
    Tested,
    estimate,
    exact_shares,
    expected_of_auc,
    spread_of,
)
from benchmark.study.config import Statistics
from stats.adjusted import auc_within_strata
from stats.bootstrap import auc_resampled
from stats.calibration import calibration_resampled
from stats.heterogeneity import Heterogeneity, heterogeneity
from stats.intervals import on_scale
from stats.jackknife import covariance
from stats.multiple import holm
from stats.operating import confusion_resampled
from stats.resamples import PatientResamples

COMPARED = ("auc", "sensitivity", "specificity", "calibration_intercept", "calibration_slope")
MOST = 500  # groups of patients left out in turn; there are many subgroups

SUBGROUPS_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "covariate": pl.String,
    "subgroup": pl.String,
    "above": pl.Float64,
    "up_to": pl.Float64,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive": pl.Int64,
}
HETEROGENEITY_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "covariate": pl.String,
    "measure": pl.String,
    "n_subgroups": pl.Int64,
    "n_tested": pl.Int64,
    "q": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "differs": pl.Boolean,
    "within": pl.Float64,
    "within_low": pl.Float64,
    "within_high": pl.Float64,
    "n_images": pl.Int64,
    "n_missing": pl.Int64,
}


def in_subgroups(
    keys: Sequence[TrialKey],
    tested: Sequence[Tested],
    groupings: Sequence[Grouping],
    resamples: PatientResamples,
    settings: Statistics,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Measures of every trial in every subgroup, and their tests of heterogeneity.

    Args:
        keys: the trials.
        tested: each trial on the test images.
        groupings: the subgroups of the same images.
        resamples: the resamples of the patients.
        settings: of intervals.

    Returns:
        Columns as `SUBGROUPS_SCHEMA` and `HETEROGENEITY_SCHEMA`. p_holm is adjusted for all covariates and trials, for
        each measure separately, and `differs` says whether it shows a difference. `within` is the AUC within subgroups
        (Janes & Pepe 2009), in the rows of the AUC.
    """
    groups: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for key, of_trial in zip(keys, tested, strict=True):
        for grouping in groupings:
            named = dict(zip(TRIAL, key, strict=True)) | {"covariate": grouping.covariate}
            found = [_measure(*_inside(of_trial, resamples, grouping.of_image == k), settings) for k in _of(grouping)]
            groups += [named | row for row in _rows(of_trial, grouping, found, resamples)]
            tests += [named | row for row in _tests(of_trial, grouping, found, resamples, settings)]
    by_measure = {measure: [row for row in tests if row["measure"] == measure] for measure in COMPARED}
    for rows in by_measure.values():
        for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
            row["p_holm"] = float(adjusted)
            row["differs"] = None if np.isnan(adjusted) else bool(adjusted <= 1 - settings.confidence)
    return frame(groups, SUBGROUPS_SCHEMA), frame(tests, HETEROGENEITY_SCHEMA)


def _of(grouping: Grouping) -> range:
    return range(len(grouping.names))


def _inside(tested: Tested, resamples: PatientResamples, inside: np.ndarray) -> tuple[Tested, PatientResamples]:
    """A trial on some of the images. All patients stay in the resamples, so that groups can be compared."""
    part = Tested(
        labels=tested.labels[inside],
        scores=tested.scores[inside],
        threshold=tested.threshold,
        ratios={},
        outside=tested.outside[inside],
        risk=tested.risk,
    )
    return part, PatientResamples(resamples.counts, resamples.patient_of_image[inside], resamples.strata)


def _measure(tested: Tested, resamples: PatientResamples, settings: Statistics) -> Estimates:
    found = estimate(
        partial(_measured, tested),
        resamples,
        settings,
        SCALES,
        partial(expected_of_auc, tested.labels, resamples),
        MOST,
    )
    exact = exact_shares(found, tested, tested.threshold, resamples, settings)
    return Estimates(found.values, found.left_out, found.groups, {}, found.intervals | exact, found.expected)


def _measured(tested: Tested, resamples: PatientResamples) -> Resampled:
    calls = confusion_resampled(tested.labels, tested.scores >= tested.threshold, resamples)
    calibration = calibration_resampled(tested.labels, tested.risks, resamples)
    return {
        "auc": auc_resampled(tested.labels, tested.scores, resamples),
        "sensitivity": calls.sensitivity,
        "specificity": calls.specificity,
        "calibration_intercept": calibration.intercept,
        "calibration_slope": calibration.slope,
    }


def _rows(
    tested: Tested, grouping: Grouping, found: Sequence[Estimates], resamples: PatientResamples
) -> list[dict[str, Any]]:
    rows = []
    for k, (name, of_group) in enumerate(zip(grouping.names, found, strict=True)):
        inside = grouping.of_image == k
        positive = tested.labels == 1
        behind = {"sensitivity": inside & positive, "specificity": inside & ~positive}
        above, up_to = grouping.bounds[k] if grouping.bounds else (None, None)
        for measure in COMPARED:
            low, high = of_group.intervals[measure]
            images = behind.get(measure, inside)
            rows.append(
                {
                    "subgroup": name,
                    "above": above,
                    "up_to": up_to,
                    "measure": measure,
                    "value": of_group.values[measure],
                    "low": low,
                    "high": high,
                    "n_images": int(images.sum()),
                    "n_patients": len(np.unique(resamples.patient_of_image[images])),
                    "n_positive": int((images & positive).sum()),
                }
            )
    return rows


def _tests(
    tested: Tested,
    grouping: Grouping,
    found: Sequence[Estimates],
    resamples: PatientResamples,
    settings: Statistics,
) -> list[dict[str, Any]]:
    known = grouping.of_image >= 0
    rows = []
    for measure in COMPARED:
        test = compared(found, measure)
        row = {
            "measure": measure,
            "n_subgroups": len(grouping.names),
            "n_tested": test.groups,
            "q": test.q,
            "p_value": test.p,
            "n_images": int(known.sum()),
            "n_missing": grouping.missing,
        }
        rows.append(row | (_within(tested, grouping, resamples, settings) if measure == "auc" and known.any() else {}))
    return rows


def compared(found: Sequence[Estimates], measure: str) -> Heterogeneity:
    """The test of heterogeneity of a measure over groups of the same patients' images.

    Estimates and errors are those of the intervals, on the scale of the intervals.
    """
    if not found:
        return heterogeneity([], np.empty((0, 0)), [])
    scaled = [on_scale(each.values[measure], SCALES[measure]) for each in found]
    spreads = [spread_of(each, measure) for each in found]
    groups = found[0].groups
    together = covariance(
        [each.values[measure] for each in found],
        np.stack([each.left_out[measure] for each in found]),
        groups.strata,
        groups.patients,
    )
    # The correlations are those of the jackknife; the errors may be moderated.
    own = np.sqrt(np.diag(together))
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.array([spread.standard_error * slope for spread, (_, slope) in zip(spreads, scaled, strict=True)])
        together = together * np.outer(errors / own, errors / own)
    return heterogeneity([value for value, _ in scaled], together, [each.degrees_of_freedom for each in spreads])


def _within(tested: Tested, grouping: Grouping, resamples: PatientResamples, settings: Statistics) -> dict[str, float]:
    part, drawn = _inside(tested, resamples, grouping.of_image >= 0)
    strata = grouping.of_image[grouping.of_image >= 0]
    found = estimate(
        lambda each: {"auc": auc_within_strata(part.labels, part.scores, strata, each)},
        drawn,
        settings,
        SCALES,
        partial(expected_of_auc, part.labels, drawn),
        MOST,
    )
    low, high = found.intervals["auc"]
    return {"within": found.values["auc"], "within_low": low, "within_high": high}
