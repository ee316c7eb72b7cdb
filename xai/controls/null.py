"""A cell's vessel ratios, and what they would be if its maps knew nothing of where the vessels of each eye lie."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xai.division import divide_or_nan
from xai.saliency import mean_of_ratios

FOV_RATIO = "vessel_ratio_fov"
TESTED_RATIOS = ("vessel_ratio", FOV_RATIO)  # of `xai.saliency.RATIOS`, those that both nulls are made for
ROUNDING = 1e-5  # relative; sums in float32 over 50,000 pixels that differ by less are ties


@dataclass(frozen=True, eq=False)
class Null:
    """A cell's ratios, and what chance makes of them.

    Attributes:
        ratios: (n,) float64, of each image against its own vessels; NaN where it has none.
        null: (draws, n) float32, against the vessels that each draw gave it; NaN as in `ratios`.
        expected: (n,) float64, the mean over all vessels that could be given to each image, its own aside.
        given: (n,) float64, the mean ratio of the maps of other patients against the vessels of each image's patient;
            NaN where a null gives an image no vessels but its own.
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
        """(draws,) float64: the cell's mean ratio in each draw."""
        return means(self.null)

    @property
    def mean(self) -> float:
        """The cell's mean ratio by chance: of `expected`."""
        return mean_of_ratios(self.expected)

    @property
    def sd(self) -> float:
        """Standard deviation of the cell's mean ratio over the draws; NaN for a single draw."""
        return float(self.draws.std(ddof=1)) if len(self.draws) > 1 else float("nan")

    @property
    def p_greater(self) -> float:
        """How often chance gives a ratio as large: (count + 1) / (draws + 1) (Phipson & Smyth 2010)."""
        return self._share(self.draws >= self.observed - ROUNDING * abs(self.observed))

    @property
    def p_two_sided(self) -> float:
        """Twice the p-value of the side on which the observed ratio lies, at most 1."""
        less = self._share(self.draws <= self.observed + ROUNDING * abs(self.observed))
        return min(2 * min(self.p_greater, less), 1.0)

    def _share(self, as_extreme: np.ndarray) -> float:
        return (int(as_extreme.sum()) + 1) / (len(self.draws) + 1)


def means(values: np.ndarray) -> np.ndarray:
    """Means of rows, float64, over what is not NaN; NaN where a row holds nothing else."""
    known = ~np.isnan(values)
    sums, counts = values.sum(axis=1, dtype=np.float64, where=known), known.sum(axis=1)
    return divide_or_nan(sums, counts)
