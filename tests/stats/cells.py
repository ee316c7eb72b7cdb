"""Coverage of intervals of a rank correlation in a population of cells: a table of docs/statistics.md.

    python -m tests.stats.cells [--studies 400]

Every study draws cells (backbones x strategies) with bivariate normal true values, and errors of known covariance, as
they arise from patients shared by all cells. With backbone effects, half of the variance of both measures is between
backbones. An error of 1 is as large as the spread between cells.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from math import asin, pi, sqrt

import numpy as np

from stats.correlation import Layout, fisher_interval, spearman_resampled
from stats.error_in_cells import over_cells
from stats.intervals import UNDEFINED, Interval

LAYOUTS = ((2, 3), (3, 3), (4, 3))
CORRELATIONS = (0.0, 0.5, 0.7, 0.9)
BETWEEN_PATIENTS = 0.5  # correlation of the errors of two cells in one measure
BETWEEN_MEASURES = 0.2  # correlation of a cell's errors in the two measures


@dataclass(frozen=True)
class Cells:
    """backbones, strategies: numbers in the layout; rho: correlation of the true values; error: standard deviation of
    the errors that two cells do not share, relative to the spread between cells; backbone_share: share of the variance
    between backbones.
    """

    backbones: int
    strategies: int
    rho: float
    error: float
    backbone_share: float = 0.0

    @property
    def truth(self) -> float:
        """Spearman's rho of the true values in the population (Kruskal 1958)."""
        return 6 / pi * asin(self.rho / 2)

    @property
    def layout(self) -> Layout:
        backbones, strategies = np.arange(self.backbones), np.arange(self.strategies)
        return np.repeat(backbones, self.strategies), np.tile(strategies, self.backbones)

    @property
    def errors(self) -> np.ndarray:
        """Covariance (2n, 2n) of the errors."""
        n = self.backbones * self.strategies
        of_cells = np.eye(n) + BETWEEN_PATIENTS / (1 - BETWEEN_PATIENTS)
        return self.error**2 * np.kron([[1, BETWEEN_MEASURES], [BETWEEN_MEASURES, 1]], of_cells)


def draw(cells: Cells, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The measured values of one study, x and y (n,)."""
    backbone, _ = cells.layout
    backbone = np.asarray(backbone)

    def true() -> np.ndarray:
        own, of_backbones = rng.normal(size=len(backbone)), rng.normal(size=cells.backbones)
        return sqrt(1 - cells.backbone_share) * own + sqrt(cells.backbone_share) * of_backbones[backbone]

    x, other = true(), true()
    y = cells.rho * x + sqrt(1 - cells.rho**2) * other
    noise = np.linalg.cholesky(cells.errors + 1e-12 * np.eye(2 * len(x))) @ rng.normal(size=2 * len(x))
    return x + noise[: len(x)], y + noise[len(x) :]


def disattenuated(x: np.ndarray, y: np.ndarray, error: float) -> Interval:
    """Fisher's interval divided by the root of the product of both reliabilities (Spearman 1904): the simple method."""
    observed = float(spearman_resampled(x[np.newaxis], y[np.newaxis])[0])
    reliable = [1 - error**2 / values.var(ddof=1) for values in (x, y)]
    if min(reliable) <= 0:
        return UNDEFINED
    low, high = (float(np.clip(bound / sqrt(reliable[0] * reliable[1]), -1, 1)) for bound in fisher(observed, len(x)))
    return low, high


def fisher(observed: float, n: int) -> Interval:
    """Fisher's interval, which for a coefficient of 1 is that of a coefficient just below 1."""
    return fisher_interval(float(np.clip(observed, -0.999, 0.999)), n)


def coverage(cells: Cells, studies: int, draws: int = 400, seed: int = 0) -> dict[str, float]:
    """Shares of studies: `known`, with an interval of `over_cells`; `over cells`, the coverage of these intervals;
    `fisher` and `disattenuated`, coverage over all studies (undefined intervals do not cover); and the mean `width`.
    """
    rng, truth, n = np.random.default_rng(seed), cells.truth, cells.backbones * cells.strategies
    held, widths, fishers, simple = [], [], 0, 0
    for study in range(studies):
        x, y = draw(cells, rng)
        found = over_cells(x, y, cells.errors, cells.layout, draws=draws, seed=study)
        if not found.not_known:
            held.append(found.low <= truth <= found.high)
            widths.append(found.high - found.low)
        low, high = fisher(float(spearman_resampled(x[np.newaxis], y[np.newaxis])[0]), n)
        fishers += low <= truth <= high
        low, high = disattenuated(x, y, cells.error)
        simple += low <= truth <= high
    known = max(len(held), 1)
    return {
        "known": len(held) / studies,
        "over cells": sum(held) / known,
        "width": sum(widths) / known,
        "fisher": fishers / studies,
        "disattenuated": simple / studies,
    }


def table(studies: int) -> Iterator[str]:
    """Lines of the table. With large errors few studies have an interval, so four times as many are simulated."""
    names = ("known", "over cells", "width", "fisher", "disattenuated")
    yield "| cells | backbone effects | error | true rho | " + " | ".join(names) + " |"
    yield "| --- " * 9 + "|"
    for backbones, strategies in LAYOUTS:
        for share in (0.0, 0.5):
            for error in (0.3, 1.0):
                for rho in CORRELATIONS:
                    cells = Cells(backbones, strategies, rho, error, share)
                    found = coverage(cells, studies * (4 if error == 1 else 1))
                    values = [f"{found[name]:.2f}" if name == "width" else f"{100 * found[name]:.1f}" for name in names]
                    yield (
                        f"| {backbones * strategies} | {'half' if share else 'none'} | {error} | {rho} | "
                        + " | ".join(values)
                        + " |"
                    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--studies", type=int, default=400, help="with small errors; with large ones four times as many"
    )
    for line in table(options.parse_args().studies):
        print(line, flush=True)


if __name__ == "__main__":
    main()
