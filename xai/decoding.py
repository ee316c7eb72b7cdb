"""Opening picture files: what a decoder raises becomes one kind of error, and only the orientation is read of EXIF."""

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

# What images and masks are stored in. Others are left out: Pillow runs programs to draw some of them.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "PPM", "JPEG2000", "AVIF", "TGA", "PCX", "SGI", "PSD")
_ORIENTATION = 0x0112  # EXIF tag 274
# What each value of the tag asks for, as Pillow's operation; 1 and anything undefined ask for none.
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
_LONGEST = 32_767  # px a side; damaged headers ask for more, and take long to decode
_TOO_DEEP = ("I", "F")  # Pillow's modes of 32 bits a pixel
_DEPTHS = (8, 10, 12, 14, 16)  # bits a channel that cameras and scanners fill of a file's 16

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its complaints about a file reach the screen


class PictureError(ValueError):
    """A file that is not a usable picture; the message says why in one line."""


@dataclass(frozen=True)
class Picture:
    """A decoded file, upright.

    rgb: (H, W, 3) uint8. opaque: (H, W) bool, False where the picture is transparent; None where all of it is opaque.
    """

    rgb: np.ndarray
    opaque: np.ndarray | None = None


def read_picture(source: Path | bytes, rgb_unless_said: bool = False) -> Picture:
    """The first frame of a file as colours of 8 bits a channel, turned the way its EXIF block says.

    Args:
        source: a file, or the content of one.
        rgb_unless_said: what a JPEG holds that says nothing of its colours: RGB instead of YCbCr.

    Raises:
        PictureError: missing, damaged, not a picture, too large to be decoded safely, or of 32 bits a channel.
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
    """The decoded pixels of a file's first frame, as they are stored: not turned, in the file's own mode.

    Colours of more than 8 bits a channel come with the upper 8; `read_picture` uses all of them.

    Raises:
        PictureError: missing, damaged, not a picture, or too large to be decoded safely.
    """
    return _decode(path).picture


def turned(picture: Image.Image) -> bool:
    """Whether EXIF asks to turn or mirror the stored pixels of what `open_picture` returned.

    Also where Pillow has done it already, as it does with TIFF.
    """
    return picture.info[_ASKED] in _TURNS


def pages(picture: Image.Image) -> int:
    """How many pages, or frames, the file has of which `open_picture` returned the first."""
    return picture.info[_PAGES]


def upright(picture: Image.Image) -> Image.Image:
    """What `open_picture` returned, turned the way its EXIF orientation tag says.

    Only that tag is read. `PIL.ImageOps.exif_transpose` writes the whole EXIF block anew, which fails on tags that a
    camera has stored in another type than the standard's although the pixels are sound.
    """
    turn = _TURNS.get(picture.info[_TO_DO])
    return picture if turn is None else picture.transpose(turn)


def eight_bits(levels: np.ndarray, depth: int | None = None) -> np.ndarray:
    """Levels of up to 16 bits as uint8.

    Args:
        levels: unsigned integers of any shape.
        depth: bits that the levels can use. By default the least of 8, 10, 12, 14 and 16 that holds the brightest
            level, since a file does not say that a camera filled 12 of its 16 bits. A picture of 16 bits whose
            brightest level is below a quarter of the range is therefore taken for one of 14, and so on.
    """
    if depth is None:
        used = int(levels.max()).bit_length()
        depth = next(depth for depth in _DEPTHS if depth >= used)
    return (levels >> max(0, depth - 8)).astype(np.uint8)


@contextmanager
def _decoding() -> Iterator[None]:
    """Decoders raise whatever a damaged file leads them to: struct.error, KeyError, zlib.error, MemoryError, ..."""
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
    """What went wrong, in one line and without the path, which whoever reports it adds."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "cannot identify image file: save it as PNG, TIFF or JPEG"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return (" ".join(str(error).split()) or type(error).__name__)[:160]


@dataclass(frozen=True)
class _Decoded:
    """The stored pixels in the file's own mode; of more than 8 bits a channel also the levels, and their depth.

    levels: (H, W) or (H, W, 3) uint8 or uint16. depth: bits that they can use, where the file says it.
    """

    picture: Image.Image
    levels: np.ndarray | None = None
    depth: int | None = None


