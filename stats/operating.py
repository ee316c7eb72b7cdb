"""Operating points: the choice of a threshold on validation data.

Do not use these functions on test data: measures are too optimistic if the threshold was chosen on the same data.
Thresholds between two neighbouring scores give the same calls; the functions return the higher score.
"""

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, require_same_length
from stats.metrics import Confusion, confusion_by_threshold
from stats.resamples import PatientResamples


def best_f1_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The threshold with the highest F1 (Lipton et al. 2014).

    Among thresholds with equal F1, it is the highest, which calls the fewest images positive.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) below infinity.

    Raises:
        ValueError: labels are not 0/1, a score is NaN or +inf, lengths differ, or no label is positive.
    """
    thresholds, table = confusion_by_threshold(labels, scores)
    if not table.tp[-1]:
        raise ValueError("no label is positive, so no threshold has the best F1; choose it on data with both classes")
    return float(thresholds[np.argmax(table.f1)])  # argmax returns the first of equals


def threshold_at_sensitivity(labels: ArrayLike, scores: ArrayLike, target: float) -> float:
    """The threshold with the highest specificity among those whose sensitivity is at least `target`.

    Among thresholds with equal specificity, it is the one with the highest sensitivity: the upper end of a vertical
    segment of the ROC curve.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) below infinity.
        target: the lowest acceptable sensitivity, in (0, 1].

    Raises:
        ValueError: labels are not 0/1, a class is missing, a score is NaN or +inf, lengths differ, or the target is
            outside (0, 1].
    """
    thresholds, table = _table_of_both_classes(labels, scores, target)
    return _last(thresholds, table.sensitivity >= target, table.specificity, table.sensitivity)


def threshold_at_specificity(labels: ArrayLike, scores: ArrayLike, target: float) -> float:
    """The threshold with the highest sensitivity among those whose specificity is at least `target`.

    Among thresholds with equal sensitivity, it is the one with the highest specificity.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) below infinity.
        target: the lowest acceptable specificity, in (0, 1].

    Returns:
        The threshold. It is infinity, which calls no image positive, if every lower threshold has a sensitivity of 0 or
        too low a specificity.

    Raises:
        ValueError: labels are not 0/1, a class is missing, a score is NaN or +inf, lengths differ, or the target is
            outside (0, 1].
    """
    thresholds, table = _table_of_both_classes(labels, scores, target)
    return _last(thresholds, table.specificity >= target, table.sensitivity, table.specificity)


def confusion_resampled(labels: ArrayLike, predicted: ArrayLike, resamples: PatientResamples) -> Confusion[np.ndarray]:
    """The two-by-two table of labels and predictions in each resample.

    Args:
        labels: (n,) of 0/1.
        predicted: (n,) of 0/1.
        resamples: the resamples of the patients.

    Returns:
        The tables, with counts and measures (resamples,) float64, NaN as in `stats.metrics.confusion`.

    Raises:
        ValueError: a value is neither 0 nor 1, or lengths differ.
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
        raise ValueError("labels have only one class; choose the threshold on data with both classes")
    return thresholds, table


def _last(thresholds: np.ndarray, allowed: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """The allowed threshold with the highest `first`, and among equals the highest `second`."""
    order = np.lexsort((second, first))
    return float(thresholds[order[allowed[order]][-1]])
