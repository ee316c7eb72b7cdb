"""From a file to what the study uses: the photograph, its field of view, and the square crop every model sees."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.errors import OF_ONE_ROW
from benchmark.study import dicom
from xai.crop import crop_photo, square_around
from xai.fov import has_light_surround
from xai.landmarks import read_fov
from xai.picture import Picture, PictureError, read_picture

IMAGE_SIZE = 224  # every model sees the crop at this side
# File names that may be photographs, lower case: what torchvision's ImageFolder takes, and what cameras and PACS write.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".avif"}
    | dicom.SUFFIXES
)
LEAST_SIDE = 64  # px, of the frame and of the field of view; a thumbnail shows no vessels
MOST_OBLONG = 4  # long side : short side; montages and wide-field photographs stay below 2
_LEAST_RANGE = 8  # grey levels between the darkest and the brightest; of 584 real photographs the flattest has 27
_GLANCE = 64  # px; the side at which that is judged, so that noise does not count


class PhotoError(ValueError):
    """A file that is no usable photograph; the message says why."""


def read_photo(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned the way its EXIF block says; black where the picture is transparent.

    Raises:
        PhotoError: missing, damaged, or not a picture.
    """
    picture = _decode(path)
    return picture.rgb if picture.opaque is None else _blackened(picture.rgb, picture.opaque)


def load_photo(path: Path, fov_mask: str = "") -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its field of view, ready for use: as `read_photo`, and black in place of a light surround.

    Args:
        path: the photograph.
        fov_mask: a mask of its field of view; empty where there is none.

    Returns:
        (H, W, 3) uint8 and (H, W) bool. What is transparent is outside the field of view.

    Raises:
        PhotoError: not usable as a photograph.
        ValueError: the photograph is black.
    """
    picture = _decode(path)
    opaque = picture.opaque
    rgb = picture.rgb if opaque is None else _blackened(picture.rgb, opaque)
    _refuse_no_photograph(rgb)
    fov = read_fov(fov_mask, rgb, path)
    fov = fov if opaque is None else fov & opaque
    if not fov.any() or square_around(fov).side < LEAST_SIDE:
        whose = f"fov_mask {fov_mask}: " if fov_mask else ""
        raise PhotoError(f"{whose}the field of view is less than {LEAST_SIDE} pixels wide: too small to show vessels")
    return _blackened(rgb, fov) if has_light_surround(rgb) else rgb, fov


def _decode(path: Path) -> Picture:
    try:
        return dicom.read_dicom(path) if dicom.is_dicom(path) else read_picture(path)
    except PictureError as error:
        raise PhotoError(str(error)) from error


def _blackened(rgb: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return rgb * inside[..., None]


def _refuse_no_photograph(rgb: np.ndarray) -> None:
    height, width = rgb.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise PhotoError(f"{width}x{height} pixels: too small to show vessels (at least {LEAST_SIDE} a side)")
    if max(height, width) > MOST_OBLONG * min(height, width):
        raise PhotoError(f"{width}x{height} pixels: too oblong for a photograph (at most {MOST_OBLONG}:1)")
    glance = np.asarray(Image.fromarray(rgb).reduce(max(1, min(height, width) // _GLANCE)).convert("L"))
    darkest, brightest = np.percentile(glance, (1, 99))
    if brightest - darkest < _LEAST_RANGE and brightest > _LEAST_RANGE:  # find_fov names a black photograph
        raise PhotoError(f"a blank frame (grey levels {darkest:.0f} to {brightest:.0f} of 255): nothing to see")


def crop_row(row: dict[str, Any]) -> dict[str, Any]:
    """Streaming step: `path` and `fov_mask` -> the crop (224, 224, 3) uint8 and its square in the photograph.

    `digest` is equal for photographs of equal pixels, however they are stored. A photograph that cannot be used comes
    back with the reason in `error` and an empty crop.
    """
    try:
        rgb, fov = load_photo(Path(row["path"]), row["fov_mask"])
        square = square_around(fov)
        crop = crop_photo(rgb, square, IMAGE_SIZE)
    except OF_ONE_ROW as error:
        blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return {"row": row["row"], "error": one_line(error), "crop": blank, "digest": ""} | dict.fromkeys(_PLACE, 0)
    place = (rgb.shape[0], rgb.shape[1], square.top, square.left, square.side)
    result = {"row": row["row"], "error": "", "crop": crop, "digest": _digest(rgb)}
    return result | dict(zip(_PLACE, place, strict=True))


def one_line(error: Exception) -> str:
    """Why a file cannot be used, fit for a table: what a damaged file says of itself may hold any character."""
    nothing_said = "not enough memory" if isinstance(error, MemoryError) else type(error).__name__
    reason = str(error).strip() or nothing_said
    return "".join(character if character.isprintable() else "?" for character in reason)


def _digest(rgb: np.ndarray) -> str:
    pixels = hashlib.blake2b(repr(rgb.shape).encode(), digest_size=16)
    pixels.update(np.ascontiguousarray(rgb).data)
    return pixels.hexdigest()


_PLACE = ("height", "width", "top", "left", "side")
