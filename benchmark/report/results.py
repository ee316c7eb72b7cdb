"""results.json: every number of a run with its n and its method, in one documented, versioned schema.

`results.json` represents the run: `run_benchmark.py leaderboard` reads nothing else. docs/results.md describes the
fields; `Results.model_json_schema()` is the schema itself. A reader of version 2 may rely on every field below: fields
may be added without a new version, but they are removed or changed only with a new version.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.analysis import evidence
from benchmark.analysis.comparisons import FEWEST_CELLS, TRIAL, TrialKey
from benchmark.analysis.flow import Box
from benchmark.analysis.leaderboard import OK, Leaderboard
from benchmark.analysis.measures import MEASURES
from benchmark.analysis.patients import IMAGE, MEASURED
from benchmark.analysis.planted import INDICATORS, Planted
from benchmark.errors import UserError
from benchmark.report.provenance import Machine, Software
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Controls, Statistics
from benchmark.study.controls import CONTROLS, Control
from xai.controls.null import TESTED_RATIOS

SCHEMA_NAME: Literal["retina-benchmark/results"] = "retina-benchmark/results"
VERSION: Literal[2] = 2


class _Model(BaseModel):
    """Unknown fields are ignored, because a later program may have added them."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Method(_Model):
    """How intervals or p-values were computed."""

    name: str
    confidence: float | None = None
    resamples: int | None = None
    seed: int | None = None


