"""The measures of a trial: each is one function of its test images and of resamples of patients.

The same function gives the estimate (every patient drawn once), its spread (one patient left out at a time) and its
bootstrap distribution (resamples), so that they cannot be inconsistent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl

from benchmark.study.config import Statistics
from stats.bootstrap import auc_resampled, average_precision_resampled, mean_resampled
from stats.calibration import calibration_resampled, expected_calibration_error_resampled
from stats.intervals import (
    UNDEFINED,
    Interval,
    Scale,
    bca_interval,
    bootstrap_p_value,
    interval_at_end,
    percentile_interval,
    student_interval,
    student_p_value,
)
from stats.jackknife import LeftOut, Spread, leave_out_patients, spread
from stats.metrics import Confusion
from stats.moderated import auc_variance, average_precision_variance, moderated
from stats.operating import confusion_resampled
from stats.resamples import PatientResamples
from stats.risk import SCORE, Risk
from stats.shares import effective_patients, of_sum
from stats.within import ratio_and_correctness
from xai.saliency import OUTSIDE, RATIOS

CHANCE = 0.5  # AUC of random guesses
Resampled = dict[str, np.ndarray]  # measure -> (resamples,) float64, NaN where undefined
# discrimination: without a threshold; call: at one threshold; risk: of probabilities; ratio: vessel ratios; map: of the
# whole map; within: association of the vessel ratio with correct calls and with scores, within a trial.
Group = Literal["discrimination", "call", "risk", "ratio", "map", "within"]
CountsImages = Callable[[Mapping[str, Any]], int]


def _of(*columns: str) -> CountsImages:
    """The sum of some columns of the leaderboard; an empty value counts as 0."""
    return lambda row: sum(row[column] or 0 for column in columns)


_ALL = _of("n_images")


@dataclass(frozen=True)
class Measure:
    """One column of the leaderboard, with its interval.

    scale: the scale of Student's interval, None if the measure has no interval; images: from a row of the leaderboard
    to the number of images on which the measure is computed.
    """

    name: str
    group: Group
    scale: Scale | None
    images: CountsImages = _ALL


# In the order of the leaderboard's columns.
MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("auc", "discrimination", "logit"),
        Measure("average_precision", "discrimination", "logit"),
        Measure("f1", "call", "logit"),
        Measure("sensitivity", "call", "logit", _of("n_positive")),
        Measure("specificity", "call", "logit", lambda row: row["n_images"] - row["n_positive"]),
        Measure("ppv", "call", "logit", _of("n_called")),
        Measure("npv", "call", "logit", lambda row: row["n_images"] - row["n_called"]),
        Measure("balanced_accuracy", "call", "logit"),
        Measure("brier", "risk", "logit"),
        Measure("calibration_intercept", "risk", "identity"),
        Measure("calibration_slope", "risk", "identity"),
        # No interval: resampling adds random deviations to those of the data, so all resamples lie above the estimate.
        Measure("ece", "risk", None),
        *(Measure(name, "ratio", "log", _of("n_ratio")) for name in RATIOS),
        Measure(OUTSIDE, "map", "logit", _of("n_map")),
        # The first two are means over the labels, in which an association with the score cancels out.
        Measure("right_by_ratio", "within", "logit", _of("n_right", "n_wrong")),
        Measure("right_by_ratio_rho", "within", "atanh", _of("n_ratio")),
        Measure("right_by_ratio_positive", "within", "logit", _of("n_right_positive", "n_wrong_positive")),
        Measure("right_by_ratio_negative", "within", "logit", _of("n_right_negative", "n_wrong_negative")),
        Measure("ratio_score_rho", "within", "atanh", _of("n_ratio")),
    )
}


def names_of(*groups: Group) -> tuple[str, ...]:
    """The measures of these groups, in the order of the columns."""
    return tuple(name for name, measure in MEASURES.items() if measure.group in groups)


def bounded(names: Iterable[str]) -> dict[str, type[pl.DataType]]:
    """Columns of measures with the bounds of their intervals."""
    return {column: pl.Float64 for name in names for column in (name, f"{name}_low", f"{name}_high")}


CALLS = names_of("call")
# Measures that ranks and correlations over cells need from every resample, whatever method makes the intervals.
RESAMPLED = ("auc", "f1", *names_of("ratio"))
SCALES: dict[str, Scale] = {name: each.scale for name, each in MEASURES.items() if each.scale is not None}


@dataclass(frozen=True, eq=False)
class Tested:
    """One trial on the test images, all arrays in the order of the resampled images.

    labels (n,): 0 or 1; scores (n,): the model's output, by which images are ranked and called; threshold:
    `score >= threshold` is called positive, chosen on validation images; ratios: each of `xai.saliency.RATIOS` (n,);
    outside (n,): share of the map outside the field of view; ratios and outside are NaN for images without a value;
    risk: converts scores to probabilities.
    """

    labels: np.ndarray
    scores: np.ndarray
    threshold: float
    ratios: Mapping[str, np.ndarray]
    outside: np.ndarray
    risk: Risk = SCORE

    @property
    def risks(self) -> np.ndarray:
        """(n,): the probability of a positive label that corresponds to each score."""
        return self.risk.of(self.scores)

    def behind(self, threshold: float) -> dict[str, np.ndarray]:
        """The images in the denominator, (n,) bool, for each of `CALLS` that is a share of only some images."""
        positive, called = self.labels == 1, self.scores >= threshold
        return {"sensitivity": positive, "specificity": ~positive, "ppv": called, "npv": ~called}


def measured(tested: Tested, resamples: PatientResamples) -> Resampled:
    """The value of each of `MEASURES` in every resample."""
    labels, scores = tested.labels, tested.scores
    positive, negative, within = ratio_and_correctness(
        labels, scores, tested.threshold, tested.ratios["vessel_ratio"], resamples
    )
    return {
        "auc": auc_resampled(labels, scores, resamples),
        "average_precision": average_precision_resampled(labels, scores, resamples),
        **calls(tested, tested.threshold, resamples),
        **measured_risks(labels, tested.risks, resamples),
        **{name: mean_resampled(tested.ratios[name], resamples) for name in RATIOS},
        OUTSIDE: mean_resampled(tested.outside, resamples),
        "right_by_ratio": within.auc_resampled,
        "right_by_ratio_rho": within.rho_resampled,
        "right_by_ratio_positive": positive.auc_resampled,
        "right_by_ratio_negative": negative.auc_resampled,
        "ratio_score_rho": within.score_rho_resampled,
    }


def measured_risks(labels: np.ndarray, risks: np.ndarray, resamples: PatientResamples) -> Resampled:
    """The measures of the group `risk` in every resample."""
    calibration = calibration_resampled(labels, risks, resamples)
    return {
        "brier": mean_resampled((risks - labels) ** 2, resamples),
        "calibration_intercept": calibration.intercept,
        "calibration_slope": calibration.slope,
        "ece": expected_calibration_error_resampled(labels, risks, resamples),
    }


def calls(tested: Tested, threshold: float, resamples: PatientResamples) -> Resampled:
    """The value of each of `CALLS` at a threshold, in every resample."""
    table: Confusion[np.ndarray] = confusion_resampled(tested.labels, tested.scores >= threshold, resamples)
    return {name: getattr(table, name) for name in CALLS}


@dataclass(frozen=True, eq=False)
class Estimates:
    """Measures of one trial: their estimates, their variation over patients, and their intervals.

    values: measure -> estimate, NaN where undefined; left_out: measure -> its jackknife values, (groups,), without each
    of `groups` in turn; samples: measure -> (resamples,), for measures that were resampled; intervals: measure ->
    bounds; expected: measure -> the variance of such a statistic with this number of patients, for measures that are
    moderated by it.
    """

    values: dict[str, float]
    left_out: Resampled
    groups: LeftOut
    samples: Resampled
    intervals: dict[str, Interval]
    expected: dict[str, float] = field(default_factory=dict)

    def columns(self) -> dict[str, float]:
        """`X`, `X_low` and `X_high` of every measure."""
        found: dict[str, float] = {}
        for name, value in self.values.items():
            low, high = self.intervals[name]
            found |= {name: value, f"{name}_low": low, f"{name}_high": high}
        return found


def estimate_trial(tested: Tested, resamples: PatientResamples, settings: Statistics) -> Estimates:
    """Estimates of `MEASURES` for one trial, with samples of at least `RESAMPLED`."""
    found = estimate(
        partial(measured, tested), resamples, settings, SCALES, partial(expected_variances, tested, resamples)
    )
    found = _of_shares(found, tested, tested.threshold, resamples, settings)
    if found.samples:
        return found
    f1 = confusion_resampled(tested.labels, tested.scores >= tested.threshold, resamples).f1
    samples = {"auc": auc_resampled(tested.labels, tested.scores, resamples), "f1": f1}
    samples |= {name: mean_resampled(tested.ratios[name], resamples) for name in RATIOS}
    return replace(found, samples=samples)


def estimate_calls(tested: Tested, threshold: float, resamples: PatientResamples, settings: Statistics) -> Estimates:
    """Estimates of `CALLS` at a threshold."""
    found = estimate(partial(calls, tested, threshold), resamples, settings, SCALES)
    return _of_shares(found, tested, threshold, resamples, settings)


def expected_variances(tested: Tested, resamples: PatientResamples, values: Mapping[str, float]) -> dict[str, float]:
    """Expected variances of AUC and average precision; with few positive patients the jackknife's are too small."""
    expected = expected_of_auc(tested.labels, resamples, values)
    positive = resamples.patient_of_image[tested.labels == 1]
    return expected and expected | {
        "average_precision": average_precision_variance(values["average_precision"], effective_patients(positive))
    }


