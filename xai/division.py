"""Shares and means of what may be empty."""

import numpy as np


def divide_or_nan(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, float64 and of the shape of `whole`; NaN where `whole` is not above 0: there is no answer."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
