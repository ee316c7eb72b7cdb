"""Decision curves: the net benefit of treating by a model's risks, compared with treating everyone or no one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, as_numbers, as_probabilities, require_same_length
from stats.shares import Bounds, effective_patients, of_sum, wilson_interval


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at k threshold probabilities, in true positives per image. The net benefit of treating no one is 0.

    Attributes:
        model: (k,) float64, net benefit of treating if `probability >= threshold`.
        treat_all: (k,) float64, net benefit of treating everyone. Both are at most the prevalence, and have no lower
            bound.
    """

    model: np.ndarray
    treat_all: np.ndarray


@dataclass(frozen=True, eq=False)
class DecisionBands:
    """Pointwise intervals at k threshold probabilities, each low and high (k,).

    Attributes:
        model: interval of the model's net benefit.
        difference: interval of the model's net benefit minus that of treating everyone.
    """

    model: Bounds
    difference: Bounds


def decision_curve(labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> DecisionCurve:
    """Net benefit `tp / n - fp / n * t / (1 - t)` at each threshold probability t (Vickers & Elkin 2006).

    Treating from a risk of t means accepting (1 - t) / t false positives per true positive. Miscalibrated probabilities
    lower the net benefit.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].
        thresholds: (k,) in (0, 1).

    Raises:
        ValueError: labels are not 0/1, probabilities or thresholds are out of range, or lengths differ.
    """
    positive, called, harms = _called(labels, probabilities, thresholds)
    worth = np.where(positive[:, np.newaxis], 1.0, -harms)
    return DecisionCurve((worth * called).mean(axis=0), worth.mean(axis=0))


def decision_bands(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike, patients: ArrayLike, confidence: float = 0.95
) -> DecisionBands:
    """Intervals of the net benefit over patients, with a random number of positives.

    The net benefit is the share of true positives minus t / (1 - t) times the share of false positives. Its difference
    from treating everyone is t / (1 - t) times the share of true negatives minus the share of false negatives. Each
    share has Wilson's interval with the effective number of patients as sample size, so the interval has a width even
    if no image is called positive. The two intervals are combined by `stats.shares.of_sum`, with the correlation of two
    shares of one multinomial distribution.

    Args:
        labels: (n,) of 0/1.
        probabilities: (n,) in [0, 1].
        thresholds: (k,) in (0, 1).
        patients: (n,), id of each image's patient.
        confidence: in (0, 1).

    Raises:
        ValueError: labels are not 0/1, probabilities or thresholds are out of range, lengths differ, an id is missing,
            or the confidence is outside (0, 1).
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
        # Shares p and q of one multinomial correlate by -sqrt(p q / ((1 - p) (1 - q))), so p and -q by its negative.
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
    """Labels (n,) bool, calls of each image at each threshold (n, k) bool, and t / (1 - t) (k,)."""
    positive, probabilities = as_binary("labels", labels), as_probabilities("probabilities", probabilities)
    require_same_length(labels=positive, probabilities=probabilities)
    thresholds = as_numbers("thresholds", thresholds)
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("thresholds must be above 0 and below 1")
    return positive, probabilities[:, np.newaxis] >= thresholds, thresholds / (1 - thresholds)
