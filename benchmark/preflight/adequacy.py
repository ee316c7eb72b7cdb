"""Estimate how precise results on a test set can be before anything is trained, for `doctor` and `--dry-run`."""

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

AUCS = (0.75, 0.85)  # assumed, because no AUC is known yet
WIDTHS = (0.10, 0.05)  # interval widths that a study may aim at
CALIBRATION_WIDTH = 0.2  # interval width of slope and observed / expected at which Riley et al. (2021) aim
WIDE = 0.2  # an AUC interval wider than this is hardly informative


@dataclass(frozen=True)
class Adequacy:
    """The precision that a test set allows; a patient with any positive image counts as positive.

    Attributes:
        wide: whether the interval of an AUC of the lower of `AUCS` is wider than `WIDE`.
        discrimination: how wide the interval of an AUC would be, and how many patients narrower intervals need.
        calibration: the same for calibration.
    """

    wide: bool
    discrimination: str
    calibration: str


def adequacy(images: pl.DataFrame, confidence: float) -> Adequacy | None:
    """Estimate the precision for test images with the columns patient_id and label; None if a class has no patient."""
    by_patient = images.group_by("patient_id").agg(pl.col("label").max())["label"]
    patients, positives = len(by_patient), int(by_patient.sum())
    negatives = patients - positives
    if not positives or not negatives:
        return None
    prevalence, share = positives / patients, f"{100 * confidence:g} %"
    widths = [auc_width(auc, positives, negatives, confidence) for auc in AUCS]
    needed = [
        f"width of {width:.2f} needs about "
        + " or ".join(f"{patients_for_auc_width(auc, prevalence, width, confidence):,}" for auc in AUCS)
        + " patients"
        for width in WIDTHS
    ]
    several = " (all images of a patient count as one)" if len(images) > patients else ""
    discrimination = (
        f"{patients} test patients, {positives} positive{several}: the {share} interval of an AUC of {AUCS[0]:.2f} or "
        f"{AUCS[1]:.2f} would be about {widths[0]:.2f} or {widths[1]:.2f} wide. With this share of positives, a "
        f"{', and a '.join(needed)} (Hanley & McNeil 1982)."
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
        f"For a calibrated model with an AUC of {auc:.2f}, the calibration slope would be known to "
        f"± {slope_margin:.2f}, the intercept to ± {intercept_margin:.2f}, and observed / expected positives to a "
        f"factor of {factor:.2f}. An interval of width {CALIBRATION_WIDTH:.1f} needs about {slope:,} patients for the "
        f"slope and {observed:,} for observed / expected (Riley et al. 2021)."
    )