def expected_of_auc(labels: np.ndarray, resamples: PatientResamples, values: Mapping[str, float]) -> dict[str, float]:
    """The expected variance of an AUC, under its name; none if a class is missing."""
    positive = labels == 1
    if positive.all() or not positive.any():
        return {}
    positives, negatives = (effective_patients(resamples.patient_of_image[images]) for images in (positive, ~positive))
    return {"auc": auc_variance(values["auc"], positives, negatives)}


def _of_shares(
    found: Estimates, tested: Tested, threshold: float, resamples: PatientResamples, settings: Statistics
) -> Estimates:
    """Replace the intervals of shares of 0 or 1, where leaving out a patient changes nothing.

    Their interval depends only on the number of patients. The interval of balanced accuracy combines those of
    sensitivity and specificity, so that a share of 5 of 5 patients enters it with the uncertainty of five patients.
    """
    if settings.interval != "t":
        return found
    intervals = found.intervals | exact_shares(found, tested, threshold, resamples, settings)
    return replace(found, intervals=intervals | {"balanced_accuracy": _of_balanced_accuracy(found, intervals)})


def exact_shares(
    found: Estimates, tested: Tested, threshold: float, resamples: PatientResamples, settings: Statistics
) -> dict[str, Interval]:
    """The intervals of those of `CALLS` that are a share of 0 or 1, of the ones that `found` has; t intervals only."""
    return {
        name: interval_at_end(
            found.values[name], len(np.unique(resamples.patient_of_image[images])), settings.confidence
        )
        for name, images in tested.behind(threshold).items()
        if settings.interval == "t" and found.values.get(name) in (0, 1)
    }


