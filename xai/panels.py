"""Figures of saliency: an image with its map and vessels, and the mean maps of a cell.

Every figure is an image that includes its captions, with an alternative text (`Figure.alt`).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from xai.gradcam import saliency_maps
from xai.palette import ARTERY_COLOUR, LINE_COLOUR, VEIN_COLOUR, colours
from xai.planes import REGIONS
from xai.saliency import Scaling, vessel_saliency

_BLOCK = 64  # images per block: 26 MB of maps at 224x224
_INK, _QUIET, _PAPER = (29, 28, 26), (93, 89, 82), (255, 255, 255)
_LEFT_OUT = (86, 92, 100)  # a cool grey, which inferno does not contain; black would look like its zero
_MIDDLE, _ENGRAVED = (221, 81, 58), (122, 45, 32)  # inferno at 0.6, plain and engraved
_DENSE = 0.25  # share of the image inside the line on mean maps
_ENGRAVING, _DEEPEST = 1.6, 0.45  # contrast of engraved vessels, and the maximum share by which they darken a map
_FINEST = 0.6 / 224  # share of the image's side; finer detail is noise of the camera
_PLACES = (
    ("at the upper left", "at the top", "at the upper right"),
    ("at the left", "in the centre", "at the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)

_COLUMNS = 4  # tiles in a row
# Pixels. The text is large relative to the tiles, because a phone shows four of them at less than half size.
_TILE, _GAP, _MARGIN, _LINE_HEIGHT, _SWATCH, _BAR = 224, 10, 12, 28, 14, 110
_LARGE, _SMALL = 20, 17
_ROOM = _COLUMNS * (_TILE + _GAP) - _GAP  # width of every figure between its margins
PAIR_TILE = (_ROOM - _GAP) // 2  # side of the tiles of `map_panel`

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure and its alternative text.

    Attributes:
        rgb: (H, W, 3) uint8.
        alt: description of the figure in words.
    """

    rgb: np.ndarray
    alt: str


@dataclass(frozen=True, eq=False)
class MeanMap:
    """The mean map of a group of images.

    Attributes:
        values: (H, W) float64, at least 0; all zeros if `used` is 0.
        used: number of averaged maps.
        images: number of images in the group; maps that are empty or not finite are not averaged.
    """

    values: np.ndarray
    used: int
    images: int


@dataclass(frozen=True, eq=False)
class _Tile:
    caption: str
    note: str
    picture: np.ndarray  # (H, W, 3), 0..255


@dataclass(frozen=True, eq=False)
class _Key:
    """An entry of the legend: a swatch (h, w, 3) in 0..255 between two texts."""

    before: str
    swatch: np.ndarray
    after: str


def mean_maps(
    cams: np.ndarray, labels: np.ndarray, mirrored: np.ndarray, size: int, scaling: Scaling = "minmax"
) -> dict[str, MeanMap]:
    """Mean maps of all images, of the positives and of the negatives.

    An empty map (without evidence for the class) has no ratio and is left out; see `MeanMap.used`.

    Args:
        cams: (n, rows, columns) float, signed, as every method of `xai.methods` returns them; may be memory-mapped.
        labels: (n,) of 0/1.
        mirrored: (n,) bool, the images to be flipped left to right, so that left eyes match right eyes.
        size: side of the images in pixels.
        scaling: scaling of the maps, as in `xai.gradcam.saliency_maps`.

    Returns:
        The mean maps `all`, `positive` and `negative`, each (size, size).
    """
    totals, used = np.zeros((2, size, size)), np.zeros(2, int)
    for first in range(0, len(cams), _BLOCK):
        part = slice(first, first + _BLOCK)
        maps = saliency_maps(torch.from_numpy(np.array(cams[part])), size, scaling).numpy()
        there = np.isfinite(maps).all(axis=(1, 2)) & maps.any(axis=(1, 2))
        maps = np.where(mirrored[part, None, None], maps[:, :, ::-1], maps)
        for label in (0, 1):
            chosen = there & (labels[part] == label)
            totals[label] += maps[chosen].sum(axis=0, dtype=np.float64)
            used[label] += chosen.sum()
    groups = {"all": [0, 1], "positive": [1], "negative": [0]}
    return {
        name: MeanMap(
            values=totals[group].sum(axis=0) / max(1, used[group].sum()),
            used=int(used[group].sum()),
            images=int(np.isin(labels, group).sum()),
        )
        for name, group in groups.items()
    }


