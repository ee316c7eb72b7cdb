"""The square crop around the field of view, which is the input of a network."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import sparse


@dataclass(frozen=True)
class Square:
    """A square of whole pixels on an image. It may extend beyond the frame, where it is black.

    Attributes:
        top: first row.
        left: first column.
        side: number of rows and of columns.
    """

    top: int
    left: int
    side: int


def bounding_box(fov: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of a field of view.

    Args:
        fov: (H, W) bool.

    Returns:
        Its rows and its columns.

    Raises:
        ValueError: the field of view is empty.
    """
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    if not len(rows):
        raise ValueError("the field of view is empty: give a mask that marks the eye, or no mask to have it detected")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def square_around(fov: np.ndarray) -> Square:
    """The square centred on the bounding box of a field of view, with the box's longer side.

    Args:
        fov: (H, W) bool.

    Raises:
        ValueError: the field of view is empty.
    """
    rows, columns = bounding_box(fov)
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    return Square((rows.start + rows.stop - side) // 2, (columns.start + columns.stop - side) // 2, side)


def crop_image(rgb: np.ndarray, square: Square, size: int) -> np.ndarray:
    """Crops an image to a square and resizes it (Pillow's antialiased bicubic).

    Args:
        rgb: (H, W, 3) uint8.
        square: the square.
        size: side of the result in pixels.

    Returns:
        (size, size, 3) uint8.
    """
    box = (square.left, square.top, square.left + square.side, square.top + square.side)
    crop = Image.fromarray(rgb).crop(box)
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))


def coverage(mask: np.ndarray, square: Square, size: int) -> np.ndarray:
    """Coverage of each pixel of the resized square by a mask: the exact area average at full resolution.

    A vessel thinner than one output pixel keeps its area and neither vanishes nor grows.

    Args:
        mask: (H, W) bool.
        square: the square.
        size: side of the result in pixels.

    Returns:
        (size, size) uint8, 0 to 255 for a coverage of 0 to 1.
    """
    rows = _shares(square.top, square.side, mask.shape[0], size)
    columns = _shares(square.left, square.side, mask.shape[1], size)
    share = (columns @ (rows @ mask.astype(np.float32)).T).T
    return np.rint(255 * share).astype(np.uint8)


def _shares(start: int, side: int, length: int, size: int) -> sparse.csr_array:
    """Weights (size, length) that average `side` source pixels, starting at `start`, into `size` output pixels."""
    # In units of 1 / (side * size) of the square, the edges of source and output pixels are whole numbers.
    edges = np.union1d(np.arange(side + 1) * size, np.arange(size + 1) * side)
    source, target = start + edges[:-1] // size, edges[:-1] // side
    in_frame = (source >= 0) & (source < length)
    weights = (np.diff(edges) / side)[in_frame].astype(np.float32)
    return sparse.csr_array((weights, (target[in_frame], source[in_frame])), shape=(size, length))
