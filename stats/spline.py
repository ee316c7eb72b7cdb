"""Restricted cubic splines: curves for a number, such as age, in a regression."""

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_numbers


def knots(values: ArrayLike) -> np.ndarray:
    """Three knots, at the 10th, 50th and 90th percentile (Harrell 2015, section 2.4.6).

    Args:
        values: (n,) of numbers.

    Returns:
        (3,) float64 ascending, or (0,) if two of them are equal, as for a number with few different values.

    Raises:
        ValueError: a value is NaN.
    """
    found = np.quantile(as_numbers("values", values), [0.1, 0.5, 0.9])
    return found if (np.diff(found) > 0).all() else np.empty(0)


def spline_columns(values: ArrayLike, at: ArrayLike) -> np.ndarray:
    """The columns of a restricted cubic spline: cubic between the knots, linear beyond them (Stone & Koo 1985).

    Args:
        values: (n,) of numbers.
        at: (k,) ascending knots, at least three, or none for a straight line.

    Returns:
        (n, k - 1) float64, the values first, the others in their unit; (n, 1) without knots.

    Raises:
        ValueError: a value is NaN.
    """
    x, t = as_numbers("values", values), np.asarray(at, dtype=np.float64)
    if not len(t):
        return x[:, np.newaxis]

    def cube(knot: float) -> np.ndarray:
        return np.maximum(x - knot, 0) ** 3

    *_, before_last, last = t
    bent = [
        (
            cube(knot)
            - cube(before_last) * (last - knot) / (last - before_last)
            + cube(last) * (before_last - knot) / (last - before_last)
        )
        / (last - t[0]) ** 2
        for knot in t[:-2]
    ]
    return np.column_stack([x, *bent])
