"""The square around the field of view, at which an image and its masks are shown to a network."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import sparse


@dataclass(frozen=True)
class Square:
    """A square of whole pixels on an image. It may reach beyond the frame; what lies there is black."""

    top: int
    left: int
    side: int


def bounding_box(fov: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that the (H, W) bool field of view spans.

    Raises:
        ValueError: the field of view is empty.
    """
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    if not len(rows):
        raise ValueError("the field of view is empty: give a mask with the eye marked, or none to have it found")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def square_around(fov: np.ndarray) -> Square:
    """The square centred on the bounding box of the (H, W) bool field of view, as wide as the box's longer side.

    Raises:
        ValueError: the field of view is empty.
    """
    rows, columns = bounding_box(fov)
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    return Square((rows.start + rows.stop - side) // 2, (columns.start + columns.stop - side) // 2, side)


def crop_image(rgb: np.ndarray, square: Square, size: int) -> np.ndarray:
    """The square of an (H, W, 3) uint8 image as (size, size, 3) uint8, resized by antialiased bicubic (Pillow)."""
    box = (square.left, square.top, square.left + square.side, square.top + square.side)
    crop = Image.fromarray(rgb).crop(box)
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))


def coverage(mask: np.ndarray, square: Square, size: int) -> np.ndarray:
    """How much of each pixel of the resized square is mask: exact area average of the full-resolution mask.

    A vessel thinner than one output pixel keeps its area instead of vanishing or growing.

    Args:
        mask: (H, W) bool.

    Returns:
        (size, size) uint8, 0 to 255 for a share of 0 to 1.
    """
    rows = _shares(square.top, square.side, mask.shape[0], size)
    columns = _shares(square.left, square.side, mask.shape[1], size)
    share = (columns @ (rows @ mask.astype(np.float32)).T).T
    return np.rint(255 * share).astype(np.uint8)


def _shares(start: int, side: int, length: int, size: int) -> sparse.csr_array:
    """(size, length) weights that average `side` source pixels, from pixel `start` on, into each of `size` pixels."""
    # In units of 1 / (side * size) of the square the edges of source and output pixels are whole numbers.
    edges = np.union1d(np.arange(side + 1) * size, np.arange(size + 1) * side)
    source, target = start + edges[:-1] // size, edges[:-1] // side
    in_frame = (source >= 0) & (source < length)
    weights = (np.diff(edges) / side)[in_frame].astype(np.float32)
    return sparse.csr_array((weights, (target[in_frame], source[in_frame])), shape=(size, length))
