"""Isotonic recalibration: the risk as any non-decreasing function of the score (Zadrozny & Elkan 2002)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from stats.checks import as_binary, as_probabilities, require_same_length


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A non-decreasing conversion of scores to risks: linear between the points, constant before and after them.

    Attributes:
        scores: (k,), increasing.
        risks: (k,), non-decreasing, inside (0, 1).
    """

    scores: np.ndarray
    risks: np.ndarray

    def of(self, scores: ArrayLike) -> np.ndarray:
        """Converts scores to risks.

        Args:
            scores: (n,) in [0, 1].

        Returns:
            (n,) float64 in (0, 1).

        Raises:
            ValueError: a score is NaN or outside [0, 1].
        """
        return np.interp(as_probabilities("scores", scores), self.scores, self.risks)


def fit_isotonic(labels: ArrayLike, scores: ArrayLike) -> Isotonic:
    """Least squares under the condition that a higher score never has a lower risk.

    A step with one class only would have a risk of 0 or 1, which no later image of the other class could survive. Such
    risks become those of half an image among all n images: 0.5 / (n + 1), which is below every other possible risk, and
    1 minus that.

    Args:
        labels: (n,) of 0/1, labels of images that were not used for training.
        scores: (n,) in [0, 1], their scores.

    Raises:
        ValueError: labels are not 0/1, scores are outside [0, 1], or lengths differ.
    """
    positive, values = as_binary("labels", labels), as_probabilities("scores", scores)
    require_same_length(labels=positive, scores=values)
    unique, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares = np.bincount(place, weights=positive) / counts
    least = 0.5 / (len(values) + 1)
    return Isotonic(unique, np.clip(isotonic_regression(shares, weights=counts).x, least, 1 - least))
