"""A cell's vessel ratios and their null distribution, in which maps do not depend on the positions of the vessels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xai.division import divide_or_nan
from xai.saliency import mean_of_ratios

FOV_RATIO = "vessel_ratio_fov"
TESTED_RATIOS = ("vessel_ratio", FOV_RATIO)  # those of `xai.saliency.RATIOS` that both tests use
ROUNDING = 1e-5  # relative; float32 sums over 50,000 pixels that differ by less are ties


@dataclass(frozen=True, eq=False)
class Null:
    """A cell's ratios and their null distribution.

    Attributes:
        ratios: (n,) float64, ratio of each image on its own vessels; NaN if undefined.
        null: (draws, n) float32, ratio of each image on the vessels assigned in each draw; NaN as in `ratios`.
        expected: (n,) float64, mean ratio of each image over all vessels that can be assigned to it, except its own.
        given: (n,) float64, mean ratio of other patients' maps on the vessels of each image's patient; NaN for a test
            that does not exchange vessels between patients.
    """

    ratios: np.ndarray
    null: np.ndarray
    expected: np.ndarray
    given: np.ndarray

    @cached_property
    def observed(self) -> float:
        """The cell's mean ratio."""
        return mean_of_ratios(self.ratios)

    @cached_property
    def draws(self) -> np.ndarray:
        """The cell's mean ratio in each draw, (draws,) float64."""
        return means(self.null)

    @property
    def mean(self) -> float:
        """The cell's mean ratio expected by chance, the mean of `expected`."""
        return mean_of_ratios(self.expected)

    @property
    def sd(self) -> float:
        """Standard deviation of the cell's mean ratio over the draws; NaN for a single draw."""
        return float(self.draws.std(ddof=1)) if len(self.draws) > 1 else float("nan")

    @property
    def p_greater(self) -> float:
        """One-sided p-value for a ratio larger than by chance: (count + 1) / (draws + 1) (Phipson & Smyth 2010)."""
        return self._share(self.draws >= self.observed - ROUNDING * abs(self.observed))

    @property
    def p_two_sided(self) -> float:
        """Two-sided p-value: twice the smaller one-sided p-value, at most 1."""
        less = self._share(self.draws <= self.observed + ROUNDING * abs(self.observed))
        return min(2 * min(self.p_greater, less), 1.0)

    def _share(self, as_extreme: np.ndarray) -> float:
        return (int(as_extreme.sum()) + 1) / (len(self.draws) + 1)


def means(values: np.ndarray) -> np.ndarray:
    """Means of the rows of a two-dimensional array without NaN, float64; NaN for a row with only NaN."""
    known = ~np.isnan(values)
    sums, counts = values.sum(axis=1, dtype=np.float64, where=known), known.sum(axis=1)
    return divide_or_nan(sums, counts)