class Number(_Model):
    """An estimate from `n` images, cells or seeds; `method` is a key of `Results.methods`."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n: int
    method: str | None = None


_COPIED = (
    "n_images",
    "n_positive",
    "n_positive_patients",
    "n_negative_patients",
    "n_called",
    "n_right",
    "n_wrong",
    "n_right_positive",
    "n_wrong_positive",
    "n_right_negative",
    "n_wrong_negative",
    "threshold",
    "risk_intercept",
    "risk_slope",
    "group",
    "tied_best",
    *evidence.SCHEMA,
)


class OperatingPoint(_Model):
    """Measures on the test images at a threshold chosen on validation; null: no score reaches it."""

    point: str
    threshold: float | None
    measures: dict[str, Number]


class PatientLevel(_Model):
    """A trial on patients: the scores of a patient's images combined into one (`patient_mean`, `patient_max`, …).

    Everything in it counts patients, also `n` of each number. The threshold was chosen on validation patients.
    """

    level: str
    n: int
    n_positive: int
    n_called: int
    threshold: float | None
    risk_intercept: float
    risk_slope: float
    measures: dict[str, Number]


class RatioResult(_Model):
    """A ratio under one convention, named as in `ratios.csv`; its `n` is the number of images."""

    region: str
    against: str
    scaling: str
    average: str
    images: str = "all"
    n_patients: int
    ratio: Number


class TrialResult(_Model):
    """A trial (backbone, strategy and seed) on the test images; `status` is "ok" or the reason of the failure."""

    backbone: str
    strategy: str
    seed: int
    status: str
    n_images: int | None = None
    n_patients: int | None = None
    n_positive: int | None = None
    n_positive_patients: int | None = None  # with a positive image; patients may count in both classes
    n_negative_patients: int | None = None
    n_called: int | None = None
    n_right: int | None = None
    n_wrong: int | None = None
    n_right_positive: int | None = None
    n_wrong_positive: int | None = None
    n_right_negative: int | None = None
    n_wrong_negative: int | None = None
    threshold: float | None = None
    risk_intercept: float | None = None  # logit(risk) = risk_intercept + risk_slope * logit(score)
    risk_slope: float | None = None
    group: str | None = None
    tied_best: bool | None = None
    auc_p: float | None = None  # test of the AUC against 0.5
    auc_p_holm: float | None = None  # adjusted for all trials, like all columns `_p_holm`
    depends_p: float | None = None  # the AUC falls without vessels, and falls more than under the control
    depends_p_holm: float | None = None
    vessel_ratio_fov_null_p_holm: float | None = None
    vessel_ratio_fov_turned_p_holm: float | None = None
    vessel_ratio_fov_other_null_p_holm: float | None = None
    predicts: bool | None = None  # shown by the adjusted p-values at a level of 1 - confidence
    depends: bool | None = None
    erased_reversed: bool | None = None  # the AUC without vessels is below 0.5: misled, so no dependence is concluded
    above_null: bool | None = None
    other_above_null: bool | None = None  # for the maps of the other class
    training: dict[str, Any] | None = None
    measures: dict[str, Number] = {}
    operating: list[OperatingPoint] = []
    patients: list[PatientLevel] = []
    ratios: list[RatioResult] = []


class Comparison(_Model):
    """Trial a minus trial b on the same patients."""

    measure: str
    a: tuple[str, str, int]
    b: tuple[str, str, int]
    difference: Number
    p_holm: float | None
    p_equivalent: float | None = None  # AUCs differ by less than statistics.equivalence_margin
    p_equivalent_holm: float | None = None
    verdict: str | None = None  # "differs", "equivalent", "differs within the margin" or "not known"


class PatientComparison(_Model):
    """AUC of trial a minus AUC of trial b on the same patients; `n` of the difference is the number of patients."""

    level: str
    a: tuple[str, str, int]
    b: tuple[str, str, int]
    difference: Number
    p_holm: float | None  # adjusted for all pairs of the level
    p_equivalent: float | None
    p_equivalent_holm: float | None
    verdict: str | None


class Correlation(_Model):
    """Performance against explainability over cells."""

    performance: str
    explainability: str
    coefficient: str
    estimate: Number
    n_predicting: int  # number of cells whose AUC is shown to be above chance
    over_cells: Number | None = None  # for a population of cells, corrected for the error of their values
    not_known: str | None = None  # why `over_cells` has no value


class OverSeeds(_Model):
    """The mean of a measure over the seeds of a cell; the interval covers patients and seeds."""

    backbone: str
    strategy: str
    measure: str
    n_seeds: int
    sd: float | None
    mean: Number


class Average(_Model):
    """The mean of a measure over a level: a strategy over backbones, a backbone over strategies, or a cell over seeds.

    `holds_for`: what the interval and the letter generalise to; `missing`: cells of the run that are not in the family.
    """

    family: str
    backbone: str | None
    strategy: str | None
    measure: str
    mean: Number
    group: str | None
    n_cells: int
    missing: str
    holds_for: str


class Contrast(_Model):
    """Level a minus level b of a family; `error_patients`, `error_trainings`: standard errors by source."""

    family: str
    measure: str
    a: tuple[str | None, str | None]
    b: tuple[str | None, str | None]
    difference: Number
    p_holm: float | None
    error_patients: float | None
    error_trainings: float | None
    n_cells: int
    holds_for: str


class Repeatability(_Model):
    """The share of the variance between trainings that lies between cells; `sd_trainings`: within a cell."""

    measure: str
    icc: Number
    sd_cells: float | None
    sd_trainings: float | None
    n_trainings: int


class PlantedTrial(_Model):
    """Verdicts and outcomes of a trial by measure (`erasure`, `permutation`, `other_class`, `ratio`).

    A verdict is `vessels`, `elsewhere` or `not shown` (null: not computed); an outcome is `right`, `wrong` or `missed`
    (null: not judged).
    """

    backbone: str
    strategy: str
    seed: int
    predicts: bool | None
    verdicts: dict[str, str | None]
    outcomes: dict[str, str | None]


class PlantedResult(_Model):
    """A synthetic study compared with its truth.

    `signal`: where the signal is; `effect`: how visible severity is; `best_auc`: of the best possible classifier.
    """

    signal: str
    effect: float
    best_auc: float
    trials: list[PlantedTrial]


class Compared(_Model):
    """A measure of a trial inside (test images of the run) and outside (the external cohort); outside minus inside.

    `point`: for sensitivity and specificity, how the threshold was chosen on the run's validation images.
    """

    backbone: str
    strategy: str
    seed: int
    measure: str
    point: str | None = None
    threshold: float | None = None  # null: no score reaches it
    internal: Number
    external: Number
    difference: Number
    p_holm: float | None = None


class Recalibrated(_Model):
    """Calibration of a trial's risks in the external cohort, on patients on whom nothing was fitted.

    `method`: `carried over`, `logistic` or `isotonic`; `fitted_on`: `validation` (of the run), `external` (a share of
    the cohort), or empty.
    """

    backbone: str
    strategy: str
    seed: int
    method: str
    fitted_on: str
    n_fitted_images: int
    n_fitted_patients: int
    n_patients: int
    measures: dict[str, Number]


class Shift(_Model):
    """How scores, images or vessel masks differ, over patients; `difference`: standardised, outside minus inside."""

    about: str
    measure: str
    backbone: str | None = None
    strategy: str | None = None
    seed: int | None = None
    internal: float | None
    internal_sd: float | None
    n_internal: int
    external: float | None
    external_sd: float | None
    n_external: int
    difference: Number


class ExternalResult(_Model):
    """An external validation.

    `run`: the study that trained the models; `trained_patients`, `internal_patients`: patients of its training and test
    images.
    """

    run: str
    trained_patients: int
    internal_patients: int
    compared: list[Compared]
    recalibrated: list[Recalibrated]
    shifts: list[Shift]


class Baseline(_Model):
    """A row of Table 1: a covariate in one group of patients (`train`, `val`, `test`, `positive` or `negative`).

    A category has one row with its standardised difference, and one row with the share of each category. `difference`
    is standardised, from the group `against`.
    """

    covariate: str
    kind: str
    category: str | None = None
    patients: str
    n_patients: int
    n_missing: int
    mean: Number | None = None
    sd: float | None = None
    median: float | None = None
    q25: float | None = None
    q75: float | None = None
    count: int | None = None
    share: Number | None = None
    against: str | None = None
    difference: Number | None = None


class Subgroup(_Model):
    """Measures of a trial in a subgroup: a category, or a number `above` one limit and `up_to` another."""

    backbone: str
    strategy: str
    seed: int
    covariate: str
    subgroup: str
    above: float | None = None
    up_to: float | None = None
    measures: dict[str, Number]


class SubgroupTest(_Model):
    """Whether a measure of a trial differs between the subgroups of a covariate.

    `n_tested`: subgroups with a known standard error; `within`: the AUC within subgroups.
    """

    backbone: str
    strategy: str
    seed: int
    covariate: str
    measure: str
    n_subgroups: int
    n_tested: int
    n_missing: int
    q: float | None
    p_value: float | None
    p_holm: float | None
    differs: bool | None
    within: Number | None = None


class ImageAdds(_Model):
    """Logistic models per patient of the covariates, of a trial's score, and of both.

    `likelihood_ratio`: of both against the covariates; `adjusted_auc`: among patients of equal covariates;
    `explained`: covariates may explain the prediction; `not_known`: why there are no numbers.
    """

    backbone: str
    strategy: str
    seed: int
    covariates: list[str]
    n_missing: int
    n_coefficients: int
    measures: dict[str, Number] = {}
    likelihood_ratio: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    adjusted_auc_p_holm: float | None = None
    predicts_covariates: list[str]
    adds: bool | None = None
    explained: bool | None = None
    not_known: str | None = None


class ScorePredicts(_Model):
    """How well a trial's score predicts a covariate: `spearman` or `r_squared` of a number, `auc` of a category."""

    backbone: str
    strategy: str
    seed: int
    covariate: str
    category: str | None = None
    measure: str
    estimate: Number
    p_holm: float | None = None


