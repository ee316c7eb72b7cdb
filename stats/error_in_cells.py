"""Rank correlation over cells whose values are measured with error, as an estimate for a population of cells.

The value of a cell, such as its AUC, is an estimate from the tested patients. Its sampling error adds to the spread
between cells and attenuates a correlation over them (Spearman 1904). The interval here corrects for this error.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from scipy.stats import chi2

from stats.checks import as_numbers, require_same_length, tail_of
from stats.correlation import COEFFICIENTS, Coefficient, Layout
from stats.intervals import UNDEFINED, Interval

_CANDIDATES = 41
_VARIANCES = np.concatenate([[0.0], np.geomspace(1e-4, 1e3, 80)])  # candidates, in units of the observed variance


@dataclass(frozen=True)
class OverCells:
    """The rank correlation of true values in a population of cells.

    Attributes:
        estimate: the correlation under which the observed coefficient is the median; NaN if not known.
        low: lower bound of the interval; NaN if not known.
        high: upper bound of the interval; NaN if not known.
        not_known: the reason why the correlation is not known, or "". "x", "y" or "both": the cells do not differ
            significantly in this value, given its error. "error": the error is undefined. "undefined": there are fewer
            than three cells, or x or y is constant.
    """

    estimate: float
    low: float
    high: float
    not_known: str

    @property
    def interval(self) -> Interval:
        """The lower and the upper bound."""
        return self.low, self.high


def over_cells(
    x: ArrayLike,
    y: ArrayLike,
    errors: ArrayLike,
    layout: Layout,
    coefficient: Coefficient = "spearman",
    confidence: float = 0.95,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> OverCells:
    """Estimates a rank correlation for a population of cells by inverting a test that accounts for measurement error.

    The true values are assumed to come from a bivariate normal distribution, whose correlation is estimated, and the
    errors from a normal distribution with known covariance. For each of many candidate correlations the study is
    simulated `draws` times. The interval contains the candidates under which coefficients at least as high as observed,
    and coefficients at least as low as observed, both have a probability of at least (1 - confidence) / 2. In each
    simulated study:

    - The variance between cells is drawn so that its uncertainty is included: it is the variance at which the
      generalised Q statistic equals a draw from its chi-squared distribution (Viechtbauer 2007; Weerahandi 1993 for
      such draws).
    - Cells of the same row, and of the same column, are as similar as in the data (analysis of variance, corrected for
      the errors).

    The result is on the scale of the coefficient: 6 / pi asin(rho / 2) for Spearman's, 2 / pi asin(rho) for Kendall's
    (Kruskal 1958). If Cochran's Q test at level 1 - confidence does not show that the cells differ in x and in y, the
    correlation is not known, because the observed one may be a correlation of errors alone.

    Args:
        x: (n,), first value of each cell.
        y: (n,), second value of each cell.
        errors: (2n, 2n), covariance of the errors of x followed by y, as from `stats.jackknife.covariance`.
        layout: row and column of each cell, each (n,), as in `stats.correlation.spearman`.
        coefficient: "spearman" or "kendall".
        confidence: in (0, 1).
        draws: number of simulated studies per candidate.
        seed: seed of the simulation.

    Raises:
        ValueError: x or y has NaN, lengths differ, or the confidence is outside (0, 1).
    """
    x, y, tail = as_numbers("x", x), as_numbers("y", y), tail_of(confidence)
    row, column = (np.unique(np.asarray(part), return_inverse=True)[1] for part in layout)
    require_same_length(x=x, y=y, rows=row, columns=column)
    errors, n = np.asarray(errors, dtype=np.float64), len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return _unknown("undefined")
    if np.isnan(errors).any():
        return _unknown("error")

    of_x, of_y = errors[:n, :n], errors[n:, n:]
    alike = _alike(((x, of_x), (y, of_y)), row, column)
    q_x, q_y = _q(x, of_x, alike), _q(y, of_y, alike)
    least = chi2.isf(2 * tail, n - 1)
    same_x, same_y = q_x[0] <= least, q_y[0] <= least
    if same_x or same_y:
        return _unknown("both" if same_x and same_y else "x" if same_x else "y")

    rng, score = np.random.default_rng(seed), COEFFICIENTS[coefficient]
    quantiles = rng.chisquare(n - 1, size=(2, draws, 1))
    true_x, other = rng.normal(size=(2, draws, n)) @ _root(alike).T
    noise = rng.normal(size=(draws, 2 * n)) @ _root(errors).T
    spread_x, spread_y = (
        np.sqrt(np.interp(-drawn, -q, _VARIANCES * values.var(ddof=1)))
        for drawn, q, values in zip(quantiles, (q_x, q_y), (x, y), strict=True)
    )
    seen_x = spread_x * true_x + noise[:, :n]
    observed = score(x[np.newaxis], y[np.newaxis])[0]
    correlations = np.sin(np.linspace(-math.pi / 2, math.pi / 2, _CANDIDATES))  # denser towards -1 and 1
    as_high, as_low = np.empty((2, _CANDIDATES))
    for place, rho in enumerate(correlations):
        seen_y = spread_y * (rho * true_x + math.sqrt(1 - rho**2) * other) + noise[:, n:]
        found = score(seen_x, seen_y)
        as_high[place], as_low[place] = np.mean(found >= observed - 1e-9), np.mean(found <= observed + 1e-9)
    # Both are monotone except for simulation error.
    as_high, as_low = np.maximum.accumulate(as_high), np.minimum.accumulate(as_low)
    bounds = [
        -1.0 if as_high[0] > tail else np.interp(tail, as_high, correlations),
        np.interp(0.5, (as_high + 1 - as_low) / 2, correlations),
        1.0 if as_low[-1] > tail else np.interp(-tail, -as_low, correlations),
    ]
    low, middle, high = (_on_scale(float(rho), coefficient) for rho in bounds)
    return OverCells(middle, low, high, "")


def _unknown(why: str) -> OverCells:
    return OverCells(math.nan, *UNDEFINED, why)


def _on_scale(rho: float, coefficient: Coefficient) -> float:
    """The rank correlation of normal variables with correlation rho."""
    return 6 / math.pi * math.asin(rho / 2) if coefficient == "spearman" else 2 / math.pi * math.asin(rho)


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix (k, k) whose product with its transpose is the covariance (k, k), of any rank."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))


def _q(values: np.ndarray, errors: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """The generalised Q statistic (81,) of values (n,) at each of `_VARIANCES`; it decreases with the variance.

    It is the weighted sum of squares about the mean for the covariance variance * alike + errors, both (n, n).
    """
    n, variance = len(values), values.var(ddof=1)
    contrasts = np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1].T
    covariances = variance * _VARIANCES[:, np.newaxis, np.newaxis] * (contrasts @ alike @ contrasts.T)
    covariances = covariances + contrasts @ errors @ contrasts.T + 1e-12 * variance * np.eye(n - 1)
    seen = contrasts @ values
    return np.minimum.accumulate(
        np.linalg.solve(covariances, np.tile(seen, (len(_VARIANCES), 1))[..., np.newaxis])[..., 0] @ seen
    )


def _alike(measured: tuple[tuple[np.ndarray, np.ndarray], ...], row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Correlation matrix (n, n) of the cells' true values, with variance components for rows and columns.

    measured: for x and for y, the values (n,) and the covariance of their errors (n, n). The components solve the
    moment equations of the sums of squares between rows, between columns and in total, with no component below 0. The
    components' shares are averaged over x and y. Without variance the cells are uncorrelated.
    """
    n = len(row)
    same_row, same_column = row[:, np.newaxis] == row, column[:, np.newaxis] == column
    parts = [np.eye(n), same_row.astype(np.float64), same_column.astype(np.float64)]
    squares = [np.eye(n) - 1 / n, *(same / same.sum(axis=1, keepdims=True) - 1 / n for same in parts[1:])]
    expected = np.array([[np.trace(square @ part) for part in parts] for square in squares])
    shares = np.zeros(3)
    for values, errors in measured:
        found = np.array([values @ square @ values - np.trace(square @ errors) for square in squares])
        components, _ = nnls(expected, found / values.var())
        shares += components / components.sum() if components.sum() > 0 else np.array([1.0, 0, 0])
    return sum(share * part for share, part in zip(shares / 2, parts, strict=True)) + np.zeros((n, n))
