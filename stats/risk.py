"""Conversion of a model's score to a risk, which corrects for balanced classes in training.

Weighting the loss by class, or drawing both classes equally often, shifts every predicted logit by the logarithm of the
ratio of the weights. Ranks and calls at a threshold do not change. As a probability of disease, however, such a score
is wrong: if one in ten patients is positive, it is too high by log(9) on the logit scale. Calibration, the Brier score
and net benefit need probabilities, so they are computed from the risk.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from stats.calibration import as_logits, recalibration
from stats.checks import as_binary, as_probabilities


@dataclass(frozen=True)
class Risk:
    """The conversion `logit(risk) = intercept + slope * logit(score)`. By default the risk is the score itself.

    Attributes:
        intercept: on the logit scale.
        slope: above 0, so that the order of the scores is preserved.
    """

    intercept: float = 0.0
    slope: float = 1.0

    def of(self, scores: ArrayLike) -> np.ndarray:
        """Converts scores to risks.

        Args:
            scores: (n,) in [0, 1].

        Returns:
            (n,) float64 in [0, 1], in the same order of size.

        Raises:
            ValueError: a score is NaN or outside [0, 1].
        """
        scores = as_probabilities("scores", scores)
        return scores if self == SCORE else expit(self.intercept + self.slope * as_logits(scores))


SCORE = Risk()  # the score itself as risk


def undo_balancing(labels: ArrayLike) -> Risk:
    """The conversion that removes the effect of balanced classes in training (Elkan 2001; Saerens et al. 2002).

    With a loss weighted inversely to class frequency, or with both classes sampled equally often, a model predicts the
    odds of the disease divided by the odds among its training images.

    Args:
        labels: (n,) of 0/1, labels of the training images.

    Raises:
        ValueError: labels are not 0/1, or have only one class.
    """
    positive = as_binary("labels", labels)
    if positive.all() or not positive.any():
        raise ValueError("labels must have both classes; with only one the class balance is not defined")
    return Risk(intercept=math.log(positive.sum() / (~positive).sum()))


def recalibrate(labels: ArrayLike, scores: ArrayLike) -> Risk | None:
    """Logistic recalibration (Cox 1958; Platt 1999) on images that were not used for training.

    Args:
        labels: (n,) of 0/1, labels of the validation images.
        scores: (n,) in [0, 1], their scores.

    Returns:
        The conversion. None if the fit does not exist (a class is missing, or a score separates the classes), or if the
        slope is not above 0, which would reverse the order of the scores.

    Raises:
        ValueError: labels are not 0/1, scores are outside [0, 1], or lengths differ.
    """
    intercept, slope = recalibration(labels, scores)
    return Risk(intercept, slope) if slope > 0 else None
