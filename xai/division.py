"""Division with a possible denominator of 0."""

import numpy as np


def divide_or_nan(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64 in the shape of `whole`; NaN where `whole` is not above 0."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
