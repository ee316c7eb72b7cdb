"""One cell trained from several seeds and tested on the same people: its mean, spread, and an interval for both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t

from stats.checks import as_numbers, tail_of
from stats.intervals import Interval


@dataclass(frozen=True)
class OverSeeds:
    """The mean of a statistic over seeds, with its interval.

    sd: standard deviation over the seeds (ddof 1), NaN for one. low, high: the interval of the mean, for new people and
    new seeds; of one seed, for new people and this very seed.
    """

    mean: float
    sd: float
    low: float
    high: float
    n_seeds: int


def over_seeds(estimates: ArrayLike, of_people: Interval, confidence: float = 0.95) -> OverSeeds:
    """Mean of a statistic over S seeds, and an interval for its expectation over all seeds in the whole population.

    estimates (S,): the statistic of each seed; of_people: the interval of their mean for new people, all seeds tested
    on the same, by any method and of the same confidence. A seed that failed is left out of both beforehand.

    The estimate of a seed is the expectation, plus an effect of the seed, plus an effect of the people drawn. Two
    margins, on either side, are therefore added in quadrature:
        people: from the mean to the bound of the people's interval;
        seeds: t quantile with S - 1 degrees of freedom times sd / sqrt(S).
    Assumed: the seeds are a random draw, and their effects (of initial weights, order, augmentation: whatever the seed
    decides) are normal and independent of the people. Margins with a quantile each then cover at least at the stated
    confidence, whatever the share of either (Banerjee 1960); a single t quantile on the summed variance
    (Welch-Satterthwaite) covers less with two or three seeds. Noise of seed and people together enters both margins,
    which errs on the wide side. Two seeds tell little of their variance (t = 12.7): the interval is wide. With five it
    covers 95 to 97 %.

    One seed tells nothing of it: the interval is that of people alone, and sd NaN. Bounds are
    NaN where those of people are, and may pass the range of the statistic.

    Raises ValueError for NaN in estimates, or a confidence outside (0, 1).
    """
    estimates, tail = as_numbers("estimates", estimates), tail_of(confidence)
    n_seeds, mean, (low, high) = len(estimates), float(estimates.mean()), of_people
    if n_seeds == 1:
        return OverSeeds(mean, np.nan, low, high, n_seeds)

    sd = float(estimates.std(ddof=1))
    of_seeds = student_t.isf(tail, n_seeds - 1) * sd / np.sqrt(n_seeds)
    # A bootstrap interval may lie beside the estimate; its margin on that side is then nothing, not negative.
    below, above = (np.hypot(np.maximum(margin, 0), of_seeds) for margin in (mean - low, high - mean))
    return OverSeeds(mean, sd, mean - float(below), mean + float(above), n_seeds)
