"""How precise the numbers of this test set can be, before anything is trained: for `doctor` and `--dry-run`."""

import math
from dataclasses import dataclass

import polars as pl
from scipy.stats import norm

from stats.checks import tail_of
from stats.sample_size import (
    auc_width,
    binormal_predictor,
    calibration_precision,
    patients_for_auc_width,
    patients_for_observed_expected_width,
    patients_for_slope_width,
)

AUCS = (0.75, 0.85)  # that are assumed, since none is known yet
WIDTHS = (0.10, 0.05)  # of an interval, that one may want
CALIBRATION_WIDTH = 0.2  # of the intervals of slope and observed / expected that Riley et al. (2021) aim at
WIDE = 0.2  # an interval of the AUC that tells little


@dataclass(frozen=True)
class Adequacy:
    """What a test set can show; a patient with any positive image is positive.

    Attributes:
        wide: the interval of an AUC of the lower of `AUCS` is wider than `WIDE`.
        discrimination: how wide intervals of an AUC are, and how many patients narrower ones need.
        calibration: the same for calibration.
    """

    wide: bool
    discrimination: str
    calibration: str


def adequacy(images: pl.DataFrame, confidence: float) -> Adequacy | None:
    """Of the test images, with columns patient_id and label; None where there is no patient of a class."""
    by_patient = images.group_by("patient_id").agg(pl.col("label").max())["label"]
    patients, positives = len(by_patient), int(by_patient.sum())
    negatives = patients - positives
    if not positives or not negatives:
        return None
    prevalence, share = positives / patients, f"{100 * confidence:g} %"
    widths = [auc_width(auc, positives, negatives, confidence) for auc in AUCS]
    needed = [
        f"{width:.2f} needs about "
        + " or ".join(f"{patients_for_auc_width(auc, prevalence, width, confidence):,}" for auc in AUCS)
        for width in WIDTHS
    ]
    several = " (several images of a patient are counted as one)" if len(images) > patients else ""
    discrimination = (
        f"{patients} test patients, {positives} positive{several}: the {share} interval of an AUC of {AUCS[0]:.2f} or "
        f"{AUCS[1]:.2f} would be about {widths[0]:.2f} or {widths[1]:.2f} wide. At this share of positives a width of "
        f"{'; of '.join(needed)} patients (Hanley & McNeil 1982)."
    )
    return Adequacy(
        widths[0] > WIDE,
        discrimination,
        _calibration(patients, prevalence, confidence),
    )


def _calibration(patients: int, prevalence: float, confidence: float) -> str:
    quantile = float(norm.isf(tail_of(confidence)))
    auc = AUCS[0]
    precision = calibration_precision(patients, *binormal_predictor(auc, prevalence))
    slope_margin, intercept_margin = quantile * precision.slope, quantile * precision.intercept
    factor = math.exp(quantile * precision.log_observed_expected)
    slope = patients_for_slope_width(auc, prevalence, CALIBRATION_WIDTH, confidence)
    observed = patients_for_observed_expected_width(prevalence, CALIBRATION_WIDTH, confidence)
    return (
        f"A calibrated model with an AUC of {auc:.2f} would have a calibration slope known to ± {slope_margin:.2f}, an "
        f"intercept to ± {intercept_margin:.2f}, and observed / expected positives to a factor of {factor:.2f}. A "
        f"width of {CALIBRATION_WIDTH:.1f} needs about {slope:,} patients for the slope, {observed:,} for observed / "
        "expected (Riley et al. 2021)."
    )
