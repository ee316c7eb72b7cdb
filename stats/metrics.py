"""Discrimination and classification measures for binary labels.

An image is called positive if `score >= threshold`. A quotient with a denominator of 0 is NaN, never 0.
"""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from stats.checks import as_binary, as_numbers, require_same_length
from stats.quotient import divide_or_nan

Number = TypeVar("Number", float, np.ndarray)


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a random positive scores higher than a random negative.

    Ties count 1/2. Computed in O(n log n) from the mid-ranks of the positives (the Mann-Whitney form, Hanley & McNeil
    1982).

    Args:
        labels: (n,) of 0/1.
        scores: (n,) on any scale.

    Returns:
        The AUC in [0, 1]; NaN if only one class is present.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, or lengths differ.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores)
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if n_pairs == 0:
        return math.nan
    rank_sum = rankdata(scores)[positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / n_pairs)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision: the area under the precision-recall curve as a step function.

    It is the mean PPV over the positives, each at the threshold of its own score. A random order gives about the
    prevalence. There is no interpolation between thresholds, which would give too high values (Davis & Goadrich 2006).
    Computed in O(n log n).

    Args:
        labels: (n,) of 0/1.
        scores: (n,) below infinity.

    Returns:
        The average precision in (0, 1]; NaN without a positive.

    Raises:
        ValueError: labels are not 0/1, a score is NaN or +inf, or lengths differ.
    """
    _, table = confusion_by_threshold(labels, scores)
    return float(np.sum(np.diff(table.sensitivity) * table.ppv[1:]))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the ROC curve, from (0, 0) to (1, 1). Joined by straight lines, they enclose the area `auc`.

    Points on the straight line between their neighbours are left out.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) below infinity.

    Returns:
        1 - specificity and sensitivity, each (k,) float64; NaN for the one whose class is missing.

    Raises:
        ValueError: labels are not 0/1, a score is NaN or +inf, or lengths differ.
    """
    _, table = confusion_by_threshold(labels, scores)
    right, up = np.diff(table.fp), np.diff(table.tp)
    turns = right[:-1] * up[1:] != right[1:] * up[:-1]  # whole numbers, hence exact
    corner = np.concatenate([[True], turns, [True]])
    return 1 - table.specificity[corner], table.sensitivity[corner]


@dataclass(frozen=True)
class Confusion(Generic[Number]):
    """The two-by-two table of labels and predictions, with its measures (each in [0, 1] or NaN).

    The counts are numbers, or arrays of the same shape for many tables; the measures are then arrays of this shape.

    Attributes:
        tn: number of true negatives.
        fp: number of false positives.
        fn: number of false negatives.
        tp: number of true positives.
    """

    tn: Number
    fp: Number
    fn: Number
    tp: Number

    @property
    def sensitivity(self) -> Number:
        """True positives as a share of the positives."""
        return _quotient(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Number:
        """True negatives as a share of the negatives."""
        return _quotient(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> Number:
        """Positive predictive value (precision) at the prevalence of these labels."""
        return _quotient(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> Number:
        """Negative predictive value at the prevalence of these labels."""
        return _quotient(self.tn, self.tn + self.fn)

    @property
    def balanced_accuracy(self) -> Number:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2

    @property
    def f1(self) -> Number:
        """F1, the harmonic mean of sensitivity and PPV: `2 tp / (2 tp + fp + fn)`, defined even if the PPV is not."""
        return _quotient(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion(labels: ArrayLike, predicted: ArrayLike) -> Confusion[float]:
    """The two-by-two table of labels and predictions.

    Args:
        labels: (n,) of 0/1.
        predicted: (n,) of 0/1 (`scores >= threshold`).

    Raises:
        ValueError: a value is neither 0 nor 1, or lengths differ.
    """
    positive, called = as_binary("labels", labels), as_binary("predicted", predicted)
    require_same_length(labels=positive, predicted=called)
    tn, fp, fn, tp = np.bincount(2 * positive + called, minlength=4).tolist()
    return Confusion(tn=tn, fp=fp, fn=fn, tp=tp)


def confusion_by_threshold(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, Confusion[np.ndarray]]:
    """All distinct thresholds, and the table of `score >= threshold` at each.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) below infinity.

    Returns:
        The thresholds (k + 1,) float64 in descending order: infinity, which calls no image positive, then each of the k
        different scores. The tables with counts (k + 1,) of whole numbers.

    Raises:
        ValueError: labels are not 0/1, a score is NaN or +inf, or lengths differ.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores)
    if np.isposinf(scores).any():
        raise ValueError("a score is infinite, and positive at every threshold; give scores below infinity")
    descending, level = np.unique(-scores, return_inverse=True)
    tp, fp = (
        np.append(0, np.cumsum(np.bincount(level[of_class], minlength=len(descending))))
        for of_class in (positive, ~positive)
    )
    return np.append(np.inf, -descending), Confusion(tn=fp[-1] - fp, fp=fp, fn=tp[-1] - tp, tp=tp)


def f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of the positive class.

    Args:
        labels: (n,) of 0/1.
        predicted: (n,) of 0/1.

    Returns:
        F1 in [0, 1]; NaN if no label and no prediction is positive.

    Raises:
        ValueError: a value is neither 0 nor 1, or lengths differ.
    """
    return confusion(labels, predicted).f1


def _quotient(part: Number, whole: Number) -> Number:
    if isinstance(whole, np.ndarray):
        return divide_or_nan(part, whole)
    return part / whole if whole else math.nan
