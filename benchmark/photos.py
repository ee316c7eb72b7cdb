"""From a file to what the study uses: the photograph, its field of view, and the square crop every model sees."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xai.crop import crop_photo, square_around
from xai.fov import find_fov
from xai.picture import PictureError, open_picture, upright

IMAGE_SIZE = 224  # every model sees the crop at this side
# File names that may be photographs, lower case: what torchvision's ImageFolder takes, and what cameras and PACS write.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".dcm", ".dicom"}
)


class PhotoError(ValueError):
    """A file that is no usable photograph; the message says why."""


def read_photo(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned the way its EXIF block says.

    Raises:
        PhotoError: missing, damaged, or not a picture.
    """
    try:
        return np.asarray(_eight_bit(upright(open_picture(path))).convert("RGB"))
    except PictureError as error:
        raise PhotoError(str(error)) from error


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Grey levels of up to 16 bits brought to 8: Pillow would clip them at 255 and make the picture white."""
    if picture.mode in ("I", "F"):
        raise PhotoError("not a readable picture (32 bits a pixel: save it with 8 or 16)")
    if not picture.mode.startswith("I;16"):
        return picture
    levels = np.asarray(picture)
    spare = max(0, int(levels.max()).bit_length() - 8)  # cameras of 12 bits fill 12 of the 16
    return Image.fromarray((levels >> spare).astype(np.uint8))


def read_fov(path: str, rgb: np.ndarray) -> np.ndarray:
    """The field of view (H, W) bool, from the manifest's mask where there is one, else found on the photograph."""
    if not path:
        return find_fov(rgb)
    mask = read_mask("fov_mask", path, rgb)
    if not mask.any():
        raise PhotoError(f"fov_mask {path} is empty")
    return mask


def read_mask(column: str, path: str, rgb: np.ndarray) -> np.ndarray:
    """A mask (H, W) bool of the photograph, from the file that a column of the manifest names: non-zero is inside.

    Raises:
        PhotoError: no picture, or of another size than the photograph.
    """
    try:
        mask = (read_photo(Path(path)) > 0).max(axis=2)
    except PhotoError as error:
        raise PhotoError(f"{column} {path}: {error}") from error
    if mask.shape != rgb.shape[:2]:
        raise PhotoError(
            f"{column} {path} is {mask.shape[1]}x{mask.shape[0]}, the photograph {rgb.shape[1]}x{rgb.shape[0]}"
        )
    return mask


def crop_row(row: dict[str, Any]) -> dict[str, Any]:
    """Streaming step: `path` and `fov_mask` -> the crop (224, 224, 3) uint8 and its square in the photograph.

    A photograph that cannot be used comes back with the reason in `error` and an empty crop.
    """
    try:
        rgb = read_photo(Path(row["path"]))
        square = square_around(read_fov(row["fov_mask"], rgb))
        crop = crop_photo(rgb, square, IMAGE_SIZE)
    except (PhotoError, ValueError) as error:
        blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return {"row": row["row"], "error": str(error), "crop": blank} | dict.fromkeys(_PLACE, 0)
    place = (rgb.shape[0], rgb.shape[1], square.top, square.left, square.side)
    return {"row": row["row"], "error": "", "crop": crop} | dict(zip(_PLACE, place, strict=True))


_PLACE = ("height", "width", "top", "left", "side")
