"""Reads mask files: which pixels are inside (artery, vein, optic disc, field of view).

Files are read by the following rules. Any other file is refused, because a guess could silently give wrong numbers.

* Two values (including 0 and 1): the brighter one is inside.
* More grey levels (probabilities, antialiased edges, JPEG): inside is above half of the range of 1, 255 or 65535.
* Transparency: if all visible pixels have one colour, they are inside; otherwise transparent pixels count as black.
* One colour on black: like grey levels.
* For artery and vein: a map in red (artery), blue (vein) and green, magenta or white (both) on black.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from xai.decoding import PictureError, open_picture, pages, turned, upright

READING = "of two values the brighter, else above half of the range; colour maps: red artery, blue vein"
_LABELS = 15  # whole numbers up to this are labels of classes, not grey levels
_FEW = 16  # number of grey levels between black and white up to which they may be classes
_IN_AREAS = 0.2  # share of such pixels in uniform areas: nearly all for a class, hardly any for an antialiased edge
_NEAR = 0.1  # share of the range within which a level counts as black, or as white
_GREY = 16  # of 255: largest difference between the channels of a grey JPEG
_ONE_COLOUR = 32  # of 255: largest variation of the channels of visible pixels with one colour
_OUTLIERS = 0.1  # per cent of the pixels that may exceed these limits
_BLACK, _RED, _BLUE = 0x000000, 0xFF0000, 0x0000FF
_BOTH = {0x00FF00, 0xFF00FF, 0xFFFFFF}  # crossings and undecided vessels (AutoMorph, HRF, RITE, LES-AV)
_PARTS = {"artery_mask": _RED, "vein_mask": _BLUE}
_WHITE_ON_BLACK = "save the mask as white on black"


class MaskError(ValueError):
    """A mask file cannot be used; the message names the file and the fix in one line."""


def read_mask(column: str, path: Path) -> tuple[np.ndarray, bool]:
    """Reads a mask file.

    Args:
        column: the manifest's column that names the file; for `artery_mask` and `vein_mask`, maps in red and blue are
            accepted.
        path: the file.

    Returns:
        (h, w) bool, True inside, rotated by the file's own EXIF orientation; and whether the file has one.

    Raises:
        MaskError: the file is missing, damaged or not an image, or it is not clear which pixels are inside.
    """
    try:
        picture = open_picture(path)
        if pages(picture) > 1:
            raise MaskError(f"it has {pages(picture)} pages: save one mask per file")
        return np.ascontiguousarray(_inside(upright(picture), _PARTS.get(column))), turned(picture)
    except PictureError as error:
        raise MaskError(f"{column} {path}: cannot be read as a mask ({error})") from error
    except MaskError as error:
        raise MaskError(f"{column} {path}: {error}") from error


def _inside(picture: Image.Image, part: int | None) -> np.ndarray:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        return _above_half(np.asarray(picture))
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _visible(_converted(picture, "RGBA"), part)
    if picture.mode in ("1", "L"):
        return _above_half(np.asarray(picture.convert("L")))
    return _coloured(_converted(picture, "RGB"), part)


def _converted(picture: Image.Image, mode: str) -> np.ndarray:
    """(h, w, channels) uint8."""
    try:
        if mode == "RGBA" and picture.mode in ("La", "RGBa"):  # colours multiplied by alpha
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
        return np.asarray(picture.convert(mode))
    except Exception as error:  # palettes and transparency can be damaged
        raise MaskError(f"its pixels ({picture.mode}) cannot be read as colours: {_WHITE_ON_BLACK}") from error


def _visible(pixels: np.ndarray, part: int | None) -> np.ndarray:
    """The mask in (h, w, 4) pixels: alpha if only alpha varies; otherwise transparent pixels count as black."""
    colours, alpha = pixels[..., :3], pixels[..., 3]
    if alpha.min() == alpha.max():
        if not alpha.any():
            raise MaskError("all of it is transparent: save the mask without transparency")
        return _coloured(colours, part)
    seen = colours[alpha >= 128]
    if not len(seen) or _spread(seen, axis=0).max() <= _ONE_COLOUR:
        return _above_half(alpha)
    shown = colours * (alpha[..., None] / np.float32(255))
    return _coloured(np.round(shown).astype(np.uint8), part)


def _spread(values: np.ndarray, axis: int) -> np.ndarray:
    low, high = np.percentile(values, (_OUTLIERS, 100 - _OUTLIERS), axis=axis)
    return np.asarray(high - low)


def _coloured(rgb: np.ndarray, part: int | None) -> np.ndarray:
    """The mask in (h, w, 3) uint8 colours."""
    apart = rgb.max(axis=2) - rgb.min(axis=2)
    if not apart.any():
        return _above_half(rgb[..., 0])
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours = np.unique(packed)
    if len(colours) <= 2:
        return _of_two(packed, colours)
    if len(colours) > _FEW and np.percentile(apart, 100 - _OUTLIERS) <= _GREY:
        return _above_half(rgb.max(axis=2))
    if part is not None and {_RED, _BLUE} <= set(colours.tolist()) <= {_BLACK, _RED, _BLUE, *_BOTH}:
        return np.isin(packed, [part, *_BOTH])
    return _above_half(_along_one_colour(rgb, len(colours), part))


def _of_two(packed: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The mask in one or two colours: the colour that is not black, or that is clearly brighter than the other."""
    if colours[0] == _BLACK:
        return packed != _BLACK
    if len(colours) == 1:
        return np.ones(packed.shape, bool)
    red, green, blue = (colours.astype(np.int64) >> shift & 255 for shift in (16, 8, 0))
    dark, bright = np.argsort(luma := 0.299 * red + 0.587 * green + 0.114 * blue)
    if luma[bright] - luma[dark] < 128:
        names = " and ".join(f"#{colour:06x}" for colour in colours.tolist())
        raise MaskError(f"it is not clear which of its two colours ({names}) is inside: {_WHITE_ON_BLACK}")
    return packed == colours[bright]


