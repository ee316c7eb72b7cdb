"""Standard errors that hold for few patients: what the patients show, moderated by what any such statistic has.

The spread between three to ten positive patients is often far too small by chance, most of all where the estimate is
too high. A variance from the estimate and the number of patients alone, which takes a patient's images to be alike,
counts as a few more degrees of freedom (as in the moderated t-test of Smyth 2004, with a weight that is fixed).
"""

import math

from stats.jackknife import Spread

WEIGHT = 4.0  # degrees of freedom of the expected variance: with four, three positive patients are enough


def moderated(spread: Spread, expected: float, weight: float = WEIGHT) -> Spread:
    """The mean of the variance found and the one expected, by their degrees of freedom, which add up.

    A spread that is undefined stays so, and so does one of 0. expected: a variance, above 0 and finite.
    """
    if math.isnan(spread.standard_error) or spread.standard_error == 0 or not 0 < expected < math.inf:
        return spread
    freedom = spread.degrees_of_freedom + weight
    variance = (spread.degrees_of_freedom * spread.standard_error**2 + weight * expected) / freedom
    return Spread(math.sqrt(variance), freedom)


def auc_variance(area: float, positives: float, negatives: float) -> float:
    """Variance of an AUC of so many independent images of either class (Hanley & McNeil 1982), with exponential scores.

    area in [0, 1]; the numbers, at least 1, need not be whole (`stats.shares.effective_patients`).
    """
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (
        area * (1 - area) + (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    )
    return spread / (positives * negatives)


def average_precision_variance(average_precision: float, positives: float) -> float:
    """Variance of an average precision over so many independent positives: that of a share (Boyd, Eng & Page 2013)."""
    return average_precision * (1 - average_precision) / positives
