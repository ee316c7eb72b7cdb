"""Moderated standard errors for few patients.

The estimated spread between three to ten positive patients is often far too small by chance, above all if the estimate
is too high. It is therefore combined with an expected variance, which is computed from the estimate and the number of
patients alone and counts as a few additional degrees of freedom. This is the moderated t-test of Smyth 2004, with a
fixed weight.
"""

import math

from stats.jackknife import Spread

WEIGHT = 4.0  # degrees of freedom of the expected variance; with four, three positive patients are enough


def moderated(spread: Spread, expected: float, weight: float = WEIGHT) -> Spread:
    """Mean of the estimated and the expected variance, weighted by their degrees of freedom, which are added.

    Args:
        spread: the estimated standard error with its degrees of freedom.
        expected: the expected variance.
        weight: degrees of freedom of the expected variance.

    Returns:
        The moderated spread. `spread` is returned unchanged if it is undefined or 0, or if `expected` is not above 0
        and finite.
    """
    if math.isnan(spread.standard_error) or spread.standard_error == 0 or not 0 < expected < math.inf:
        return spread
    freedom = spread.degrees_of_freedom + weight
    variance = (spread.degrees_of_freedom * spread.standard_error**2 + weight * expected) / freedom
    return Spread(math.sqrt(variance), freedom)


def auc_variance(area: float, positives: float, negatives: float) -> float:
    """Variance of an AUC of independent images with exponential scores (Hanley & McNeil 1982).

    Args:
        area: the AUC, in [0, 1].
        positives: number of positive images, at least 1; may be fractional (`stats.shares.effective_patients`).
        negatives: number of negative images, likewise.
    """
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (
        area * (1 - area) + (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    )
    return spread / (positives * negatives)


def average_precision_variance(average_precision: float, positives: float) -> float:
    """Variance of an average precision, computed as that of a share of independent images (Boyd, Eng & Page 2013).

    Args:
        average_precision: in [0, 1].
        positives: number of positive images; may be fractional.
    """
    return average_precision * (1 - average_precision) / positives
