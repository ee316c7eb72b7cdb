"""How well scores and predictions agree with yes/no labels.

One convention everywhere: a score is called positive when `score >= threshold`. A quotient with nothing in its
denominator is NaN, never 0.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from stats.checks import as_binary, as_numbers, require_same_length


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


@dataclass(frozen=True)
class Confusion:
    """The two-by-two table of labels against predictions, and the measures read from it (each in [0, 1] or NaN)."""

    tn: int
    fp: int
    fn: int
    tp: int

    @property
    def sensitivity(self) -> float:
        return _quotient(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        return _quotient(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float:
        """Positive predictive value (precision), at the prevalence of these labels."""
        return _quotient(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float:
        """Negative predictive value, at the prevalence of these labels."""
        return _quotient(self.tn, self.tn + self.fn)

    @property
    def balanced_accuracy(self) -> float:
        return (self.sensitivity + self.specificity) / 2

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and PPV, `2 tp / (2 tp + fp + fn)`: defined also where PPV is not."""
        return _quotient(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def confusion(labels: ArrayLike, predicted: ArrayLike) -> Confusion:
    """Counts labels (n,) of 0/1 against predicted (n,) of 0/1 (`scores >= threshold`).

    Raises ValueError for other values or different lengths.
    """
    positive, called = as_binary("labels", labels), as_binary("predicted", predicted)
    require_same_length(labels=positive, predicted=called)
    tn, fp, fn, tp = np.bincount(2 * positive + called, minlength=4).tolist()
    return Confusion(tn=tn, fp=fp, fn=fn, tp=tp)


def f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of the positive class, in [0, 1]; NaN when nothing is positive and nothing was called positive.

    labels (n,) and predicted (n,) of 0/1. Raises ValueError for other values or different lengths.
    """
    return confusion(labels, predicted).f1


def best_f1_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The threshold t at which calling `score >= t` positive has the highest F1. Meant for validation, never for test.

    labels (n,) of 0/1, scores (n,). Candidates are the observed scores; of thresholds with the same F1 the highest is
    taken, the one that calls the fewest images positive. O(n log n). F1 needs no other candidates: between two
    observed scores it is constant (Lipton et al. 2014).

    Raises ValueError for other labels, NaN scores, different lengths, or no positive label.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores)
    if not positive.any():
        raise ValueError("no positive label, so no threshold has a best F1; choose it on data with both classes")
    thresholds, level = np.unique(-scores, return_inverse=True)  # negated: highest score first
    true_positives = np.cumsum(np.bincount(level, weights=positive))
    called = np.cumsum(np.bincount(level))
    f1_at = 2 * true_positives / (called + positive.sum())
    return float(-thresholds[np.argmax(f1_at)])  # argmax takes the first of equals


def _quotient(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