def _of_balanced_accuracy(found: Estimates, intervals: Mapping[str, Interval]) -> Interval:
    names = ("sensitivity", "specificity")
    (a, of_a), (b, of_b) = ((found.values[name], intervals[name]) for name in names)
    errors = [_spread(found.values[name], found.left_out[name], found.groups).standard_error for name in names]
    both = _spread(a + b, found.left_out[names[0]] + found.left_out[names[1]], found.groups).standard_error
    # The correlation is not 0 if some patients have images of both classes.
    product = 2 * errors[0] * errors[1]
    correlation = float(np.clip((both**2 - errors[0] ** 2 - errors[1] ** 2) / product, -1, 1)) if product > 0 else 0.0
    low, high = of_sum(a, of_a, b, of_b, correlation)
    return float(low) / 2, float(high) / 2


def estimate(
    measure: Callable[[PatientResamples], Resampled],
    resamples: PatientResamples,
    settings: Statistics,
    scales: Mapping[str, Scale],
    expected: Callable[[Mapping[str, float]], dict[str, float]] = lambda _: {},
    most: int = 2000,
) -> Estimates:
    """The measures that a function of resamples computes: estimates on the data, and intervals over patients.

    scales: the scale of Student's interval, by measure; a measure without a scale has no interval. expected: from the
    estimates to the variances that moderate their spread, by measure. Resamples are drawn only for bootstrap intervals.
    most: of the groups of patients that are left out in turn (`stats.jackknife.leave_out_patients`).
    """
    everyone = np.ones((1, resamples.counts.shape[1]), dtype=resamples.counts.dtype)
    once = measure(PatientResamples(everyone, resamples.patient_of_image, resamples.strata))
    values = {name: float(value[0]) for name, value in once.items()}
    groups = leave_out_patients(resamples, most)
    left_out, samples = measure(groups.resamples), measure(resamples) if settings.interval != "t" else {}
    variances = expected(values)

    def interval(name: str) -> Interval:
        if name not in scales:
            return UNDEFINED
        variance = variances.get(name)
        return _interval(values[name], samples.get(name), left_out[name], groups, settings, scales[name], variance)

    return Estimates(values, left_out, groups, samples, {name: interval(name) for name in values}, variances)


@dataclass(frozen=True)
class Difference:
    """One trial's measure minus another's on the same `n_images`, its interval, and its two-sided p-value."""

    value: float
    interval: Interval
    p_value: float
    n_images: int


