"""Opens image files. All errors of decoders become one class, and only the orientation is read from EXIF."""

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

# File formats of images and masks. Others are excluded, because Pillow runs external programs for some of them.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF", "TGA", "PCX", "SGI", "PSD")
_ORIENTATION = 0x0112  # EXIF tag 274
# Pillow's operation for each value of the tag; 1 and undefined values need none.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ASKED, _TO_DO, _PAGES = "orientation asked for", "orientation to do", "pages"  # entries of a picture's `info`
_LONGEST = 32_767  # px per side; damaged headers may name more, which takes long to decode
_TOO_DEEP = ("I", "F")  # Pillow's modes with 32 bits per pixel
_DEPTHS = (8, 10, 12, 14, 16)  # bits per channel that cameras and scanners use of a file's 16

logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise Pillow's warnings about a file are printed


class PictureError(ValueError):
    """A file is not a usable image; the message states the reason in one line."""


@dataclass(frozen=True)
class Picture:
    """A decoded file, upright.

    Attributes:
        rgb: (H, W, 3) uint8.
        opaque: (H, W) bool, False where the image is transparent; None if no pixel is transparent.
    """

    rgb: np.ndarray
    opaque: np.ndarray | None = None


def read_picture(source: Path | bytes, rgb_unless_said: bool = False) -> Picture:
    """Reads the first frame of an image file with 8 bits per channel, and rotates it by its EXIF orientation.

    Args:
        source: a file, or the content of a file.
        rgb_unless_said: read a JPEG without a colour space marker as RGB instead of YCbCr.

    Raises:
        PictureError: the file is missing, damaged, not an image, too large to be decoded safely, or has 32 bits per
            channel.
    """
    decoded = _decode(source, rgb_unless_said)
    picture = decoded.picture
    if picture.mode in _TOO_DEEP:
        raise PictureError("not a readable picture (32 bits a pixel: save it with 8 or 16)")
    with _decoding():
        rgb = _colours(picture) if decoded.levels is None else eight_bits(decoded.levels, decoded.depth)
        rgb = rgb if rgb.ndim == 3 else rgb[..., None].repeat(3, axis=2)
        opaque, turn = _opaque(picture), _TURNS.get(picture.info[_TO_DO])
        if turn is None:
            return Picture(rgb, opaque)
        return Picture(_turned(rgb, turn), None if opaque is None else _turned(opaque, turn))


def open_picture(path: Path) -> Image.Image:
    """The decoded pixels of a file's first frame as stored, without rotation and in the file's own mode.

    Of colours with more than 8 bits per channel only the upper 8 are returned; `read_picture` uses all of them.

    Raises:
        PictureError: the file is missing, damaged, not an image, or too large to be decoded safely.
    """
    return _decode(path).picture


def turned(picture: Image.Image) -> bool:
    """Whether EXIF requires a rotation or mirroring of the stored pixels of an image from `open_picture`.

    True also if Pillow has already applied it, as it does for TIFF.
    """
    return picture.info[_ASKED] in _TURNS


def pages(picture: Image.Image) -> int:
    """Number of pages or frames in the file of an image from `open_picture`."""
    return picture.info[_PAGES]


def upright(picture: Image.Image) -> Image.Image:
    """An image from `open_picture`, rotated by its EXIF orientation.

    Only this tag is read. `PIL.ImageOps.exif_transpose` rewrites the whole EXIF block. That fails on tags that a camera
    has stored in a non-standard type, although the pixels are intact.
    """
    turn = _TURNS.get(picture.info[_TO_DO])
    return picture if turn is None else picture.transpose(turn)


def eight_bits(levels: np.ndarray, depth: int | None = None) -> np.ndarray:
    """Converts levels of up to 16 bits to uint8.

    Args:
        levels: unsigned integers of any shape.
        depth: number of bits that the levels use. By default it is the smallest of 8, 10, 12, 14 and 16 that contains
            the brightest level, because a file does not state that a camera used only 12 of its 16 bits. An image with
            16 bits whose brightest level is below a quarter of the range is therefore read as one with 14 bits, and so
            on.
    """
    if depth is None:
        used = int(levels.max()).bit_length()
        depth = next(depth for depth in _DEPTHS if depth >= used)
    return (levels >> max(0, depth - 8)).astype(np.uint8)


