"""The points of each trial's ROC, calibration and decision curves, in one long table."""

from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.measures import Tested
from stats.calibration import calibration_bands, calibration_bins
from stats.decision import decision_bands, decision_curve
from stats.metrics import roc_curve

TREAT_ALL = "treat all"  # in the column `backbone`
THRESHOLDS = np.arange(1, 100) / 100
_IMAGES_A_BIN = 40  # of a calibration curve: with fewer, the intervals are too wide to interpret
_FEWEST_BINS, _MOST_BINS = 3, 10
SCHEMA: dict[str, type[pl.DataType]] = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "curve": pl.String,
    "x": pl.Float64,
    "y": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}


def curve_rows(tested: Tested, patients: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    """Rows of `SCHEMA` without the columns that name the trial: ROC, calibration, decision, decision_difference.

    `x` and `y` are 1 - specificity and sensitivity; a bin's mean risk and share of positives, over `n` images;
    threshold risk and net benefit; threshold risk and net benefit minus that of treating everyone. `low` and `high` are
    a pointwise interval over patients. A bin of the calibration curve has about 40 images; it has more if there would
    be more than 10 bins, and fewer if there would be fewer than 3. The ECE has separate bins.

    Args:
        patients: (n,), the patient of each image, by any id.
    """
    labels, risks = tested.labels, tested.risks
    rows = [{"curve": "roc", "x": x, "y": y} for x, y in zip(*roc_curve(labels, tested.scores), strict=True)]

    bins = calibration_bins(labels, risks, min(max(len(labels) // _IMAGES_A_BIN, _FEWEST_BINS), _MOST_BINS))
    band = calibration_bands(bins, patients, confidence)
    rows += [
        {"curve": "calibration", "x": x, "y": y, "low": low, "high": high, "n": int(n)}
        for x, y, low, high, n in zip(bins.mean_predicted, bins.observed, *band, bins.n, strict=True)
    ]

    benefit = decision_curve(labels, risks, THRESHOLDS)
    bands = decision_bands(labels, risks, THRESHOLDS, patients, confidence)
    for curve, values, band in (
        ("decision", benefit.model, bands.model),
        ("decision_difference", benefit.model - benefit.treat_all, bands.difference),
    ):
        rows += [
            {"curve": curve, "x": x, "y": y, "low": low, "high": high, "n": len(labels)}
            for x, y, low, high in zip(THRESHOLDS, values, *band, strict=True)
        ]
    return rows


def treat_all_rows(labels: np.ndarray) -> list[dict[str, Any]]:
    """The net benefit of treating everyone, which does not depend on a model; that of treating no one is 0."""
    benefit = decision_curve(labels, np.ones(len(labels)), THRESHOLDS).treat_all
    return [
        {"backbone": TREAT_ALL, "strategy": "", "seed": 0, "curve": "decision", "x": x, "y": y, "n": len(labels)}
        for x, y in zip(THRESHOLDS, benefit, strict=True)
    ]
