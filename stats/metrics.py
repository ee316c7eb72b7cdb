"""How well scores and predictions agree with yes/no labels.

One convention everywhere: a score is called positive when `score >= threshold`. A quotient with nothing in its
denominator is NaN, never 0.
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
    """Area under the ROC curve: the chance that a random positive scores above a random negative, ties counting 1/2.

    labels (n,) of 0/1, scores (n,) on any scale. NaN when only one class is present. Computed from the mid-ranks of
    the positives (Hanley & McNeil 1982, the Mann-Whitney form), O(n log n).

    Raises ValueError for other labels, NaN scores, or different lengths.
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
    """Mean PPV over the positives, each at the threshold that just calls it: the area under precision-recall steps.

    labels (n,) of 0/1, scores (n,) below infinity. In (0, 1]; a random order gives about the prevalence. NaN without a
    positive. Equal scores are called together, and nothing is interpolated between thresholds, which would flatter
    (Davis & Goadrich 2006). O(n log n).

    Raises ValueError for other labels, NaN or +inf scores, or different lengths.
    """
    _, table = confusion_by_threshold(labels, scores)
    return float(np.sum(np.diff(table.sensitivity) * table.ppv[1:]))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the ROC curve: (1 - specificity, sensitivity), each (k,) float64, from (0, 0) up to (1, 1).

    labels (n,) of 0/1, scores (n,) below infinity. Joined by straight lines, whose area is `auc`; points on a line
    between their neighbours are left out. An axis whose class is missing is NaN.

    Raises ValueError for other labels, NaN or +inf scores, or different lengths.
    """
    _, table = confusion_by_threshold(labels, scores)
    right, up = np.diff(table.fp), np.diff(table.tp)
    turns = right[:-1] * up[1:] != right[1:] * up[:-1]  # of whole numbers, hence exact
    corner = np.concatenate([[True], turns, [True]])
    return 1 - table.specificity[corner], table.sensitivity[corner]


@dataclass(frozen=True)
class Confusion(Generic[Number]):
    """The two-by-two table of labels against predictions, and the measures read from it (each in [0, 1] or NaN).

    The counts are numbers, or arrays of one shape for many tables at once; the measures are then arrays as well.
    """

    tn: Number
    fp: Number
    fn: Number
    tp: Number

    @property
    def sensitivity(self) -> Number:
        return _quotient(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Number:
        return _quotient(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> Number:
        """Positive predictive value (precision), at the prevalence of these labels."""
        return _quotient(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> Number:
        """Negative predictive value, at the prevalence of these labels."""
        return _quotient(self.tn, self.tn + self.fn)

    @property
    def balanced_accuracy(self) -> Number:
        return (self.sensitivity + self.specificity) / 2

    @property
    def f1(self) -> Number:
        """Harmonic mean of sensitivity and PPV, `2 tp / (2 tp + fp + fn)`: defined also where PPV is not."""
        return _quotient(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion(labels: ArrayLike, predicted: ArrayLike) -> Confusion[float]:
    """Counts labels (n,) of 0/1 against predicted (n,) of 0/1 (`scores >= threshold`).

    Raises ValueError for other values or different lengths.
    """
    positive, called = as_binary("labels", labels), as_binary("predicted", predicted)
    require_same_length(labels=positive, predicted=called)
    tn, fp, fn, tp = np.bincount(2 * positive + called, minlength=4).tolist()
    return Confusion(tn=tn, fp=fp, fn=fn, tp=tp)


def confusion_by_threshold(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, Confusion[np.ndarray]]:
    """All thresholds that tell the scores apart, and the table of `score >= threshold` at each.

    labels (n,) of 0/1, scores (n,) below infinity. The thresholds (k + 1,) float64 descend: infinity, which calls
    nothing positive, then each of the k different scores. The counts (k + 1,) are whole numbers.

    Raises ValueError for other labels, NaN or +inf scores, or different lengths.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores)
    if np.isposinf(scores).any():
        raise ValueError("a score is infinite, which every threshold calls positive; give scores below infinity")
    descending, level = np.unique(-scores, return_inverse=True)
    tp, fp = (
        np.append(0, np.cumsum(np.bincount(level[of_class], minlength=len(descending))))
        for of_class in (positive, ~positive)
    )
    return np.append(np.inf, -descending), Confusion(tn=fp[-1] - fp, fp=fp, fn=tp[-1] - tp, tp=tp)


def f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of the positive class, in [0, 1]; NaN when nothing is positive and nothing was called positive.

    labels (n,) and predicted (n,) of 0/1. Raises ValueError for other values or different lengths.
    """
    return confusion(labels, predicted).f1


def _quotient(part: Number, whole: Number) -> Number:
    if isinstance(whole, np.ndarray):
        return divide_or_nan(part, whole)
    return part / whole if whole else math.nan