class CovariateResult(_Model):
    """What a study with covariates adds."""

    baseline: list[Baseline]
    subgroups: list[Subgroup]
    heterogeneity: list[SubgroupTest]
    image_adds: list[ImageAdds]
    score_predicts: list[ScorePredicts]


class ClassCount(_Model):
    """The images and patients of one class, by split; `label` is 0 or 1. Patients may count in several classes."""

    name: str
    label: int
    images: dict[str, int]
    patients: dict[str, int]


class PatientCounts(_Model):
    """The patients of a split by their eyes, visits and images, as in `benchmark.study.patients.OfEachPatient`."""

    patients: int
    one_eye: int
    both_eyes: int
    unknown_eye: int  # an image of an unknown eye leaves open whether there is another
    several_visits: int | None  # null: no visit is known
    images_min: int | None  # images per patient
    images_median: float | None
    images_max: int | None


class CohortResult(_Model):
    """The images of a run.

    `classes`: the names of the labels, if they have names; `by_class`: the images of every class, if classes have names
    (`configuration.cohort.positive` chose the positive ones); `files_left_out`: files of a folder cohort that were not
    used, by reason; `splits_given`: whether the manifest gave the splits (null: not known), or else patients were
    divided by `configuration.cohort.shares`; `repeated`: images with the same pixels as another image of their split;
    `positive`: positive images, `positive_patients`: patients with a positive image, both by split; `of_patients`:
    eyes, visits and images that patients have, by split; `test_sha256`: the digest of the test images with patients
    and labels, equal for two runs that tested the same.
    """

    source: str
    classes: dict[str, str] | None = None
    by_class: list[ClassCount] = []
    files_left_out: dict[str, int] = {}
    splits_given: bool | None = None
    repeated: int | None = None
    manifest_sha256: str | None = None
    images: dict[str, int]
    patients: dict[str, int]
    positive: dict[str, int]
    positive_patients: dict[str, int] = {}
    of_patients: dict[str, PatientCounts] = {}
    left_out: int
    test_sha256: str