def mirrored_mean(pictures: np.ndarray, rows: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Mean of images or of coverage planes.

    Args:
        pictures: (N, H, W) or (N, H, W, 3); may be memory-mapped.
        rows: (n,) int, the ones to average.
        mirrored: (n,) bool, those of `rows` to be flipped left to right.

    Returns:
        (H, W) or (H, W, 3) float64; zeros for no rows.
    """
    total = np.zeros(pictures.shape[1:])
    for row, flip in zip(rows, mirrored, strict=True):
        total += pictures[row][:, ::-1] if flip else pictures[row]
    return total / max(1, len(rows))


def overlay(image: np.ndarray, saliency: np.ndarray, fov: np.ndarray, top: float) -> np.ndarray:
    """A map with the image's vessels engraved: structures that are narrow and darker than their surroundings.

    Engraved pixels keep more than half of the map's brightness, so that the map does not seem to avoid the vessels. No
    pixel becomes brighter, so that bright spots of the image do not look like saliency.

    Args:
        image: (H, W, 3) uint8.
        saliency: (H, W) float, at least 0.
        fov: (H, W) float in 0..1, coverage of the field of view; nothing is engraved outside it.
        top: value at the upper end of the colour scale.

    Returns:
        (H, W, 3) float in 0..255.
    """
    green = image[..., 1].astype(float)  # the channel in which vessels have the most contrast
    reach = len(green) / 40
    around = gaussian_filter(green * fov, reach) / np.maximum(gaussian_filter(fov, reach), 1e-6)
    contrast = (around - gaussian_filter(green, _FINEST * len(green))) / np.maximum(around, 1)
    depth = (_ENGRAVING * contrast).clip(0, _DEEPEST) * fov
    return colours(saliency, top) * (1 - depth[..., None])


def with_arcades(picture: np.ndarray, vessels: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) in 0..255 with a line around optic disc and arcades.

    Args:
        vessels: (H, W) float, the `mirrored_mean` of the vessels; all zeros for no line.
    """
    return _blend(picture, _plain(picture, LINE_COLOUR), _outline(_densest(vessels)))


def panel(
    image: np.ndarray,
    saliency: np.ndarray,
    planes: np.ndarray,
    name: str,
    facts: str,
    method: str = "Grad-CAM",
) -> Figure:
    """A figure of one image, its map, its vessels, and its map inside and outside them, as in the published study.

    All maps have the same colour scale, from 0 to the map's highest value. A pixel that is half inside a region is a
    mixture of the region's colour and the grey of left-out pixels. A line marks the edge of the field of view.

    Args:
        image: (H, W, 3) uint8.
        saliency: (H, W) float, at least 0.
        planes: (4, H, W) uint8 coverage of `xai.planes.REGIONS`.
        name: name of the image, shortened in the middle if it is too long.
        facts: the text below the name: label, score, ratio.
        method: name of the explanation method.

    Raises:
        ValueError: the map is not finite, or the arrays differ in size.
    """
    if not image.shape[:2] == saliency.shape == planes.shape[1:]:
        raise ValueError(
            f"{name}: image {image.shape}, map {saliency.shape} and planes {planes.shape} must have the same size"
        )
    if not np.isfinite(saliency).all():
        raise ValueError(f"{name}: its map is not finite, so it cannot be shown")
    share = dict(zip(REGIONS, planes / 255, strict=True))
    share["non_vessel"] = 1 - share["vessel"]
    means = {key: float(value[0]) for key, value in vessel_saliency(saliency[None], planes[None]).items()}
    top = float(saliency.max())
    heat, edge = colours(saliency, top), _outline(share["fov"])
    view = share["fov"].sum()
    artery, vein = (f"{100 * share[name].sum() / view:.1f} % of FOV" if view else "" for name in ("artery", "vein"))

    def inside(region: str, above: np.ndarray) -> np.ndarray:
        return _blend(_blend(_plain(heat, _LEFT_OUT), above, share[region]), _plain(heat, LINE_COLOUR), edge)

    tiles = [
        _Tile("Original", "", image),
        _Tile(method, "", _blend(overlay(image, saliency, share["fov"], top), _plain(heat, LINE_COLOUR), edge)),
        _Tile("Artery mask", artery, inside("artery", _plain(heat, ARTERY_COLOUR))),
        _Tile("Vein mask", vein, inside("vein", _plain(heat, VEIN_COLOUR))),
        *(
            _Tile(caption, _mean(means[region]), inside(region, heat))
            for region, caption in (
                ("artery", "Inside artery"),
                ("vein", "Inside vein"),
                ("vessel", "Inside both"),
                ("non_vessel", "Non-vessel"),
            )
        ),
    ]
    keys = [
        _bar(method, top),
        _Key("", _plain(_SQUARE, _LEFT_OUT), "left out"),
        _line("field of view", _LEFT_OUT, LINE_COLOUR),
        _line("dark detail of the image", _MIDDLE, _ENGRAVED),
    ]
    alt = (
        f"{name}, {facts}: image, {method}, artery mask, vein mask, and {method} inside arteries "
        f"({_mean(means['artery'])}), veins ({_mean(means['vein'])}), both ({_mean(means['vessel'])}) and non-vessel "
        f"({_mean(means['non_vessel'])}). {method} peaks {_place(saliency)}."
    )
    return Figure(_compose(name, facts, tiles, keys), " ".join(alt.split()))


def map_panel(
    image: np.ndarray, saliency: np.ndarray, fov: np.ndarray, name: str, facts: str, method: str = "Grad-CAM"
) -> Figure:
    """A figure of an image without vessel masks next to its map, on a colour scale from 0 to the map's highest value.

    Args:
        image: (H, W, 3) uint8; `PAIR_TILE` pixels per side are shown without resizing.
        saliency: (H, W) float, at least 0; all zeros for an image without evidence for the class.
        fov: (H, W) uint8 coverage of the field of view.
        name: name of the image, shortened in the middle if it is too long.
        facts: the text below the name: model, score, decision.
        method: name of the explanation method.

    Raises:
        ValueError: the map is not finite, or the arrays differ in size.
    """
    if not image.shape[:2] == saliency.shape == fov.shape:
        raise ValueError(f"{name}: image {image.shape}, map {saliency.shape} and FOV {fov.shape} differ in size")
    if not np.isfinite(saliency).all():
        raise ValueError(f"{name}: its map is not finite, so it cannot be shown")
    top, share = float(saliency.max()), fov / 255
    heat = overlay(image, saliency, share, top)
    tiles = [
        _Tile("Original", "", image),
        _Tile(
            method, "" if top else "no evidence for the class", _blend(heat, _plain(heat, LINE_COLOUR), _outline(share))
        ),
    ]
    keys = [_bar(method, top)] if top else []
    keys += [_line("field of view", _LEFT_OUT, LINE_COLOUR), _line("dark detail of the image", _MIDDLE, _ENGRAVED)]
    peak = f"{method} peaks {_place(saliency)}." if top else f"{method} is zero everywhere."
    return Figure(_compose(name, facts, tiles, keys, columns=2), f"{name}, {facts}: image and {method}. {peak}")


def mean_panel(
    maps: dict[str, MeanMap],
    image: np.ndarray,
    vessels: np.ndarray,
    name: str,
    facts: str,
    method: str = "Grad-CAM",
) -> Figure:
    """A figure of the mean image and the mean maps, which share a colour scale from 0 to the highest mean.

    A line encloses the quarter of the image with the most frequent vessels: optic disc and arcades.

    Args:
        maps: the mean maps from `mean_maps`.
        image: (H, W, 3) float in 0..255, the `mirrored_mean` of the images.
        vessels: (H, W) float, the `mirrored_mean` of their vessels; all zeros for no line.
        name: the title, shortened in the middle if it is too long.
        facts: the text below the title.
        method: name of the explanation method.
    """
    top = max(float(one.values.max()) for one in maps.values())
    tiles, peaks = [_Tile("Mean image", "", with_arcades(image, vessels))], []
    for group, caption in (("all", "All"), ("positive", "Positives"), ("negative", "Negatives")):
        one = maps[group]
        n = f"n = {one.used}" if one.used == one.images else f"n = {one.used} of {one.images}"
        if one.used:
            tiles.append(_Tile(caption, n, with_arcades(colours(one.values, top), vessels)))
            peaks.append(f"{caption.lower()} ({n}): peaks {_place(one.values)}")
        else:
            tiles.append(_Tile(caption, n, _plain(one.values, _LEFT_OUT)))
            peaks.append(f"{caption.lower()} ({n}): no map")
    keys = [_bar(f"Mean {method}", top)] if top else []
    if vessels.any():
        keys.append(_line("where vessels are most frequent", _LEFT_OUT, LINE_COLOUR))
    if not all(one.used for one in maps.values()):
        keys.append(_Key("", _plain(_SQUARE, _LEFT_OUT), "no map"))
    alt = f"{name}, {facts}: mean image and mean {method}; {'; '.join(peaks)}."
    return Figure(_compose(name, facts, tiles, keys), " ".join(alt.split()))


def _mean(value: float) -> str:
    return "no mean" if np.isnan(value) else f"mean {_number(value)}"


def _number(value: float) -> str:
    """Two significant digits."""
    return f"{value:#.2g}".rstrip(".")


def _place(saliency: np.ndarray) -> str:
    """The ninth of the image in which a map has its maximum."""
    height, width = saliency.shape
    row, column = divmod(int(saliency.argmax()), width)
    return _PLACES[3 * row // height][3 * column // width]


def _blend(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A mixture of `above` with weight `share`, (H, W) in 0..1, and `below`."""
    return below + share[..., None] * (above - below)


def _plain(like: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((*like.shape[:2], 3), colour, dtype=float)


def _densest(vessels: np.ndarray) -> np.ndarray:
    """The part of the image with the most frequent vessels, as coverage of 0 and 1."""
    smooth = gaussian_filter(vessels, len(vessels) / 32)
    return (smooth > np.quantile(smooth, 1 - _DENSE)).astype(float)


def _outline(region: np.ndarray) -> np.ndarray:
    """The coverage by a line of about two pixels along the edge of a region (H, W), given as coverage."""
    smooth = gaussian_filter((region >= 0.5).astype(float), 0.7)
    return 0.9 * 4 * smooth * (1 - smooth)


_SQUARE = np.zeros((_SWATCH, _SWATCH))


def _bar(what: str, top: float) -> _Key:
    return _Key(f"{what} 0", colours(np.tile(np.linspace(0, 1, _BAR), (_SWATCH, 1)), 1), _number(top))


def _line(what: str, ground: tuple[int, int, int], line: tuple[int, int, int]) -> _Key:
    swatch = _plain(_SQUARE, ground)
    swatch[_SWATCH // 2 - 1 : _SWATCH // 2 + 1] = line
    return _Key("", swatch, what)


def _compose(
    name: str, facts: str, tiles: Sequence[_Tile], keys: Sequence[_Key], columns: int = _COLUMNS
) -> np.ndarray:
    """Name and facts, tiles in rows under their captions, and the legend: (H, W, 3) uint8."""
    room = _ROOM
    tile = (room + _GAP) // columns - _GAP
    name, facts = _one_line(name), _one_line(facts)
    large, small = (ImageFont.load_default(size) for size in (_LARGE, _SMALL))
    heading, under = _font(name, _LARGE), _font(facts, _SMALL)
    facts_lines = _wrap(facts, under, room)
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    most = (1 + len(facts_lines) + len(keys)) * _LINE_HEIGHT + len(rows) * (_LINE_HEIGHT + tile + _GAP) + 3 * _MARGIN
    canvas = Image.new("RGB", (room + 2 * _MARGIN, most), _PAPER)
    draw = ImageDraw.Draw(canvas)
    baseline = round(0.72 * _LINE_HEIGHT)

    y = _MARGIN
    draw.text((_MARGIN, y + baseline), _shorten(name, heading, room), _INK, heading, "ls")
    for text in facts_lines:
        y += _LINE_HEIGHT
        draw.text((_MARGIN, y + baseline), text, _QUIET, under, "ls")
    y += _LINE_HEIGHT + _GAP // 2
    for row in rows:
        for column, one in enumerate(row):
            x = _MARGIN + column * (tile + _GAP)
            left = tile - small.getlength(one.note) - _GAP
            draw.text((x, y + baseline), _shorten(one.caption, large, left), _INK, large, "ls")
            draw.text((x + tile, y + baseline), one.note, _QUIET, small, "rs")
            _paste(canvas, one.picture, (x, y + _LINE_HEIGHT, tile, tile))
        y += _LINE_HEIGHT + tile + _GAP
    x = _MARGIN
    for key in keys:
        before, after = small.getlength(key.before), small.getlength(key.after)
        height, width = key.swatch.shape[:2]
        if x > _MARGIN and x + before + width + after + 2 * _GAP > _MARGIN + room:
            x, y = _MARGIN, y + _LINE_HEIGHT
        draw.text((x, y + baseline), key.before, _QUIET, small, "ls")
        x += round(before) + _GAP * bool(key.before)
        _paste(canvas, key.swatch, (x, y + baseline - height + 1, width, height))
        x += width + _GAP
        draw.text((x, y + baseline), key.after, _QUIET, small, "ls")
        x += round(after) + 2 * _GAP
    return np.asarray(canvas)[: y + _LINE_HEIGHT + _MARGIN // 2]


def _paste(canvas: Image.Image, picture: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """Pastes an image (H, W, 3) in 0..255, resized to the box (x, y, width, height)."""
    x, y, width, height = box
    values = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    canvas.paste(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC), (x, y))


def _one_line(text: str) -> str:
    """The text in one line, in Unicode NFC; bytes of a file name that are not UTF-8 become question marks."""
    return unicodedata.normalize("NFC", " ".join(text.split())).encode(errors="replace").decode()


def _font(text: str, size: int) -> _Font:
    """Pillow's default font for ASCII text; for other text DejaVu Sans, which is part of matplotlib.

    Neither needs system fonts. Characters missing in DejaVu Sans, such as Chinese, are shown as boxes.
    """
    if text.isascii():
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _shorten(text: str, font: _Font, room: float) -> str:
    """The text, with as much of its middle left out as needed to fit into `room` pixels."""
    kept = text
    while kept and font.getlength(text) > room:
        kept = kept[: len(kept) // 2] + kept[len(kept) // 2 + 1 :]
        text = f"{kept[: len(kept) // 2]}…{kept[len(kept) // 2 :]}"
    return text


def _wrap(text: str, font: _Font, room: float) -> list[str]:
    """The text in lines of at most `room` pixels, broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(_shorten(word, font, room))
    return lines
