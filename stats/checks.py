"""Checks of input arrays. Each function returns the array in one dtype, or raises an error that names the fault."""

import numpy as np
from numpy.typing import ArrayLike


def as_binary(name: str, values: ArrayLike) -> np.ndarray:
    """Checks and converts labels.

    Args:
        name: name of the array in error messages.
        values: (n,) of 0/1 or booleans.

    Returns:
        (n,) bool.

    Raises:
        ValueError: the array is empty or not one-dimensional, or a value is neither 0 nor 1 (NaN included).
    """
    array = _one_dimension(name, values)
    strange = np.flatnonzero(~np.isin(array, (0, 1)))
    if strange.size:
        raise ValueError(f"{name} must be 0 or 1, found {array[strange[0]]} at position {strange[0]}")
    return array.astype(bool)


def as_numbers(name: str, values: ArrayLike) -> np.ndarray:
    """Checks and converts numbers.

    Args:
        name: name of the array in error messages.
        values: (n,) of numbers.

    Returns:
        (n,) float64.

    Raises:
        ValueError: the array is empty or not one-dimensional, or a value is NaN.
    """
    array = _one_dimension(name, values).astype(np.float64)
    missing = np.flatnonzero(np.isnan(array))
    if missing.size:
        raise ValueError(f"{name} has NaN at position {missing[0]}; first remove this row from every array")
    return array


def as_probabilities(name: str, values: ArrayLike) -> np.ndarray:
    """Checks and converts probabilities.

    Args:
        name: name of the array in error messages.
        values: (n,) in [0, 1].

    Returns:
        (n,) float64.

    Raises:
        ValueError: the array is empty or not one-dimensional, or a value is NaN or outside [0, 1].
    """
    array = as_numbers(name, values)
    strange = np.flatnonzero((array < 0) | (array > 1))
    if strange.size:
        raise ValueError(
            f"{name} must be probabilities in [0, 1], found {array[strange[0]]} at position {strange[0]}; "
            "convert logits with the logistic function"
        )
    return array


def as_nullable_numbers(name: str, values: ArrayLike) -> np.ndarray:
    """Checks and converts numbers of which some may be missing.

    Args:
        name: name of the array in error messages.
        values: (n,) of numbers; NaN marks a missing value.

    Returns:
        (n,) float64.

    Raises:
        ValueError: the array is empty or not one-dimensional, or a value is infinite.
    """
    array = _one_dimension(name, values).astype(np.float64)
    infinite = np.flatnonzero(np.isinf(array))
    if infinite.size:
        raise ValueError(f"{name} is infinite at position {infinite[0]}; use NaN for a value that does not exist")
    return array


def as_ids(name: str, values: ArrayLike) -> np.ndarray:
    """Checks ids.

    Args:
        name: name of the array in error messages.
        values: (n,) of strings or integers.

    Returns:
        (n,), unchanged.

    Raises:
        ValueError: the array is empty or not one-dimensional, or an id is missing (None or NaN).
    """
    array = _one_dimension(name, values)
    for position, value in enumerate(array.tolist()):
        if value is None or value != value:
            raise ValueError(f"{name} has no id at position {position}; give every image its patient's id")
    return array


def require_same_length(**arrays: np.ndarray) -> None:
    """Checks that arrays have the same length.

    Args:
        **arrays: the arrays under their names in error messages.

    Raises:
        ValueError: lengths differ; the message names each array and its length.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"arrays must have the same length: {described}")


def tail_of(confidence: float) -> float:
    """The probability in each tail outside an interval of this confidence: 0.025 for 0.95.

    Raises:
        ValueError: the confidence is outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    return (1 - confidence) / 2


def _one_dimension(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty one-dimensional array, got shape {array.shape}")
    return array