class FoldResult(_Model):
    """A trial on the test images of one fold; both numbers count from 1."""

    backbone: str
    strategy: str
    seed: int
    repeat: int
    fold: int
    status: str
    n_patients: int | None = None
    n_positive_patients: int | None = None
    n_negative_patients: int | None = None
    measures: dict[str, Number] = {}


class VarianceResult(_Model):
    """A source of the variance of a measure ("patients", "seeds", "splits", "rest", "total"), as standard deviations.

    `of_one`: of one training (one seed, one division into folds) on new patients; its `n` is the number of patients
    for `patients`, and of trainings for other sources. `of_mean`: what is left of it in the mean over all trainings.
    `share`: of the variance of one training. Null: the trainings do not show it. Without backbone and strategy: pooled
    over `n_cells`.
    """

    measure: str
    backbone: str | None = None
    strategy: str | None = None
    source: str
    of_one: Number
    of_mean: float | None
    share: float | None
    n_cells: int
    n_seeds: int
    n_repeats: int


class CrossValidationResult(_Model):
    """What a study with folds has in addition; `corrected`: differences by the corrected resampled t test."""

    folds: int
    repeats: int
    seed: int
    by_fold: list[FoldResult]
    variance: list[VarianceResult]
    corrected: list[Comparison]


class Results(_Model):
    """The results of one run."""

    schema_name: Literal["retina-benchmark/results"] = SCHEMA_NAME
    version: Literal[2] = VERSION
    study: str
    finished: str
    notices: list[str] = []
    cohort: CohortResult
    flow: Box | None = None  # from the manifest to the analysis; null: an earlier version made the report
    methods: dict[str, Method]
    trials: list[TrialResult]
    comparisons: list[Comparison]
    patient_comparisons: list[PatientComparison] = []
    correlations: list[Correlation]
    seeds: list[OverSeeds]
    averages: list[Average] = []
    contrasts: list[Contrast] = []
    repeatability: list[Repeatability] = []
    planted: PlantedResult | None = None  # null: not a synthetic study
    external: ExternalResult | None = None  # null: not an external validation
    covariates: CovariateResult | None = None  # null: the study names none
    cross_validation: CrossValidationResult | None = None  # null: a study without folds
    weights: dict[str, dict[str, Any] | None]
    vessels: dict[str, Any]
    software: Software
    machine: Machine
    seconds: dict[str, float]  # by stage, as measured
    configuration: dict[str, Any]


