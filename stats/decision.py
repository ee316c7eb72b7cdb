"""Decision curves: is acting on the model's probabilities worth more than acting on everyone, or on no one?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, as_numbers, as_probabilities, require_same_length
from stats.shares import Bounds, effective_patients, of_sum, wilson_interval


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at k threshold probabilities, in true positives per image; that of treating none is 0 throughout.

    model (k,) float64: of treating whoever has `probability >= threshold`.
    treat_all (k,) float64: of treating everyone. Both at most the prevalence, and without a lower bound.
    """

    model: np.ndarray
    treat_all: np.ndarray


@dataclass(frozen=True, eq=False)
class DecisionBands:
    """Intervals at each threshold by itself, (k,) low and high: of the model's net benefit, and of what it adds to
    that of treating everyone.
    """

    model: Bounds
    difference: Bounds


def decision_curve(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> DecisionCurve:
    """Net benefit `tp / n - fp / n * t / (1 - t)` at each threshold probability t, as (k,) (Vickers & Elkin 2006).

    labels (n,) of 0/1, probabilities (n,) in [0, 1], thresholds (k,) in (0, 1): whoever treats from a risk of t on
    accepts (1 - t) / t false positives for one true positive. Probabilities that are not calibrated cost benefit here.

    Raises ValueError for other labels, probabilities or thresholds, or different lengths.
    """
    positive, called, harms = _called(labels, probabilities, thresholds)
    worth = np.where(positive[:, np.newaxis], 1.0, -harms)
    return DecisionCurve((worth * called).mean(axis=0), worth.mean(axis=0))


def decision_bands(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, patients: ArrayLike, confidence: float = 0.95
) -> DecisionBands:
    """Intervals of what `decision_curve` gives, over patients, whose number of positives is chance as well.

    The net benefit is the share of true positives less t / (1 - t) times that of false positives, and what is gained
    over treating everyone is t / (1 - t) times the share of true negatives less that of false negatives. Each share has
    Wilson's interval of as many images as there are effective patients, so that there is width where nobody is called;
    the two are added as by `stats.shares.of_sum`, with the correlation of two shares of one multinomial.

    labels, probabilities, thresholds as of `decision_curve`, which says what is raised; patients (n,): the id of the
    patient on each image. Raises ValueError as well for a missing id, or a confidence outside (0, 1).
    """
    positive, called, harms = _called(labels, probabilities, thresholds)
    ids = as_ids("patients", patients)
    require_same_length(labels=positive, patients=ids)
    n, positive = effective_patients(ids), positive[:, np.newaxis]

    def band(gained: np.ndarray, gain: ArrayLike, lost: np.ndarray, loss: ArrayLike) -> Bounds:
        for_it, against = gained.mean(axis=0), lost.mean(axis=0)
        low, high = wilson_interval(for_it, n, confidence)
        least, most = wilson_interval(against, n, confidence)
        gain, loss = np.asarray(gain), np.asarray(loss)
        # Of one multinomial, shares p and q correlate by -sqrt(p q / ((1 - p) (1 - q))), and p and -q by its negative.
        product = for_it * against
        correlation = np.sqrt(product / np.where(product > 0, (1 - for_it) * (1 - against), 1))
        return of_sum(
            gain * for_it, (gain * low, gain * high), -loss * against, (-loss * most, -loss * least), correlation
        )

    return DecisionBands(
        model=band(positive & called, 1.0, ~positive & called, harms),
        difference=band(~positive & ~called, harms, positive & ~called, 1.0),
    )


def _called(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), whether each image is called positive at each threshold (n, k), and t / (1 - t) (k,)."""
    positive, probabilities = as_binary("labels", labels), as_probabilities("probabilities", probabilities)
    require_same_length(labels=positive, probabilities=probabilities)
    thresholds = as_numbers("thresholds", thresholds)
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("thresholds must be between 0 and 1, both excluded")
    return positive, probabilities[:, np.newaxis] >= thresholds, thresholds / (1 - thresholds)
