"""What arrays may enter: each function returns the array in one dtype, or says in one line what is wrong and where."""

import numpy as np
from numpy.typing import ArrayLike


def as_binary(name: str, values: ArrayLike) -> np.ndarray:
    """`values` (n,) of 0/1 or booleans, as (n,) bool; `name` is what an error calls them.

    Raises ValueError for another shape, for no values, and for anything but 0 and 1 (NaN included).
    """
    array = _one_dimension(name, values)
    strange = np.flatnonzero(~np.isin(array, (0, 1)))
    if strange.size:
        raise ValueError(f"{name} must be 0 or 1, found {array[strange[0]]} at position {strange[0]}")
    return array.astype(bool)


def as_numbers(name: str, values: ArrayLike) -> np.ndarray:
    """`values` (n,) as (n,) float64; `name` is what an error calls them.

    Raises ValueError for another shape, for no values, and for NaN.
    """
    array = _one_dimension(name, values).astype(np.float64)
    missing = np.flatnonzero(np.isnan(array))
    if missing.size:
        raise ValueError(f"{name} has NaN at position {missing[0]}; leave out that row first, in every array alike")
    return array


def as_probabilities(name: str, values: ArrayLike) -> np.ndarray:
    """`values` (n,) in [0, 1] as (n,) float64; `name` is what an error calls them.

    Raises ValueError for another shape, for no values, for NaN, and for anything outside [0, 1].
    """
    array = as_numbers(name, values)
    strange = np.flatnonzero((array < 0) | (array > 1))
    if strange.size:
        raise ValueError(
            f"{name} must be probabilities in [0, 1], found {array[strange[0]]} at position {strange[0]}; "
            "a logit becomes one by the logistic function"
        )
    return array


def as_nullable_numbers(name: str, values: ArrayLike) -> np.ndarray:
    """`values` (n,) as (n,) float64, where NaN stands for a null; `name` is what an error calls them.

    Raises ValueError for another shape, for no values, and for infinite ones.
    """
    array = _one_dimension(name, values).astype(np.float64)
    infinite = np.flatnonzero(np.isinf(array))
    if infinite.size:
        raise ValueError(f"{name} is infinite at position {infinite[0]}; a value that does not exist is NaN")
    return array


def as_ids(name: str, values: ArrayLike) -> np.ndarray:
    """`values` (n,) of strings or integers, as they are; `name` is what an error calls them.

    Raises ValueError for another shape, for no values, and for a missing one (None or NaN).
    """
    array = _one_dimension(name, values)
    for position, value in enumerate(array.tolist()):
        if value is None or value != value:
            raise ValueError(f"{name} has no id at position {position}; give every image the id of its patient")
    return array


def require_same_length(**arrays: np.ndarray) -> None:
    """Raises ValueError, naming each array with its length, unless all are equally long."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"arrays must be equally long: {described}")


def tail_of(confidence: float) -> float:
    """What an interval of this confidence leaves out on either side: 0.025 for 0.95.

    Raises ValueError for a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return (1 - confidence) / 2


def _one_dimension(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty one-dimensional array, got shape {array.shape}")
    return array
