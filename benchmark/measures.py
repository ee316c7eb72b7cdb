"""What a cell is measured by: every measure is one function of its test images and of resamples of people.

The estimate is the measure where everyone is drawn once, its interval comes from the resamples, and the jackknife of a
BCa interval from leaving out one person at a time: all of it from the same function, so that no two can differ.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stats.bootstrap import auc_resampled, average_precision_resampled, mean_resampled
from stats.calibration import calibration_resampled, expected_calibration_error_resampled
from stats.intervals import UNDEFINED, Interval, bca_interval, percentile_interval
from stats.metrics import Confusion
from stats.operating import confusion_resampled
from stats.resamples import PeopleResamples, jackknife_people
from stats.within import ratio_and_correctness
from xai.saliency import RATIOS

IntervalMethod = Literal["percentile", "bca"]
# A resample adds its own chance distances to those of the data: all of them lie above the estimate.
WITHOUT_INTERVAL = ("ece",)
Resampled = dict[str, np.ndarray]  # measure -> (resamples,) float64, NaN where undefined

CALLS = ("f1", "sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")
PREDICTION = ("auc", "average_precision", *CALLS, "brier", "calibration_intercept", "calibration_slope", "ece")
MEASURES = (*PREDICTION, *RATIOS, "right_by_ratio", "right_by_ratio_rho")


@dataclass(frozen=True, eq=False)
class Tested:
    """One cell on the test images, all arrays in the order of the resampled images.

    labels (n,) of 0/1; scores (n,), the probability of a positive label; threshold: `score >= threshold` is called
    positive, chosen on validation; ratios: each of `xai.saliency.RATIOS` (n,), NaN where an image has none.
    """

    labels: np.ndarray
    scores: np.ndarray
    threshold: float
    ratios: Mapping[str, np.ndarray]


def measured(tested: Tested, resamples: PeopleResamples) -> Resampled:
    """Each of `MEASURES` in every resample."""
    labels, scores = tested.labels, tested.scores
    calibration = calibration_resampled(labels, scores, resamples)
    *_, association = ratio_and_correctness(labels, scores, tested.threshold, tested.ratios["vessel_ratio"], resamples)
    return {
        "auc": auc_resampled(labels, scores, resamples),
        "average_precision": average_precision_resampled(labels, scores, resamples),
        **calls(tested, tested.threshold, resamples),
        "brier": mean_resampled((scores - labels) ** 2, resamples),
        "calibration_intercept": calibration.intercept,
        "calibration_slope": calibration.slope,
        "ece": expected_calibration_error_resampled(labels, scores, resamples),
        **{name: mean_resampled(tested.ratios[name], resamples) for name in RATIOS},
        "right_by_ratio": association.auc_resampled,
        "right_by_ratio_rho": association.rho_resampled,
    }


def calls(tested: Tested, threshold: float, resamples: PeopleResamples) -> Resampled:
    """Each of `CALLS` at a threshold, in every resample."""
    table: Confusion[np.ndarray] = confusion_resampled(tested.labels, tested.scores >= threshold, resamples)
    return {name: getattr(table, name) for name in CALLS}


@dataclass(frozen=True, eq=False)
class Estimates:
    """Measures of one cell: what they are, how they vary over resamples, and their intervals.

    values: measure -> estimate, NaN where undefined; samples: measure -> (resamples,); intervals: measure -> bounds.
    """

    values: dict[str, float]
    samples: Resampled
    intervals: dict[str, Interval]

    def columns(self) -> dict[str, float]:
        """`X`, `X_low` and `X_high` of every measure."""
        found: dict[str, float] = {}
        for name, value in self.values.items():
            low, high = self.intervals[name]
            found |= {name: value, f"{name}_low": low, f"{name}_high": high}
        return found


def estimate(
    measure: Callable[[PeopleResamples], Resampled],
    resamples: PeopleResamples,
    method: IntervalMethod,
    confidence: float,
) -> Estimates:
    """The measures of a function of resamples, on the data itself and with intervals over people."""
    everyone = np.ones((1, resamples.counts.shape[1]), dtype=resamples.counts.dtype)
    once = measure(PeopleResamples(everyone, resamples.person_of_image, resamples.strata))
    values, samples = {name: float(value[0]) for name, value in once.items()}, measure(resamples)
    without = measure(jackknife_people(resamples)) if method == "bca" else {}

    def interval(name: str) -> Interval:
        if name in WITHOUT_INTERVAL:
            return UNDEFINED
        if method == "percentile":
            return percentile_interval(samples[name], confidence)
        return bca_interval(values[name], samples[name], without[name], confidence, strata=resamples.strata)

    return Estimates(values, samples, {name: interval(name) for name in values})
