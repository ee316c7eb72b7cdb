"""From a model's score to a risk: what the score would be had training seen the classes as often as they are.

Weighting the loss by class, or drawing both classes equally often, moves every predicted logit by the logarithm of the
weights' ratio. Ranks and calls at a threshold do not change, but as a probability of disease such a score is wrong:
where one in ten is positive, it is too high by log(9) on the logit scale. Calibration, the Brier score and net benefit
are of probabilities, so they are of the risk.
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
    """`logit(risk) = intercept + slope * logit(score)`; the score itself by default."""

    intercept: float = 0.0
    slope: float = 1.0

    def of(self, scores: ArrayLike) -> np.ndarray:
        """Scores (n,) in [0, 1] -> risks (n,) float64 in [0, 1], in the same order of size.

        Raises ValueError for other scores.
        """
        scores = as_probabilities("scores", scores)
        return scores if self == SCORE else expit(self.intercept + self.slope * as_logits(scores))


SCORE = Risk()  # the score taken for a risk as it is


def undo_balancing(labels: ArrayLike) -> Risk:
    """What balanced classes in training added, taken away again (Elkan 2001; Saerens et al. 2002).

    A loss weighted inversely to class frequency, and sampling both classes equally often, both make a model predict
    the odds of the disease divided by those among its training images.

    Args:
        labels: of the training images, (n,) of 0/1, both present.

    Raises ValueError for other labels, or only one class.
    """
    positive = as_binary("labels", labels)
    if positive.all() or not positive.any():
        raise ValueError("labels must hold both classes: the balance of one is not defined")
    return Risk(intercept=math.log(positive.sum() / (~positive).sum()))


def recalibrate(labels: ArrayLike, scores: ArrayLike) -> Risk | None:
    """Logistic recalibration (Cox 1958; Platt 1999) on images that the model was not trained on.

    labels (n,) of 0/1 and scores (n,) in [0, 1], of validation images. None where no line fits: one class is missing,
    or a score separates the classes; or where the slope is not above 0, which would turn the order round.

    Raises ValueError for other labels or scores, or different lengths.
    """
    intercept, slope = recalibration(labels, scores)
    return Risk(intercept, slope) if slope > 0 else None
