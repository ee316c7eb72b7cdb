"""Placement of masks on an image with an EXIF orientation: drawn on the stored pixels, or on the upright image.

With a quarter turn the sizes decide, unless both are equal. With equal sizes the placement that fits the image clearly
better is used; if neither does, the mask is refused.
"""

from collections.abc import Callable, Sequence

import numpy as np

from xai.mask import MaskError

Fit = Callable[[np.ndarray], float]
"""Returns how well an upright (H, W) bool mask fits its image; higher is better, NaN is unknown."""

TURNED = "turned with the image"


def turn(plane: np.ndarray, orientation: int) -> np.ndarray:
    """An array (h, w) of stored pixels, rotated and mirrored by an EXIF orientation (1 to 8)."""
    if orientation >= 5:
        plane = plane.T
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return plane[rows, columns]


def place(
    named: str, masks: Sequence[np.ndarray], own: bool, shape: tuple[int, int], orientation: int, fit: Fit, clear: float
) -> tuple[list[np.ndarray], str]:
    """Places masks that were drawn together on the upright image.

    Args:
        named: column and file of the first mask, for messages.
        masks: (h, w) bool each, of the same shape.
        own: whether the files have their own EXIF orientation, which has already been applied.
        shape: (H, W) of the upright image.
        orientation: EXIF orientation of the image, 1 to 8.
        fit: measure of how well the masks' union fits the image.
        clear: difference in `fit` from which one placement is clearly better.

    Returns:
        The masks, (H, W) bool each, and `TURNED` if they were drawn on the image's stored pixels, otherwise "".

    Raises:
        MaskError: the masks have another size than the image, or it is not clear how they were drawn.
    """
    stored = shape[::-1] if orientation >= 5 else shape
    found = masks[0].shape
    upright_fits, stored_fits = found == shape, found == stored and orientation != 1 and not own
    if not (upright_fits or stored_fits):
        raise MaskError(f"{named}: {_other_size(found, shape, stored)}")
    if not stored_fits:
        return list(masks), ""
    turned = [np.ascontiguousarray(turn(mask, orientation)) for mask in masks]
    if not upright_fits:
        return turned, TURNED
    union, turned_union = np.logical_or.reduce(masks), np.logical_or.reduce(turned)
    gain = fit(turned_union) - fit(union)
    if gain > clear or (gain > 0 and _alike(union, turned_union)):
        return turned, TURNED
    if gain < -clear or _alike(union, turned_union):
        return list(masks), ""
    raise MaskError(
        f"{named}: EXIF turns the image (orientation {orientation}), and it is not clear whether the mask was drawn "
        "before or after this: save the image upright, and a mask of the same orientation"
    )


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two masks have a Dice of at least 0.98 or are both empty, so that the choice hardly matters."""
    return bool(2 * (one & other).sum() >= 0.98 * (one.sum() + other.sum()))


def _other_size(found: tuple[int, ...], shape: tuple[int, int], stored: tuple[int, int]) -> str:
    as_stored = f" ({stored[1]}x{stored[0]} as stored, before EXIF turns it)" if stored != shape else ""
    return (
        f"the mask is {found[1]}x{found[0]} pixels, its image {shape[1]}x{shape[0]}{as_stored}: "
        "save the mask at the image's size"
    )