def difference(
    a: tuple[Tested, Estimates],
    b: tuple[Tested, Estimates],
    measure: str,
    resamples: PatientResamples,
    settings: Statistics,
) -> Difference:
    """Trial a minus trial b by one of `RESAMPLED`; for a ratio, over the images that have it in both."""
    (tested_a, of_a), (tested_b, of_b) = a, b
    n = len(tested_a.labels)
    value, left_out, samples = (
        of_a.values[measure] - of_b.values[measure],
        of_a.left_out[measure] - of_b.left_out[measure],
        of_a.samples[measure] - of_b.samples[measure],
    )
    if measure in RATIOS:
        per_image = tested_a.ratios[measure] - tested_b.ratios[measure]
        n = int(np.isfinite(per_image).sum())
        if (np.isnan(tested_a.ratios[measure]) != np.isnan(tested_b.ratios[measure])).any():
            scales: dict[str, Scale] = {measure: "identity"}
            both = estimate(lambda drawn: {measure: mean_resampled(per_image, drawn)}, resamples, settings, scales)
            value, left_out = both.values[measure], both.left_out[measure]
            samples = both.samples.get(measure, samples)
    interval = _interval(value, samples, left_out, of_a.groups, settings, "identity")
    return Difference(value, interval, _p_value(value, samples, left_out, of_a.groups, settings), n)


def spread_of(found: Estimates, measure: str) -> Spread:
    """The spread of a measure over patients that its interval has."""
    return _spread(found.values[measure], found.left_out[measure], found.groups, found.expected.get(measure))


def standard_error(found: Estimates, measure: str) -> float:
    """The standard error of a measure over patients, by the jackknife; NaN if it is undefined."""
    return _spread(found.values[measure], found.left_out[measure], found.groups).standard_error


def spread_over_patients(found: Estimates, measure: str) -> Spread:
    """The standard error of a measure over patients, by the jackknife, with its degrees of freedom."""
    return _spread(found.values[measure], found.left_out[measure], found.groups, found.expected.get(measure))


def p_above_chance(several: Sequence[Estimates], settings: Statistics) -> float:
    """Two-sided p-value of an AUC against `CHANCE`, by the same method as its interval; NaN if it is undefined.

    For several trials on the same patients, such as the seeds of a cell, it is that of their mean AUC.
    """
    value, samples, left_out, expected = _mean(several, "auc")
    return _p_value(value, samples, left_out, several[0].groups, settings, CHANCE, "logit", expected)


def p_of_drop(found: Estimates, name: str, settings: Statistics) -> float:
    """Two-sided p-value of a difference against 0, such as a drop of the AUC."""
    return _p_value(found.values[name], found.samples.get(name), found.left_out[name], found.groups, settings)


def interval_of_mean(several: Sequence[Estimates], measure: str, settings: Statistics) -> Interval:
    """The interval of the mean of a measure over trials on the same patients, such as the seeds of a cell."""
    value, samples, left_out, expected = _mean(several, measure)
    return _interval(value, samples, left_out, several[0].groups, settings, SCALES[measure], expected)


def _mean(several: Sequence[Estimates], measure: str) -> tuple[float, np.ndarray | None, np.ndarray, float | None]:
    """The mean's value, samples, jackknife values and expected variance."""
    value = float(np.mean([each.values[measure] for each in several]))
    left_out = np.mean([each.left_out[measure] for each in several], axis=0)
    sampled = [each.samples[measure] for each in several if measure in each.samples]
    # The variance of a mean is at most the mean of the variances, and equals it if the trials agree on every patient.
    expected = [each.expected[measure] for each in several if measure in each.expected]
    return (
        value,
        np.mean(sampled, axis=0) if sampled else None,
        left_out,
        float(np.mean(expected)) if expected else None,
    )


def _interval(
    value: float,
    samples: np.ndarray | None,
    left_out: np.ndarray,
    groups: LeftOut,
    settings: Statistics,
    scale: Scale,
    expected: float | None = None,
) -> Interval:
    if settings.interval == "t":
        return student_interval(value, _spread(value, left_out, groups, expected), settings.confidence, scale)
    assert samples is not None, "bootstrap intervals need resampled values"
    if settings.interval == "percentile":
        return percentile_interval(samples, settings.confidence)
    return bca_interval(value, samples, left_out, settings.confidence, strata=groups.strata)


def _p_value(
    value: float,
    samples: np.ndarray | None,
    left_out: np.ndarray,
    groups: LeftOut,
    settings: Statistics,
    null: float = 0,
    scale: Scale = "identity",
    expected: float | None = None,
) -> float:
    """p-value of a value against a null value: by Student's t, or from the bootstrap's standard error."""
    if settings.interval == "t":
        return student_p_value(value, _spread(value, left_out, groups, expected), null, scale)
    assert samples is not None, "bootstrap p-values need resampled values"
    return bootstrap_p_value(value, samples, null, scale)


def _spread(value: float, left_out: np.ndarray, groups: LeftOut, expected: float | None = None) -> Spread:
    """The spread over patients; moderated by the variance that is expected of such a statistic, if known."""
    of_patients = spread(value, left_out, groups.strata, groups.patients)
    return of_patients if expected is None else moderated(of_patients, expected)
