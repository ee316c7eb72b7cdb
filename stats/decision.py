"""Decision curves: is acting on the model's probabilities worth more than acting on everyone, or on no one?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_numbers, as_probabilities, require_same_length
from stats.resamples import PeopleResamples


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at k threshold probabilities, in true positives per image; that of treating none is 0 throughout.

    model (..., k) float64: of treating whoever has `probability >= threshold`.
    treat_all (..., k) float64: of treating everyone. Both at most the prevalence, and without a lower bound.
    """

    model: np.ndarray
    treat_all: np.ndarray


def decision_curve(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> DecisionCurve:
    """Net benefit `tp / n - fp / n * t / (1 - t)` at each threshold probability t, as (k,) (Vickers & Elkin 2006).

    labels (n,) of 0/1, probabilities (n,) in [0, 1], thresholds (k,) in (0, 1): whoever treats from a risk of t on
    accepts (1 - t) / t false positives for one true positive. Probabilities that are not calibrated cost benefit here.

    Raises ValueError for other labels, probabilities or thresholds, or different lengths.
    """
    benefits = _benefit_of_each_image(labels, probabilities, thresholds)
    return DecisionCurve(*np.split(benefits.mean(axis=0), 2))


def decision_curve_resampled(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, resamples: PeopleResamples
) -> DecisionCurve:
    """`decision_curve` in each resample, as (resamples, k), paired: `model - treat_all` has its own interval.

    Arguments as for `decision_curve`. Raises ValueError as well for lengths that differ from the resampled images.
    """
    benefits = _benefit_of_each_image(labels, probabilities, thresholds)
    require_same_length(labels=benefits, resampled_images=resamples.person_of_image)
    images = resamples.totals(np.ones((len(benefits), 1)))
    return DecisionCurve(*np.split(resamples.totals(benefits) / images, 2, axis=1))


def _benefit_of_each_image(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """What each image adds to the net benefit, (n, 2 k): by the model at each threshold, then by treating everyone."""
    positive, probabilities = as_binary("labels", labels), as_probabilities("probabilities", probabilities)
    require_same_length(labels=positive, probabilities=probabilities)
    thresholds = as_numbers("thresholds", thresholds)
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("thresholds must be between 0 and 1, both excluded")
    treated = np.where(positive[:, np.newaxis], 1.0, -thresholds / (1 - thresholds))
    called = probabilities[:, np.newaxis] >= thresholds
    return np.concatenate([treated * called, treated], axis=1)