def methods(settings: Statistics, controls: Controls) -> dict[str, Method]:
    """The methods to which `Number.method` may refer, by key."""
    confident = {"confidence": settings.confidence}
    bootstrap = confident | {"resamples": settings.resamples, "seed": settings.seed}
    by_spread = settings.interval == "t"
    drawn = confident if by_spread else bootstrap
    short = {"t": "Student's t", "percentile": "percentile bootstrap", "bca": "BCa bootstrap"}[settings.interval]
    scales = (
        ", standard error by jackknife; on the logit scale for shares and areas, the log scale for ratios, Fisher's z "
        "scale for rank correlations within a trial, untransformed for calibration and AUC drops; the variances of AUC "
        "and average precision are moderated by those expected for this number of patients (four degrees of freedom); "
        "exact (Clopper-Pearson) for a sensitivity, specificity, PPV or NPV of 0 or 1; balanced accuracy from the "
        "intervals of sensitivity and specificity"
    )
    p_value = "by the same method" if by_spread else "from their bootstrap standard errors"
    return {
        "patients": Method(
            name=f"{short} over patients{scales if by_spread else ', stratified by label'}; p-values of the AUC and of "
            f"its drops {p_value}",
            **drawn,
        ),
        "delong": Method(name="DeLong, clustered by patient, Student's t on the logit scale", **confident),
        "paired": Method(
            name="AUCs: DeLong, clustered by patient, with Student's t; equivalence within "
            f"{settings.equivalence_margin:g} by two one-sided tests; other measures: {short} of the paired difference "
            f"over patients, p-values {p_value}",
            **drawn,
        ),
        "correlation": Method(
            name="means over seeds; percentile bootstrap over patients; p-value from permutations that exchange whole "
            f"backbones and whole strategies, no p-value below {FEWEST_CELLS} cells",
            **bootstrap,
        ),
        "over_cells": Method(
            name="coefficient for other cells, corrected for the sampling error of patients (and of seeds, if cells "
            "have several); interval by inverting a test by simulation; the value is the coefficient at which the "
            "observed one is the median",
            confidence=settings.confidence,
            seed=settings.seed,
        ),
        "selection": Method(
            name="highest AUC minus the mean excess of the highest over the true value of its trial, in resamples "
            "around estimates shrunk to the spread of true values",
            **bootstrap,
        ),
        "seeds": Method(name=f"errors of patients ({short}) and seeds (Student's t), added in quadrature", **drawn),
        "averages": Method(
            name="Student's t over patients, standard error by jackknife; with several seeds also over seeds, added "
            "in quadrature",
            **confident,
        ),
        "repeatability": Method(name="ICC(1) of a one-way random effects model, F distribution", **confident),
        "ranks": Method(
            name="simultaneous confidence sets of all ranks, from the Holm-adjusted p-values of all pairs of AUCs",
            **confident,
        ),
    } | {
        method.name: Method(
            name=method.text.format(**controls.model_dump()),
            **({"resamples": controls.draws, "seed": 0} if method.permutes else {}),
        )
        for control in CONTROLS.values()
        for method in control.methods
    }


def trial_results(leaderboard: Leaderboard, training: dict[tuple[str, str, int], dict[str, Any]]) -> list[TrialResult]:
    """A result per row of the leaderboard; `training`: the training record of each trial."""
    cells, images = [], _images(leaderboard)
    for row in leaderboard.trials.to_dicts():
        key = (row["backbone"], row["strategy"], row["seed"])
        of_cell = pl.all_horizontal(pl.col(name) == part for name, part in zip(TRIAL, key, strict=True))
        if row["status"] != OK:
            cells.append(TrialResult(**dict(zip(TRIAL, key, strict=True)), status=row["status"]))
            continue
        cells.append(
            TrialResult(
                **{name: row[name] for name in (*TRIAL, "status", *_COPIED)},
                n_patients=row["n_patients"],
                training=training.get(key),
                measures=_measures(row, images[key]),
                operating=operating_results(leaderboard.operating.filter(of_cell)),
                patients=patient_results(leaderboard.patients.filter(of_cell)),
                ratios=ratio_results(leaderboard.ratios.filter(of_cell)),
            )
        )
    return cells


def operating_results(operating: pl.DataFrame) -> list[OperatingPoint]:
    """The operating points of a trial, in the order of `operating.csv`."""
    points = operating.group_by("point", "threshold", maintain_order=True)
    return [
        OperatingPoint(
            point=point,
            threshold=threshold if math.isfinite(threshold) else None,
            measures={
                row["measure"]: Number(
                    value=row["value"], low=row["low"], high=row["high"], n=row["n_images"], method="patients"
                )
                for row in rows.to_dicts()
            },
        )
        for (point, threshold), rows in points
    ]


def patient_results(levels: pl.DataFrame) -> list[PatientLevel]:
    """The levels of patients of a trial, in the order of `patients.csv`; its images are the trial's own measures."""
    found = []
    for row in levels.filter(pl.col("level") != IMAGE).to_dicts():
        counts = {"n_images": row["n"], "n_positive": row["n_positive"], "n_called": row["n_called"]}
        found.append(
            PatientLevel(
                **{name: row[name] for name in PatientLevel.model_fields if name != "measures"},
                measures={
                    name: Number(
                        value=row[name],
                        low=row[f"{name}_low"],
                        high=row[f"{name}_high"],
                        n=MEASURES[name].images(counts),
                        method="patients",
                    )
                    for name in MEASURED
                },
            )
        )
    return found


