"""Opening picture files: what a decoder raises becomes one kind of error, and only the orientation is read of EXIF."""

import warnings
from pathlib import Path

from PIL import Image

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


class PictureError(ValueError):
    """A file that is not a usable picture; the message says why in one line."""


def open_picture(path: Path) -> Image.Image:
    """The decoded pixels of a file's first frame, as they are stored: not turned, in the file's own mode.

    Raises:
        PictureError: missing, damaged, not a picture, or too large to be decoded safely.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that the pixels do not depend on
            picture = Image.open(path)
            picture.load()
            return picture
    except FileNotFoundError as error:
        raise PictureError("no such file") from error
    except Image.DecompressionBombError as error:
        raise PictureError("larger than 178 million pixels") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to: struct.error, KeyError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"not a readable picture ({reason[:160]})") from error


def turned(picture: Image.Image) -> bool:
    """Whether EXIF asks to turn or mirror the stored pixels."""
    return _turn(picture) is not None


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned the way its EXIF orientation tag says.

    Only that tag is read. `PIL.ImageOps.exif_transpose` writes the whole EXIF block anew, which fails on tags that a
    camera has stored in another type than the standard's although the pixels are sound.
    """
    turn = _turn(picture)
    return picture if turn is None else picture.transpose(turn)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    try:
        value = picture.getexif().get(_ORIENTATION)
        return _TURNS.get(int(value)) if value is not None else None
    except Exception:  # a damaged EXIF block asks for nothing; the pixels are decoded already
        return None


def stored_orientation(path: Path) -> int:
    """How EXIF says a file's stored pixels are turned, which are not decoded: 1 (upright, or it does not say) to 8."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                value = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # whoever decodes the file reports what is wrong with it
        return 1
    return value if value in _TURNS else 1
