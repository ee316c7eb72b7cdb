"""How much too high the highest of several estimates is, because it was chosen for being the highest."""

import numpy as np
from numpy.typing import ArrayLike


def optimism_of_highest(estimates: ArrayLike, samples: ArrayLike, standard_errors: ArrayLike | None = None) -> float:
    """By how much the highest of k estimates exceeds the true value of the cell it belongs to, on average.

    estimates (k,): a statistic of k cells on the same patients; samples (resamples, k): the same in shared resamples.
    Cells that are NaN throughout (failed) and resamples with NaN are left out. NaN with fewer than two cells, or fewer
    than two resamples. standard_errors (k,): what the errors are scaled to, where known, since resamples of few
    patients vary too little (by 7 % with ten positive patients).

    The resamples show how the estimates err together: each is a draw of errors around the estimates. A plain bootstrap
    of the choice (the winner's value in the resample less its estimate; Efron & Tibshirani 1993, chapter 10) takes the
    estimates for the truth, but they scatter more than the truth, by their own errors, so that the winner is chosen too
    easily and the optimism is underestimated: by a third where all cells are equal. Hence the estimates are shrunk
    to their mean, to the variance that the true values have (moments: the variance of the estimates less that of their
    errors' differences, at least 0; Louis 1984), and the winner is chosen again around those. Subtracting the result
    from the highest estimate is nearly unbiased over studies (simulated: docs/statistics.md). It says nothing about
    which cell is best.

    Raises ValueError where the shapes do not fit.
    """
    estimates, samples = np.asarray(estimates, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    if estimates.ndim != 1 or samples.ndim != 2 or samples.shape[1] != len(estimates):
        raise ValueError(f"expected k estimates and samples (resamples, k), got {estimates.shape} and {samples.shape}")
    known = ~np.isnan(estimates)
    values, drawn = estimates[known], samples[:, known]
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    if len(values) < 2 or len(drawn) < 2:
        return float("nan")
    errors = drawn - drawn.mean(axis=0)
    if standard_errors is not None:
        errors *= _scale(np.asarray(standard_errors, dtype=np.float64)[known], errors.std(axis=0))
    # Errors that all cells share do not change which is highest: they are taken out, as the mean is of the estimates.
    of_errors = float((errors - errors.mean(axis=1, keepdims=True)).var(axis=0).sum() / (len(values) - 1))
    of_estimates = float(values.var(ddof=1))
    kept = np.sqrt(max(0.0, of_estimates - of_errors) / of_estimates) if of_estimates > 0 else 0.0
    true = values.mean() + kept * (values - values.mean())
    winner = (true + errors).argmax(axis=1)
    return max(0.0, float(errors[np.arange(len(errors)), winner].mean()))  # below 0 by rounding alone


def _scale(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """What brings standard deviations (k,) to the wanted ones; 1 where either says nothing."""
    known = np.isfinite(wanted) & (wanted > 0) & (found > 0)
    return np.divide(wanted, found, out=np.ones(len(found)), where=known)
