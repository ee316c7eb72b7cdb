"""Intervals of shares of images where a patient has several, which hold for few of them and for none.

A patient's images are taken to agree, so a share is of as many independent images as there are patients, or fewer where
patients bring different numbers. Where they do not agree the intervals are too wide, never too narrow.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from stats.checks import as_ids, tail_of


def effective_patients(patients: ArrayLike) -> float:
    """How many images of independent patients carry as much as these, all of a patient's images being alike.

    `(sum m)^2 / sum m^2` for patients with m images each (Kish 1965): the number of patients where all
    have as many. patients (n,): the id (string or integer) of the patient on each image.

    Raises ValueError for a missing id or no image.
    """
    _, images = np.unique(as_ids("patients", patients), return_counts=True)
    return float(images.sum() ** 2 / (images**2).sum())


class Bounds(NamedTuple):
    """Low and high, each of the shape of what they bound."""

    low: np.ndarray
    high: np.ndarray


def wilson_interval(shares: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> Bounds:
    """The score interval of shares of n independent images each (Wilson 1927), in [0, 1] and never without width.

    shares in [0, 1] and n above 0, of one shape or broadcast; n need not be whole, as an effective size is (Korn &
    Graubard 1998 put one into the exact interval, which is wider).

    Raises ValueError for a confidence outside (0, 1).
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
    """The interval of a + b from those of a and of b ("MOVER", Zou & Donner 2008; Newcombe 1998).

    Either distance from an estimate to its bound stands for the standard error on that side, so that skewed and exact
    intervals keep their shape. of_a, of_b: low and high; correlation of the two estimates, in [-1, 1]. All of one shape
    or broadcast; NaN where any is.
    """
    a, b, correlation = (np.asarray(values, dtype=np.float64) for values in (a, b, correlation))

    def margin(side: int) -> np.ndarray:
        from_a, from_b = a - np.asarray(of_a[side]), b - np.asarray(of_b[side])
        return np.sqrt(np.maximum(from_a**2 + from_b**2 + 2 * correlation * from_a * from_b, 0))

    return Bounds(a + b - margin(0), a + b + margin(1))