def patient_comparison_results(leaderboard: Leaderboard) -> list[PatientComparison]:
    """Differences at the levels of patients, in the order of `patient_pairs.csv`."""
    rows = []
    for row in leaderboard.patient_pairs.to_dicts():
        a, b = (tuple(row[f"{name}_{side}"] for name in TRIAL) for side in "ab")
        bounds = {name: row[name] for name in ("low", "high", "p_value")}
        difference = Number(value=row["difference"], **bounds, n=row["n_patients"], method="paired")
        tests = {name: row[name] for name in ("p_holm", "p_equivalent", "p_equivalent_holm", "verdict")}
        rows.append(PatientComparison(level=row["level"], a=a, b=b, difference=difference, **tests))
    return rows


def ratio_results(ratios: pl.DataFrame) -> list[RatioResult]:
    """The ratios of a trial, in the order of `ratios.csv`."""
    return [
        RatioResult(
            **{name: row[name] for name in ("region", "against", "scaling", "average", "images", "n_patients")},
            ratio=Number(value=row["ratio"], low=row["low"], high=row["high"], n=row["n_images"], method="patients"),
        )
        for row in ratios.to_dicts()
    ]


def _images(leaderboard: Leaderboard) -> dict[TrialKey, dict[str, int]]:
    """Number of images of each of `MEASURES` for each trial; every ratio has its own number, as in `ratios.csv`."""
    images: dict[TrialKey, dict[str, int]] = {
        (row["backbone"], row["strategy"], row["seed"]): {name: each.images(row) for name, each in MEASURES.items()}
        for row in leaderboard.trials.filter(status=OK).to_dicts()
    }
    own = leaderboard.ratios.filter(average="images", images="all")
    for row in own.filter(pl.col("scaling") == pl.col("scaling").first()).to_dicts():
        name = f"{row['region']}_ratio{'_fov' if row['against'] == 'non_vessel_fov' else ''}"
        images[row["backbone"], row["strategy"], row["seed"]][name] = row["n_images"]
    return images


def _measures(row: dict[str, Any], images: dict[str, int]) -> dict[str, Number]:
    def number(name: str, n: int, method: str, prefix: str = "") -> Number:
        bounds = prefix or name
        return Number(value=row[name], low=row[f"{bounds}_low"], high=row[f"{bounds}_high"], n=n, method=method)

    n = row["n_images"]
    found = {"rank": number("rank", n, "ranks")}
    found |= {name: number(name, images[name], "patients") for name in MEASURES}
    found["auc_delong"] = number("auc", n, "delong", "auc_delong")
    if row["auc_corrected"] is not None:
        found["auc_corrected"] = Number(value=row["auc_corrected"], n=n, method="selection")
    for name in TESTED_RATIOS:
        found[f"{name}_skewness"] = Number(value=row[f"{name}_skewness"], n=images[name])
    for control in CONTROLS.values():
        found |= _control_numbers(control, row, images)
    return found


def _control_numbers(control: Control, row: dict[str, Any], images: dict[str, int]) -> dict[str, Number]:
    """The numbers of a control, if it has an answer."""
    found: dict[str, Number] = {}
    for each in control.numbers:
        has_interval, counted = each.scale is not None, each.images in control.counts
        # An estimate with a count of images is reported even if their labels allow no value.
        if row[each.images if has_interval and counted else each.name] is None:
            continue
        found[each.name] = Number(
            value=row[each.name],
            low=row[f"{each.name}_low"] if has_interval else None,
            high=row[f"{each.name}_high"] if has_interval else None,
            p_value=row[f"{each.name}_p"] if each.has_p else None,
            n=row[each.images] if counted else images[each.images],
            method=each.method,
        )
    return found