@contextmanager
def _decoding() -> Iterator[None]:
    """Turns all errors into PictureError: damaged files raise struct.error, KeyError, zlib.error, MemoryError, ..."""
    try:
        yield
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError("no such file") from error
    except Image.DecompressionBombError as error:
        raise PictureError("larger than 178 million pixels") from error
    except Exception as error:
        raise PictureError(f"not a readable picture ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The reason of an error in one line, without the path, which the caller adds."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "cannot identify image file: save it as PNG, TIFF or JPEG"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return (" ".join(str(error).split()) or type(error).__name__)[:160]


@dataclass(frozen=True)
class _Decoded:
    """The stored pixels in the file's own mode and, if they have more than 8 bits per channel, all their levels.

    levels: (H, W) or (H, W, 3) uint8 or uint16; depth: number of bits that they use, if the file states it.
    """

    picture: Image.Image
    levels: np.ndarray | None = None
    depth: int | None = None


def _decode(source: Path | bytes, rgb_unless_said: bool = False) -> _Decoded:
    with _decoding(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about metadata that do not affect the pixels
        data = source if isinstance(source, bytes) else source.read_bytes()
        file = Image.open(io.BytesIO(data), formats=_FORMATS)
        if max(file.size) > _LONGEST:
            raise PictureError(f"{file.width}x{file.height} pixels: at most {_LONGEST} per side are supported")
        # Pillow rotates a TIFF while loading it and drops the tag. With other formats, reading the tag may load it.
        asked = _orientation(file) if file.format == "TIFF" else None
        decoded = _plain_levels(file, data) or _load(file, data, rgb_unless_said)
        to_do = 1 if asked is not None else _orientation(file)
        picture = decoded.picture.copy()  # nothing more is read from the file
        picture.info |= {_ASKED: asked or to_do, _TO_DO: to_do, _PAGES: _pages(file)}
        return _Decoded(picture, decoded.levels, decoded.depth)


def _load(file: ImageFile.ImageFile, data: bytes, rgb_unless_said: bool) -> _Decoded:
    deep = _is_deep(file)
    white_is_zero = file.format == "TIFF" and file.tag_v2.get(262) == 0  # type: ignore[attr-defined]
    if rgb_unless_said and _says_nothing_of_colours(file):
        file.draft("YCbCr", file.size)  # skips the conversion to RGB
        return _Decoded(Image.frombytes("RGB", file.size, file.tobytes()))
    file.load()
    if file.mode.startswith("I;16"):
        levels = np.asarray(file).astype(np.uint16)
        # Pillow inverts such files with 8 bits, but not with 16.
        return _Decoded(file, ~eight_bits(levels) if white_is_zero else levels)
    return _deep_levels(file, data) if deep and file.mode not in _TOO_DEEP else _Decoded(file)


def _pages(file: ImageFile.ImageFile) -> int:
    try:
        return int(getattr(file, "n_frames", 1))
    except Exception:  # a damaged chain of pages; the first is decoded already
        return 1


def _orientation(picture: Image.Image) -> int:
    """The value of the EXIF tag; 1 (as stored) if it is absent, damaged or not a standard value."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
        asked = int(value[0] if isinstance(value, tuple) else value)
    except Exception:  # a damaged EXIF block is ignored
        return 1
    return asked if asked in _TURNS else 1


def _says_nothing_of_colours(file: ImageFile.ImageFile) -> bool:
    """Whether it is a JPEG with three channels and without JFIF marker, Adobe marker, or channels named R, G and B."""
    if file.format != "JPEG" or file.mode != "RGB" or file.info.keys() & {"jfif", "adobe"}:
        return False
    return [layer[0] for layer in file.layer] != list(b"RGB")  # type: ignore[attr-defined]


def _turned(array: np.ndarray, turn: Image.Transpose) -> np.ndarray:
    return np.asarray(Image.fromarray(array).transpose(turn))


def _colours(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8. Transparent pixels keep their stored colour."""
    if _has_transparency(picture):
        return np.asarray(picture.convert("RGBA"))[..., :3]
    return np.asarray(picture.convert("RGB"))


def _has_transparency(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info


def _opaque(picture: Image.Image) -> np.ndarray | None:
    """(H, W) bool: at least half as opaque as the most opaque pixel; None if this is true of all pixels."""
    if not _has_transparency(picture):
        return None
    if picture.mode.startswith("I;16"):
        opaque = np.asarray(picture) != picture.info["transparency"]
    else:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        opaque = alpha > 0 if not alpha.any() else alpha >= alpha.max() / 2
    return None if opaque.all() else opaque


def _plain_levels(file: ImageFile.ImageFile, data: bytes) -> _Decoded | None:
    """Reads PPM and PGM with more than 8 bits. Pillow is slow on these, reads colours with 8 bits, and grey with 32."""
    if file.format != "PPM" or file.mode not in ("RGB", "I") or file.tile[0].codec_name == "ppm_plain":
        return None
    args = file.tile[0].args
    maximum = 65535 if args == "I;16B" else args[-1] if isinstance(args, tuple) else 255
    if not isinstance(maximum, int) or maximum < 256:
        return None
    shape = (file.height, file.width, 3)[: 3 if file.mode == "RGB" else 2]
    count, start = math.prod(shape), file.tile[0].offset
    if len(data) < start + 2 * count:
        raise PictureError("not a readable picture (image file is truncated)")
    levels = np.frombuffer(data, ">u2", count, start).astype(np.uint16).reshape(shape)
    depth = None if maximum == 65535 else maximum.bit_length()
    return _Decoded(Image.fromarray(levels if levels.ndim == 2 else eight_bits(levels, depth)), levels, depth)


def _is_deep(file: ImageFile.ImageFile) -> bool:
    """Whether a file that is not yet loaded may have more than 8 bits per channel."""
    bits = file.tag_v2.get(258, 1) if file.format == "TIFF" else 1  # type: ignore[attr-defined]
    if max(bits if isinstance(bits, tuple) else (bits,)) > 8 or file.format == "JPEG2000":
        return True
    return any(";16" in str(tile.args) for tile in file.tile)


def _deep_levels(file: ImageFile.ImageFile, data: bytes) -> _Decoded:
    """All bits of a colour image of which Pillow reads the upper 8."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it warns about metadata
    wavelets = file.format == "JPEG2000"
    levels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if wavelets and (levels is None or levels.dtype != np.uint16):
        return _Decoded(file)  # only 8 bits
    if levels is not None and levels.dtype == np.uint16 and levels.ndim == 3 and file.mode in ("RGB", "RGBA"):
        levels = np.ascontiguousarray(levels[..., 2::-1])  # from BGR to RGB
        upper, opaque = np.asarray(file.convert("RGB")), _opaque(file)
        where = slice(None) if opaque is None else opaque
        # The levels are accepted if both decoders agree. JPEG 2000 may have fewer bits, which Pillow rounds so that
        # white can become black: hence the wrapped difference.
        for depth in (16, 14, 12, 10) if wavelets else (16,):
            shifted = (levels >> (depth - 8)).astype(np.uint8)
            if shifted.shape == upper.shape and (upper - shifted)[where].max(initial=0) <= int(wavelets):
                return _Decoded(file, levels, None if depth == 16 else depth)
    raise PictureError("not a readable picture (more than 8 bits per channel in an unusual layout: save it with 8)")


def stored_orientation(path: Path) -> int:
    """The EXIF orientation of a file, from 1 (upright or unknown) to 8. The pixels are not decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as picture:
                return _orientation(picture)
    except Exception:  # reported when the file is decoded
        return 1