def _decode(source: Path | bytes, rgb_unless_said: bool = False) -> _Decoded:
    with _decoding(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that the pixels do not depend on
        data = source if isinstance(source, bytes) else source.read_bytes()
        file = Image.open(io.BytesIO(data), formats=_FORMATS)
        if max(file.size) > _LONGEST:
            raise PictureError(f"{file.width}x{file.height} pixels: at most {_LONGEST} a side are read")
        # Pillow turns a TIFF itself while it loads, and forgets that it did. Of others, asking first may load them.
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
        file.draft("YCbCr", file.size)  # leaves out the conversion to RGB
        return _Decoded(Image.frombytes("RGB", file.size, file.tobytes()))
    file.load()
    if file.mode.startswith("I;16"):
        levels = np.asarray(file).astype(np.uint16)
        # Pillow minds that of 8 bits and not of 16.
        return _Decoded(file, ~eight_bits(levels) if white_is_zero else levels)
    return _deep_levels(file, data) if deep and file.mode not in _TOO_DEEP else _Decoded(file)


def _pages(file: ImageFile.ImageFile) -> int:
    try:
        return int(getattr(file, "n_frames", 1))
    except Exception:  # a damaged chain of pages; the first is decoded already
        return 1


def _orientation(picture: Image.Image) -> int:
    """The EXIF tag's value; 1, as stored, where it is absent, damaged or not of the standard's values."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
        asked = int(value[0] if isinstance(value, tuple) else value)
    except Exception:  # a damaged EXIF block asks for nothing
        return 1
    return asked if asked in _TURNS else 1


def _says_nothing_of_colours(file: ImageFile.ImageFile) -> bool:
    """Whether it is a JPEG of three channels without JFIF marker, Adobe marker, or channels named R, G and B."""
    if file.format != "JPEG" or file.mode != "RGB" or file.info.keys() & {"jfif", "adobe"}:
        return False
    return [layer[0] for layer in file.layer] != list(b"RGB")  # type: ignore[attr-defined]


def _turned(array: np.ndarray, turn: Image.Transpose) -> np.ndarray:
    return np.asarray(Image.fromarray(array).transpose(turn))


def _colours(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8. What is transparent keeps the colour stored there."""
    if _has_transparency(picture):
        return np.asarray(picture.convert("RGBA"))[..., :3]
    return np.asarray(picture.convert("RGB"))


def _has_transparency(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info


def _opaque(picture: Image.Image) -> np.ndarray | None:
    """(H, W) bool: no less than half as opaque as the most opaque pixel; None where that is all of the picture."""
    if not _has_transparency(picture):
        return None
    if picture.mode.startswith("I;16"):
        opaque = np.asarray(picture) != picture.info["transparency"]
    else:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        opaque = alpha > 0 if not alpha.any() else alpha >= alpha.max() / 2
    return None if opaque.all() else opaque


def _plain_levels(file: ImageFile.ImageFile, data: bytes) -> _Decoded | None:
    """PPM and PGM of more than 8 bits, which Pillow reads slowly, colours with 8, and grey levels with 32."""
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
    """Whether a file that is not loaded yet may have more than 8 bits a channel."""
    bits = file.tag_v2.get(258, 1) if file.format == "TIFF" else 1  # type: ignore[attr-defined]
    if max(bits if isinstance(bits, tuple) else (bits,)) > 8 or file.format == "JPEG2000":
        return True
    return any(";16" in str(tile.args) for tile in file.tile)


def _deep_levels(file: ImageFile.ImageFile, data: bytes) -> _Decoded:
    """All bits of a colour picture of which Pillow reads the upper 8."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it complains about metadata
    wavelets = file.format == "JPEG2000"
    levels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if wavelets and (levels is None or levels.dtype != np.uint16):
        return _Decoded(file)  # it has only 8
    if levels is not None and levels.dtype == np.uint16 and levels.ndim == 3 and file.mode in ("RGB", "RGBA"):
        levels = np.ascontiguousarray(levels[..., 2::-1])  # blue comes first
        upper, opaque = np.asarray(file.convert("RGB")), _opaque(file)
        where = slice(None) if opaque is None else opaque
        # Two decoders that agree have read the file as it is meant. JPEG 2000 may hold fewer bits, which Pillow rounds,
        # white to black: hence the wrapped difference.
        for depth in (16, 14, 12, 10) if wavelets else (16,):
            shifted = (levels >> (depth - 8)).astype(np.uint8)
            if shifted.shape == upper.shape and (upper - shifted)[where].max(initial=0) <= int(wavelets):
                return _Decoded(file, levels, None if depth == 16 else depth)
    raise PictureError("not a readable picture (more than 8 bits a channel in an unusual layout: save it with 8)")


def stored_orientation(path: Path) -> int:
    """How EXIF says a file's stored pixels are turned, which are not decoded: 1 (upright, or it does not say) to 8."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as picture:
                return _orientation(picture)
    except Exception:  # whoever decodes the file reports what is wrong with it
        return 1
