"""Operating points: a threshold chosen on validation data, and what calling `score >= threshold` gives elsewhere.

A threshold chosen on the data that it is judged on flatters, so none of these belongs on test data. Two thresholds
that call the same validation images are the same choice; the observed score stands for both.
"""

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, require_same_length
from stats.metrics import Confusion, confusion_by_threshold
from stats.resamples import PatientsResamples


def best_f1_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The threshold with the highest F1; of several the highest, the one that calls the fewest images positive.

    labels (n,) of 0/1, scores (n,) below infinity. Lipton et al. 2014.

    Raises ValueError for other labels, NaN or +inf scores, different lengths, or no positive label.
    """
    thresholds, table = confusion_by_threshold(labels, scores)
    if not table.tp[-1]:
        raise ValueError("no positive label, so no threshold has a best F1; choose it on data with both classes")
    return float(thresholds[np.argmax(table.f1)])  # argmax takes the first of equals


def threshold_at_sensitivity(labels: ArrayLike, scores: ArrayLike, target: float) -> float:
    """The threshold with the highest specificity among those whose sensitivity is at least `target`.

    labels (n,) of 0/1, scores (n,) below infinity, target in (0, 1]. Of several with that specificity, the one with the
    highest sensitivity: on a vertical stretch of the ROC curve, its upper end.

    Raises ValueError for other labels, NaN or +inf scores, different lengths, a missing class, or another target.
    """
    thresholds, table = _table_of_both_classes(labels, scores, target)
    return _last(thresholds, table.sensitivity >= target, table.specificity, table.sensitivity)


def threshold_at_specificity(labels: ArrayLike, scores: ArrayLike, target: float) -> float:
    """The threshold with the highest sensitivity among those whose specificity is at least `target`.

    labels (n,) of 0/1, scores (n,) below infinity, target in (0, 1]. Of several with that sensitivity, the one with the
    highest specificity. Infinity, which calls nothing positive, where every lower one has a sensitivity of 0 or too low
    a specificity.

    Raises ValueError for other labels, NaN or +inf scores, different lengths, a missing class, or another target.
    """
    thresholds, table = _table_of_both_classes(labels, scores, target)
    return _last(thresholds, table.specificity >= target, table.sensitivity, table.specificity)


def confusion_resampled(labels: ArrayLike, predicted: ArrayLike, resamples: PatientsResamples) -> Confusion[np.ndarray]:
    """`confusion` in each resample: counts and measures are (resamples,) float64, NaN as in `confusion`.

    labels (n,) and predicted (n,) of 0/1. Raises ValueError for other values, or lengths that differ from the resampled
    images.
    """
    positive, called = as_binary("labels", labels), as_binary("predicted", predicted)
    require_same_length(labels=positive, predicted=called, resampled_images=resamples.patient_of_image)
    cells = np.stack([~positive & ~called, ~positive & called, positive & ~called, positive & called], axis=1)
    tn, fp, fn, tp = resamples.totals(cells).T
    return Confusion(tn=tn, fp=fp, fn=fn, tp=tp)


def _table_of_both_classes(
    labels: ArrayLike, scores: ArrayLike, target: float
) -> tuple[np.ndarray, Confusion[np.ndarray]]:
    if not 0 < target <= 1:
        raise ValueError(f"target must be a share above 0 and at most 1, got {target}")
    thresholds, table = confusion_by_threshold(labels, scores)
    if not (table.tp[-1] and table.fp[-1]):
        raise ValueError("labels hold one class only; choose the threshold on data with both")
    return thresholds, table


def _last(thresholds: np.ndarray, allowed: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Of the allowed thresholds the one with the highest `first`, then `second`; no two thresholds share both."""
    order = np.lexsort((second, first))
    return float(thresholds[order[allowed[order]][-1]])
