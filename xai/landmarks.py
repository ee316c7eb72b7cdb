"""The field of view and the optic disc of an image, from the mask files that a manifest names."""

from pathlib import Path

import numpy as np

from xai.decoding import stored_orientation
from xai.fov import find_fov
from xai.mask import MaskError, read_mask
from xai.placement import Fit, place

_BLACK = 10  # of 255; the surround of an image is darker
_SURROUND = 0.05  # share of the frame that is black, from which a mask of the whole frame is none of the retina
_CLEAR_FOV = 0.005  # Dice with the field of view found on the image
_CLEAR_DISC = 1.0  # standard deviations of the retina's green by which a disc is brighter


def read_fov(path: str, rgb: np.ndarray, image: Path | None = None) -> np.ndarray:
    """The field of view (H, W) bool, from the manifest's mask where there is one, else found on the image.

    Args:
        path: of the mask; "" for none.
        rgb: (H, W, 3) uint8, upright.
        image: its file, whose EXIF block says how the pixels are stored; None for one that is stored upright.

    Raises:
        MaskError: the file cannot be used.
        ValueError: none is named, and the image shows no field of view.
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
            f"fov_mask {path} covers the whole frame, {black:.0%} of which is black surround: mark the retina alone, "
            "or leave the cell empty to have it found"
        )
    if not mask.all() and bright[mask].mean() < bright[~mask].mean() and _inverted(mask, find_fov(rgb)):
        raise MaskError(f"fov_mask {path} marks the surround, not the retina: save it as white inside, black outside")
    return mask


def read_disc(path: str, rgb: np.ndarray, fov: np.ndarray, image: Path | None = None) -> np.ndarray:
    """The optic disc (H, W) bool from the manifest's mask; nothing where `path` is "".

    Raises:
        MaskError: the file cannot be used.
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
    """Refuse a mask of a small structure that covers more than half of the field of view.

    Raises:
        MaskError: it does, so it must be inverted or of something else.
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
    """Whether its inverse is more like the field of view found; a surround can be white, and brighter than retina."""
    return _dice(~mask, found) > _dice(mask, found)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
