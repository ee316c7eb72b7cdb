"""Read what the study needs from an image file: the image, its field of view, and the square crop for models."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.errors import OF_ONE_ROW
from benchmark.study import dicom
from xai.crop import Square, coverage, crop_image, square_around
from xai.decoding import Picture, PictureError, read_picture
from xai.fov import has_light_surround
from xai.landmarks import read_fov

IMAGE_SIZE = 224  # px, side of the crop that every model receives
# Endings of image files, in lower case: those of torchvision's ImageFolder, and those that cameras and PACS write.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".avif"}
    | dicom.SUFFIXES
)
LEAST_SIDE = 64  # px, of the frame and of the field of view; smaller images show no vessels
MOST_OBLONG = 4  # long side : short side; montages and wide-field images stay below 2
_LEAST_RANGE = 8  # grey levels from dark to bright; the lowest range of 584 real images is 27
_GLANCE = 64  # px, side of the reduced image in which that range is measured, so that noise does not count


class ImageError(ValueError):
    """A file that cannot be used as an image; the message gives the reason."""


def read_image(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, oriented by its EXIF block, with transparent pixels black.

    Raises:
        ImageError: the file is missing, damaged, or not an image.
    """
    picture = _decode(path)
    return picture.rgb if picture.opaque is None else _blackened(picture.rgb, picture.opaque)


def load_image(path: Path, fov_mask: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Read an image as `read_image` does, find its field of view, and make a light surround black.

    Args:
        path: the image.
        fov_mask: the path of a mask of its field of view; empty if there is none.

    Returns:
        The image, (H, W, 3) uint8, and the field of view, (H, W) bool. Transparent pixels are outside the field of
        view.

    Raises:
        ImageError: the file cannot be used as an image.
        ValueError: the image is black.
    """
    picture = _decode(path)
    opaque = picture.opaque
    rgb = picture.rgb if opaque is None else _blackened(picture.rgb, opaque)
    _refuse_no_image(rgb)
    fov = read_fov(fov_mask, rgb, path)
    fov = fov if opaque is None else fov & opaque
    if not fov.any() or square_around(fov).side < LEAST_SIDE:
        whose = f"fov_mask {fov_mask}: " if fov_mask else ""
        raise ImageError(f"{whose}the field of view is less than {LEAST_SIDE} pixels wide: too small to show vessels")
    return _blackened(rgb, fov) if has_light_surround(rgb) else rgb, fov


@dataclass(frozen=True, eq=False)
class Cropped:
    """An image with the square around its field of view, which is the part that models receive.

    Attributes:
        rgb: (H, W, 3) uint8, the whole image.
        fov: (H, W) bool, its field of view.
        square: the square around the field of view.
    """

    rgb: np.ndarray
    fov: np.ndarray
    square: Square

    def image(self, size: int = IMAGE_SIZE) -> np.ndarray:
        """The square as (size, size, 3) uint8; at the default size, exactly what models receive."""
        return crop_image(self.rgb, self.square, size)

    def fov_share(self, size: int = IMAGE_SIZE) -> np.ndarray:
        """The coverage of the square's pixels by the field of view, (size, size) uint8."""
        return coverage(self.fov, self.square, size)


def open_cropped(path: Path, fov_mask: str = "") -> Cropped:
    """Read an image and find the square for models; arguments and errors as in `load_image`."""
    rgb, fov = load_image(path, fov_mask)
    return Cropped(rgb, fov, square_around(fov))


def _decode(path: Path) -> Picture:
    try:
        return dicom.read_dicom(path) if dicom.is_dicom(path) else read_picture(path)
    except PictureError as error:
        raise ImageError(str(error)) from error


def _blackened(rgb: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return rgb * inside[..., None]


def _refuse_no_image(rgb: np.ndarray) -> None:
    height, width = rgb.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise ImageError(f"{width}x{height} pixels: too small to show vessels (at least {LEAST_SIDE} per side)")
    if max(height, width) > MOST_OBLONG * min(height, width):
        raise ImageError(f"{width}x{height} pixels: too elongated for an image (at most {MOST_OBLONG}:1)")
    glance = np.asarray(Image.fromarray(rgb).reduce(max(1, min(height, width) // _GLANCE)).convert("L"))
    darkest, brightest = np.percentile(glance, (1, 99))
    if brightest - darkest < _LEAST_RANGE and brightest > _LEAST_RANGE:  # find_fov reports a black image
        raise ImageError(f"a blank frame (grey levels from {darkest:.0f} to {brightest:.0f} of 255 only)")


def crop_row(row: dict[str, Any]) -> dict[str, Any]:
    """Streaming step: `path` and `fov_mask` -> the crop, (224, 224, 3) uint8, and its square in the image.

    `digest` is equal for images with equal pixels, however they are stored. For an image that cannot be used, `error`
    contains the reason and the crop is blank.
    """
    try:
        opened = open_cropped(Path(row["path"]), row["fov_mask"])
        crop = opened.image()
    except OF_ONE_ROW as error:
        blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return {"row": row["row"], "error": one_line(error), "crop": blank, "digest": ""} | dict.fromkeys(_PLACE, 0)
    square = opened.square
    place = (*opened.rgb.shape[:2], square.top, square.left, square.side)
    result = {"row": row["row"], "error": "", "crop": crop, "digest": _digest(opened.rgb)}
    return result | dict(zip(_PLACE, place, strict=True))


def one_line(error: Exception) -> str:
    """The reason why a file cannot be used, as one printable line: text from a damaged file may hold any character."""
    default = "not enough memory" if isinstance(error, MemoryError) else type(error).__name__
    reason = str(error).strip() or default
    return "".join(character if character.isprintable() else "?" for character in reason)


def _digest(rgb: np.ndarray) -> str:
    pixels = hashlib.blake2b(repr(rgb.shape).encode(), digest_size=16)
    pixels.update(np.ascontiguousarray(rgb).data)
    return pixels.hexdigest()


_PLACE = ("height", "width", "top", "left", "side")
