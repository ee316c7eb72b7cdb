"""The field of view and the optic disc of an image, from the mask files named in a manifest."""

from pathlib import Path

import numpy as np

from xai.decoding import stored_orientation
from xai.fov import find_fov
from xai.mask import MaskError, read_mask
from xai.placement import Fit, place

_BLACK = 10  # of 255; the surround of an image is darker
_SURROUND = 0.05  # share of black pixels above which a mask of the whole frame cannot be right
_CLEAR_FOV = 0.005  # clear difference of the Dice with the detected field of view
_CLEAR_DISC = 1.0  # clear difference of the disc's brightness, in standard deviations of the retina's green channel


def read_fov(path: str, rgb: np.ndarray, image: Path | None = None) -> np.ndarray:
    """The field of view from a mask file if there is one, otherwise detected on the image.

    Args:
        path: path of the mask; "" for none.
        rgb: (H, W, 3) uint8, upright.
        image: the image's file, for its EXIF orientation; None for an image that is stored upright.

    Returns:
        (H, W) bool.

    Raises:
        MaskError: the mask cannot be used.
        ValueError: there is no mask, and the image shows no field of view.
    """
    if not path:
        return find_fov(rgb)
    mask = _placed("fov_mask", path, rgb, image, lambda way: _dice(way, find_fov(rgb)), _CLEAR_FOV)
    if not mask.any():
        raise MaskError(f"fov_mask {path} is empty")
    bright = rgb.max(axis=2)
    black = float((bright <= _BLACK).mean())
    if mask.all() and black > _SURROUND:
        raise MaskError(
            f"fov_mask {path} covers the whole frame, but {black:.0%} of the frame is black surround: mark only the "
            "retina, or leave the entry empty to have it detected"
        )
    if not mask.all() and bright[mask].mean() < bright[~mask].mean() and _inverted(mask, find_fov(rgb)):
        raise MaskError(f"fov_mask {path} marks the surround, not the retina: save it as white inside, black outside")
    return mask


def read_disc(path: str, rgb: np.ndarray, fov: np.ndarray, image: Path | None = None) -> np.ndarray:
    """The optic disc from a mask file.

    Args:
        path: path of the mask; "" for none.
        rgb: (H, W, 3) uint8, upright.
        fov: (H, W) bool, the field of view.
        image: the image's file, for its EXIF orientation; None for an image that is stored upright.

    Returns:
        (H, W) bool; all False without a mask.

    Raises:
        MaskError: the mask cannot be used.
    """
    if not path:
        return np.zeros(fov.shape, bool)
    green = rgb[..., 1].astype(np.float32)
    spread = max(1.0, float(green[fov].std())) if fov.any() else 1.0

    def brighter(way: np.ndarray) -> float:
        return float(green[way & fov].mean() - green[fov].mean()) / spread if (way & fov).any() else 0.0

    disc = _placed("disc_mask", path, rgb, image, brighter, _CLEAR_DISC)
    refuse_most(f"disc_mask {path}", disc, fov)
    return disc


def refuse_most(named: str, mask: np.ndarray, fov: np.ndarray) -> None:
    """Checks that a mask of a small structure covers at most half of the field of view.

    Args:
        named: column and file of the mask, for the message.
        mask: (H, W) bool.
        fov: (H, W) bool, the field of view.

    Raises:
        MaskError: it covers more, so it is inverted or of another structure.
    """
    share = float(mask[fov].mean()) if fov.any() else 0.0
    if share > 0.5:
        raise MaskError(
            f"{named} covers {share:.0%} of the field of view: where it is inverted (black on white), save it as white "
            "on black"
        )


def _placed(column: str, path: str, rgb: np.ndarray, image: Path | None, fit: Fit, clear: float) -> np.ndarray:
    mask, own = read_mask(column, Path(path))
    orientation = 1 if image is None else stored_orientation(image)
    (placed,), _ = place(f"{column} {path}", [mask], own, (rgb.shape[0], rgb.shape[1]), orientation, fit, clear)
    return placed


def _inverted(mask: np.ndarray, found: np.ndarray) -> bool:
    """Whether the inverse mask agrees better with the detected field of view; a white surround may be brighter."""
    return _dice(~mask, found) > _dice(mask, found)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
