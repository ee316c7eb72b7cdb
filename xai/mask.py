"""Mask files: the pixels that a file marks as artery, vein, optic disc or field of view."""

from pathlib import Path

import numpy as np

from xai.fov import find_fov
from xai.picture import PictureError, open_picture


class MaskError(ValueError):
    """A mask file that cannot be used; the message names the file and the fix, in one line."""


def read_fov(path: str, rgb: np.ndarray) -> np.ndarray:
    """The field of view (H, W) bool, from the manifest's mask where there is one, else found on the photograph."""
    if not path:
        return find_fov(rgb)
    mask = read_mask("fov_mask", path, rgb)
    if not mask.any():
        raise MaskError(f"fov_mask {path} is empty")
    return mask


def read_mask(column: str, path: str, rgb: np.ndarray) -> np.ndarray:
    """A mask (H, W) bool of the photograph, from the file that a column of the manifest names: non-zero is inside.

    Raises:
        MaskError: no picture, or of another size than the photograph.
    """
    try:
        mask = np.asarray(open_picture(Path(path)).convert("RGB")).max(axis=2) > 0
    except PictureError as error:
        raise MaskError(f"{column} {path}: {error}") from error
    if mask.shape != rgb.shape[:2]:
        raise MaskError(
            f"{column} {path} is {mask.shape[1]}x{mask.shape[0]}, the photograph {rgb.shape[1]}x{rgb.shape[0]}"
        )
    return mask
