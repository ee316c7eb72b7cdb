"""Adjustment of p-values for multiple testing, controlling the family-wise error rate."""

import numpy as np
from numpy.typing import ArrayLike


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm-adjusted p-values (Holm 1979), valid under any dependence between the tests.

    Args:
        p_values: (m,) in [0, 1]; may be empty. NaN (no test was possible) does not count as a test.

    Returns:
        (m,) float64, at most alpha if and only if Holm's procedure rejects at alpha; NaN stays NaN.

    Raises:
        ValueError: the array is not one-dimensional, or a value is outside [0, 1].
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if p_values.ndim != 1:
        raise ValueError(f"p_values must be a one-dimensional array, got shape {p_values.shape}")
    outside = np.flatnonzero((p_values < 0) | (p_values > 1))
    if outside.size:
        raise ValueError(f"p_values must be in [0, 1], found {p_values[outside[0]]} at position {outside[0]}")

    ascending = np.argsort(p_values)  # NaN last
    ascending = ascending[: np.count_nonzero(~np.isnan(p_values))]
    still_tested = np.arange(len(ascending), 0, -1)
    adjusted = np.full(len(p_values), np.nan)
    adjusted[ascending] = np.minimum(1, np.maximum.accumulate(still_tested * p_values[ascending]))
    return adjusted
