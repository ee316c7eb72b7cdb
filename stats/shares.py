"""Intervals of shares of images for patients with several images, valid even for very low counts.

All images of a patient are assumed to agree. The effective sample size of a share is then the number of patients, or
less if patients have different numbers of images. If images of a patient do not agree, the intervals are too wide,
never too narrow.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from stats.checks import as_ids, tail_of


def effective_patients(patients: ArrayLike) -> float:
    """Effective number of patients: the sample size of independent images with the same information.

    It is `(sum m)^2 / sum m^2` for patients with m images (Kish 1965). This is the number of patients if all have the
    same number of images, and less otherwise.

    Args:
        patients: (n,), id (string or integer) of each image's patient.

    Raises:
        ValueError: an id is missing, or there is no image.
    """
    _, images = np.unique(as_ids("patients", patients), return_counts=True)
    return float(images.sum() ** 2 / (images**2).sum())


class Bounds(NamedTuple):
    """Lower and upper bounds, each in the shape of the estimates."""

    low: np.ndarray
    high: np.ndarray


def wilson_interval(shares: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> Bounds:
    """Wilson's score interval of shares of independent images (Wilson 1927).

    Args:
        shares: in [0, 1], of any shape.
        n: sample sizes above 0, of the same shape or broadcast. They may be fractional, as effective sample sizes are
            (Korn & Graubard 1998 use one in the exact interval, which is wider).
        confidence: in (0, 1).

    Returns:
        Low and high in [0, 1], always with a width above 0.

    Raises:
        ValueError: the confidence is outside (0, 1).
    """
    shares, n = np.asarray(shares, dtype=np.float64), np.asarray(n, dtype=np.float64)
    square = ndtri(tail_of(confidence)) ** 2
    centre = (shares + square / (2 * n)) / (1 + square / n)
    margin = np.sqrt(square * (shares * (1 - shares) / n + square / (4 * n * n))) / (1 + square / n)
    return Bounds(np.maximum(centre - margin, 0), np.minimum(centre + margin, 1))


def of_sum(
    a: ArrayLike,
    of_a: tuple[ArrayLike, ArrayLike],
    b: ArrayLike,
    of_b: tuple[ArrayLike, ArrayLike],
    correlation: ArrayLike,
) -> Bounds:
    """The interval of a + b from the intervals of a and b (MOVER, Zou & Donner 2008; Newcombe 1998).

    On each side, the distance from an estimate to its bound is used in place of the standard error, so the intervals of
    a and b may be asymmetric. All arguments have the same shape or are broadcast.

    Args:
        a: first estimate.
        of_a: low and high of a.
        b: second estimate.
        of_b: low and high of b.
        correlation: correlation of the two estimates, in [-1, 1].

    Returns:
        Low and high; NaN where an argument is NaN.
    """
    a, b, correlation = (np.asarray(values, dtype=np.float64) for values in (a, b, correlation))

    def margin(side: int) -> np.ndarray:
        from_a, from_b = a - np.asarray(of_a[side]), b - np.asarray(of_b[side])
        return np.sqrt(np.maximum(from_a**2 + from_b**2 + 2 * correlation * from_a * from_b, 0))

    return Bounds(a + b - margin(0), a + b + margin(1))