def comparison_results(leaderboard: Leaderboard) -> list[Comparison]:
    rows = []
    for row in leaderboard.comparisons.to_dicts():
        a, b = (tuple(row[f"{name}_{side}"] for name in TRIAL) for side in "ab")
        difference = Number(
            **{name: row[name] for name in ("low", "high", "p_value")},
            value=row["difference"],
            n=row["n_images"],
            method="paired",
        )
        tests = {name: row[name] for name in ("p_holm", "p_equivalent", "p_equivalent_holm", "verdict")}
        rows.append(Comparison(measure=row["measure"], a=a, b=b, difference=difference, **tests))
    return rows


def correlation_results(leaderboard: Leaderboard) -> list[Correlation]:
    return [
        Correlation(
            **{name: row[name] for name in ("performance", "explainability", "coefficient", "n_predicting")},
            estimate=Number(
                value=row["estimate"],
                low=row["patients_low"],
                high=row["patients_high"],
                p_value=row["p_value"],
                n=row["n_cells"],
                method="correlation",
            ),
            over_cells=Number(
                value=row["corrected"], low=row["low"], high=row["high"], n=row["n_cells"], method="over_cells"
            ),
            not_known=row["not_known"],
        )
        for row in leaderboard.correlation.to_dicts()
    ]


def seed_results(leaderboard: Leaderboard) -> list[OverSeeds]:
    return [
        OverSeeds(
            **{name: row[name] for name in ("backbone", "strategy", "measure", "n_seeds", "sd")},
            mean=Number(value=row["mean"], low=row["low"], high=row["high"], n=row["n_seeds"], method="seeds"),
        )
        for row in leaderboard.seeds.to_dicts()
    ]


def average_results(leaderboard: Leaderboard) -> list[Average]:
    copied = ("family", "backbone", "strategy", "measure", "group", "n_cells", "missing", "holds_for")
    return [
        Average(
            **{name: row[name] for name in copied},
            mean=Number(value=row["mean"], low=row["low"], high=row["high"], n=row["n_trainings"], method="averages"),
        )
        for row in leaderboard.averages.to_dicts()
    ]


def contrast_results(leaderboard: Leaderboard) -> list[Contrast]:
    copied = ("family", "measure", "p_holm", "error_patients", "error_trainings", "n_cells", "holds_for")
    rows = []
    for row in leaderboard.contrasts.to_dicts():
        a, b = ((row[f"backbone_{side}"], row[f"strategy_{side}"]) for side in "ab")
        bounds = {name: row[name] for name in ("low", "high", "p_value")}
        difference = Number(value=row["difference"], **bounds, n=row["n_trainings"], method="averages")
        rows.append(Contrast(**{name: row[name] for name in copied}, a=a, b=b, difference=difference))
    return rows


def repeatability_results(leaderboard: Leaderboard) -> list[Repeatability]:
    return [
        Repeatability(
            **{name: row[name] for name in ("measure", "sd_cells", "sd_trainings", "n_trainings")},
            icc=Number(value=row["icc"], low=row["low"], high=row["high"], n=row["n_cells"], method="repeatability"),
        )
        for row in leaderboard.repeatability.to_dicts()
    ]


def planted_results(planted: Planted) -> PlantedResult:
    return PlantedResult(
        signal=planted.cohort.signal,
        effect=planted.cohort.effect,
        best_auc=planted.cohort.best_auc,
        trials=[
            PlantedTrial(
                **{name: row[name] for name in (*TRIAL, "predicts")},
                verdicts={each.name: row[f"{each.name}_verdict"] for each in INDICATORS},
                outcomes={each.name: row[f"{each.name}_outcome"] for each in INDICATORS},
            )
            for row in planted.trials.to_dicts()
        ],
    )


def read_results(path: Path) -> Results:
    """The `results.json` of a run, read from the file or from its run directory.

    Raises:
        UserError: the file is missing, is not JSON, or has another schema or version; one line with the file and the
            key.
    """
    file = RunDirectory(path).results if path.is_dir() else path
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{file}: cannot be read ({error.strerror}); name a finished run or its results.json"
        raise UserError(message) from error
    except ValueError as error:
        raise UserError(f"{file}: not JSON: {error}") from error
    found = (values.get("schema_name"), values.get("version")) if isinstance(values, dict) else None
    if found != (SCHEMA_NAME, VERSION):
        raise UserError(
            f"{file}: expected {SCHEMA_NAME} version {VERSION}, found {found}; make that report again with --resume"
        )
    try:
        return Results.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