def _along_one_colour(rgb: np.ndarray, colours: int, part: int | None) -> np.ndarray:
    """Levels (h, w) of an image in shades of one colour, from black to the brightest shade."""
    levels = rgb.max(axis=2)
    brightest = rgb[levels >= 0.9 * levels.max()].astype(np.float32).mean(axis=0)
    expected = levels[..., None] * (brightest / brightest.max())
    apart = np.percentile(np.abs(rgb - expected).max(axis=2), 100 - (_OUTLIERS if colours > _FEW else 0))
    if apart > _ONE_COLOUR:
        either = ", or a map of pure red arteries, blue veins and green crossings as PNG" if part is not None else ""
        raise MaskError(f"it has {colours} colours, and it is not clear which are inside: {_WHITE_ON_BLACK}{either}")
    return levels


def _above_half(levels: np.ndarray) -> np.ndarray:
    """The mask in an (h, w) array of grey levels, integer or float."""
    if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > 65535:
        raise MaskError(f"its values are not grey levels (0 to 1, to 255 or to 65535): {_WHITE_ON_BLACK}")
    # Most masks have 8 bits, and counting is ten times faster than sorting.
    values = np.flatnonzero(np.bincount(levels.ravel())) if levels.dtype == np.uint8 else np.unique(levels)
    top = _top(levels.dtype, values[-1])
    if len(values) <= 2:
        return _of_two_levels(levels, values, top)
    if values[-1] <= _LABELS and not (values % 1).any():
        raise MaskError(f"its values ({_listed(values)}) look like labels of several classes: {_WHITE_ON_BLACK}")
    if values[-1] <= top / 2:
        raise MaskError(
            f"its brightest value, {values[-1]:g}, is below half of the range (0 to {top}): scale it to the whole range"
        )
    middle = values[(values > _NEAR * top) & (values < (1 - _NEAR) * top)]
    between = (levels > _NEAR * top) & (levels < (1 - _NEAR) * top)
    if between.mean() > 0.5:
        raise MaskError(f"more than half of it is neither black nor white, as in an image: {_WHITE_ON_BLACK}")
    one_between = len(values) == 3 and len(middle) == 1
    if one_between or (len(middle) <= _FEW and _share_in_areas(levels, between) > _IN_AREAS):
        raise MaskError(f"its grey levels ({_listed(values)}) look like several classes: {_WHITE_ON_BLACK}")
    return levels > top / 2


def _top(kind: np.dtype, highest: float) -> int:
    """The upper end of the range of values of this dtype with this maximum."""
    if kind.kind == "f" and highest <= 1:
        return 1
    return 255 if highest <= 255 else 65535


def _of_two_levels(levels: np.ndarray, values: np.ndarray, top: int) -> np.ndarray:
    if values[0] == 0:
        return levels > 0
    if len(values) == 2 and values[1] - values[0] < top / 2:
        raise MaskError(f"it is not clear which of its two values ({_listed(values)}) is inside: {_WHITE_ON_BLACK}")
    return levels == values[-1]


def _share_in_areas(levels: np.ndarray, chosen: np.ndarray) -> float:
    """The share of the chosen pixels that lie in a square of 2x2 pixels with the same value."""
    corner = levels[:-1, :-1]
    same = (corner == levels[1:, :-1]) & (corner == levels[:-1, 1:]) & (corner == levels[1:, 1:])
    inside = np.zeros(levels.shape, bool)
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            inside[rows, columns] |= same
    return float((inside & chosen).sum() / max(1, chosen.sum()))


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6].tolist())
    return shown + (", ..." if len(values) > 6 else "")
