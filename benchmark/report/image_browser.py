"""What the image browser of a trial's page reads: images and masks as files, maps and values as one script.

Images and masks are shared by all trials. Maps are so coarse (16x16) that those of ten thousand images are a few
megabytes, and are enlarged where they are shown.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from scipy.ndimage import binary_erosion

from benchmark.storage.disk import whole
from benchmark.storage.rundir import write_text
from xai.gradcam import saliency_maps
from xai.palette import ARTERY_COLOUR, LINE_COLOUR, VEIN_COLOUR, colours
from xai.saliency import Scaling
from xai.vessels import REGIONS

FINEST = 32  # cells of a map's grid along each side; finer maps are shown on this grid
_QUALITY = 85  # of JPEG
_BATCH = 256


@dataclass(frozen=True)
class Column:
    """A value of every image: its name in the script, what a reader calls it, and decimals (None: text)."""

    name: str
    title: str
    digits: int | None = None


def file_name(position: int) -> str:
    """What the files of a test image are called: names in a manifest may hold anything."""
    return f"{position:06d}"


def write_pictures(
    folder: Path, images: np.ndarray, rows: np.ndarray, regions: np.ndarray, with_masks: np.ndarray
) -> None:
    """Write `images/<position>.jpg` and, where an image has them, `masks/<position>.png`; files that exist are kept.

    Args:
        images: (N, H, W, 3) uint8; may be memory-mapped.
        rows: (n,) the test images among them, in their order.
        regions: (n, 4, H, W) uint8 coverage of `REGIONS`.
        with_masks: (n,) bool.
    """
    for position, row in enumerate(rows):
        image = folder / "images" / f"{file_name(position)}.jpg"
        if not image.is_file():
            with whole(image) as draft:
                Image.fromarray(np.asarray(images[row])).save(draft, format="JPEG", quality=_QUALITY)
        masks = folder / "masks" / f"{file_name(position)}.png"
        if with_masks[position] and not masks.is_file():
            with whole(masks) as draft:
                _masks(np.asarray(regions[position])).save(draft, format="PNG", optimize=True)


def _masks(planes: np.ndarray) -> Image.Image:
    """Arteries, veins and the edge of the field of view in the colours of the panels, everything else transparent."""
    artery, vein, fov = (planes[REGIONS.index(region)] >= 128 for region in ("artery", "vein", "fov"))
    edge = fov & ~binary_erosion(fov)
    drawn = np.select([artery, vein, edge], [1, 2, 3]).astype(np.uint8)
    indexed = Image.fromarray(drawn, mode="P")
    indexed.putpalette([0, 0, 0, *ARTERY_COLOUR, *VEIN_COLOUR, *LINE_COLOUR])
    indexed.info["transparency"] = 0
    return indexed


def write_data(
    path: Path,
    table: pl.DataFrame,
    cams: np.ndarray,
    scaling: Scaling,
    threshold: float,
    folder: str,
    shown: list[Column],
) -> None:
    """Write the script that hands the browser its data.

    Args:
        table: one row per test image, in their order: image, patient, label, score, ratio, flags, masked (bool) and the
            columns of `shown`.
        cams: (n, rows, columns) signed maps, NaN where there is none.
        scaling: of the study's maps.
        threshold: scores at or above it are predicted positive.
        folder: from the page to what `write_pictures` wrote.
        shown: what an enlarged image lists.
    """
    levels, mapped = grid_levels(cams, scaling)
    data: Mapping[str, Any] = {
        **{name: _plain(table[name]) for name in table.columns},
        "file": [file_name(position) for position in range(len(table))],
        "mapped": mapped.tolist(),
        "maps": _encoded(levels),
        "grid": list(levels.shape[1:]),
        "palette": _encoded(colours(np.arange(256), 255).round().astype(np.uint8)),
        "threshold": threshold if np.isfinite(threshold) else 2,  # no score is so high
        "folder": folder,
        "shown": [[column.name, column.title, column.digits] for column in shown],
    }
    # A script and not JSON: a page opened from a disk may load no other file as data.
    write_text(path, f"window.BROWSER = {json.dumps(data, allow_nan=False)};\n")


def grid_levels(cams: np.ndarray, scaling: Scaling) -> tuple[np.ndarray, np.ndarray]:
    """Maps on their own grid, or one of `FINEST` cells along each side where that is finer.

    Args:
        cams: (n, rows, columns) signed maps.

    Returns:
        (n, side, side) uint8, 255 for the highest value of each map; and (n,) bool, which images have a map.
    """
    side = min(FINEST, cams.shape[1])
    levels = np.zeros((len(cams), side, side), np.uint8)
    mapped = np.isfinite(cams).all(axis=(1, 2))
    for start in range(0, len(cams), _BATCH):
        part = slice(start, start + _BATCH)
        signed = torch.from_numpy(np.nan_to_num(np.asarray(cams[part], dtype=np.float32)))
        if side < cams.shape[1]:
            signed = torch.nn.functional.adaptive_avg_pool2d(signed.clamp(min=0)[:, None], side)[:, 0]
        maps = saliency_maps(signed, side, scaling).numpy()
        highest = maps.max(axis=(1, 2), keepdims=True)
        levels[part] = (255 * np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)).round()
    return levels, mapped


def _encoded(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _plain(column: pl.Series) -> list[Any]:
    """Values as JSON has them; numbers to six digits, which is finer than any is shown."""
    if column.dtype.is_float():
        return [None if value is None else float(f"{value:.6g}") for value in column.fill_nan(None).to_list()]
    return column.to_list()
