"""Saliency in regions other than the vessels: around them, in the optic disc, the centre and the quadrants.

Each region is a coverage plane inside the field of view (FOV), like those of `xai.planes.REGIONS`. The quadrants and
the centre divide the FOV without overlap.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from xai.division import divide_or_nan
from xai.planes import REGIONS
from xai.saliency import mean_inside

RING = 0.02  # of the FOV's diameter: about 0.26 mm on the retina at 45°, 1.5 times the width of the widest vein
CENTRE = 5**-0.5  # of the FOV's radius: the centre and the rest of each quadrant are then each a fifth of a round FOV

QUADRANTS = ("upper_left", "upper_right", "lower_left", "lower_right")
SIDED_QUADRANTS = ("superior_temporal", "superior_nasal", "inferior_temporal", "inferior_nasal")  # of a right eye


def region_names(sided: bool, disc: bool) -> tuple[str, ...]:
    """The names of the regions that `other_regions` returns.

    Args:
        sided: whether the side of the eyes is known.
        disc: whether there are masks of the optic disc.
    """
    return ("ring", "centre", *(SIDED_QUADRANTS if sided else QUADRANTS), *(("disc",) if disc else ()))


def other_regions(
    planes: np.ndarray, eyes: Sequence[str | None] | None = None, disc: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Regions other than artery and vein.

    - `ring`: pixels within `RING` of the FOV's diameter of a pixel with any vessel, without the vessels.
    - `centre`: the disc with `CENTRE` of the FOV's radius around the middle of the FOV.
    - Four quadrants around the centre. If `eyes` are given, they are superior and inferior, nasal and temporal (the
      nose is on the right of a right eye's image), and an image of unknown side has no quadrants.
    - `disc`: the optic disc, if masks are given.

    Args:
        planes: (B, 4, H, W) uint8 coverage of `xai.planes.REGIONS`.
        eyes: "left", "right" or None for each image; None for upper and lower, left and right quadrants.
        disc: (B, H, W) uint8 coverage of the optic disc, or None.

    Returns:
        (B, H, W) uint8 coverage for each of `region_names`, in their order.
    """
    fov, vessel = planes[:, REGIONS.index("fov")], planes[:, REGIONS.index("vessel")]
    names = region_names(eyes is not None, disc is not None)
    result = {name: np.zeros_like(fov) for name in names}
    sides = ["right"] * len(fov) if eyes is None else eyes
    quadrants = names[2:6]
    for index, (view, side) in enumerate(zip(fov, sides, strict=True)):
        if not view.any():
            continue
        middle, radius = _extent(view)
        y, x = (np.arange(length) + 0.5 - place for length, place in zip(view.shape, middle, strict=True))
        near = _distance(vessel[index] > 0) <= 2 * radius * RING
        result["ring"][index] = np.where(near, view - np.minimum(vessel[index], view), 0)
        central = y[:, None] ** 2 + x**2 <= (CENTRE * radius) ** 2
        result["centre"][index] = np.where(central, view, 0)
        if side not in ("left", "right"):
            continue
        right = x >= 0 if side == "right" else x < 0
        for name, rows, columns in zip(quadrants, (y < 0, y < 0, y >= 0, y >= 0), (~right, right) * 2, strict=True):
            result[name][index] = np.where(rows[:, None] & columns & ~central, view, 0)
    if disc is not None:
        result["disc"] = np.minimum(disc, fov)
    return result


def region_saliency(
    maps: np.ndarray, planes: np.ndarray, eyes: Sequence[str | None] | None = None, disc: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Mean saliency in the regions of `other_regions`, and its ratio to the mean over the field of view.

    Args:
        maps: (B, H, W) float, at least 0.
        planes: as in `other_regions`.
        eyes: as in `other_regions`.
        disc: as in `other_regions`.

    Returns:
        (B,) float64 for `fov`, and for every region `<name>` and `<name>_ratio`; NaN if the region is empty or the map
        is all zeros.
    """
    blank = ~maps.any(axis=(1, 2))
    fov = planes[:, REGIONS.index("fov")]
    result = {"fov": np.where(blank, np.nan, mean_inside(maps, fov / np.float32(255)))}
    for name, region in other_regions(planes, eyes, disc).items():
        result[name] = np.where(blank, np.nan, mean_inside(maps, region / np.float32(255)))
        result[f"{name}_ratio"] = divide_or_nan(result[name], result["fov"])
    return result


def _extent(fov: np.ndarray) -> tuple[tuple[float, float], float]:
    """Middle (y, x) of the FOV's bounding box, and half its longer side as radius, even if the frame cuts the disc."""
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    middle = ((rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2)
    return middle, max(np.ptp(rows), np.ptp(columns)) / 2 + 0.5


def _distance(inside: np.ndarray) -> np.ndarray:
    """(H, W) float32: distance of each pixel from the nearest pixel inside; infinite if there is none."""
    if not inside.any():
        return np.full(inside.shape, np.inf, dtype=np.float32)
    return cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
