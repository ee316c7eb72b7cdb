"""Vessel erasure: the image without its vessels, and with as much of everything else painted over.

A model that needs the vessels loses accuracy (AUC) on the erased images, and more of it than on the controls,
which have gone through the same painting elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from xai.planes import REGIONS

_REACH = 3  # px: how far around itself a painted pixel looks
_TURNS = 24  # rotations tried for the control, each also mirrored


@dataclass(frozen=True, eq=False)
class Erasure:
    """Two versions of an image, and what was painted in each.

    Attributes:
        erased: (H, W, 3) uint8, without the vessels.
        control: (H, W, 3) uint8, with its vessels, painted elsewhere.
        vessels, elsewhere: (H, W) bool, what was painted in `erased` and in `control`; equally many pixels.
    """

    erased: np.ndarray
    control: np.ndarray
    vessels: np.ndarray
    elsewhere: np.ndarray


def erase(rgb: np.ndarray, planes: np.ndarray) -> Erasure:
    """Paint over the vessels, and as a control over equally many pixels beside them.

    Painted is every pixel that holds any vessel: at 224 pixels that is two to three times the vessels' own area, and
    reaches past their soft edges. It is filled in from around (Telea 2004, OpenCV). The control's pixels have the shape
    of the same vessels, turned and mirrored about the middle of the field of view to where they meet the fewest
    vessels, less what they still meet; further positions make up the number. Pixels at the rim that the field of view
    holds only in part stay as they are.

    Args:
        rgb: (H, W, 3) uint8, the crop.
        planes: (4, H, W) uint8 coverage of `REGIONS`.

    Raises:
        ValueError: there is no vessel, or as many pixels are not to be had beside them.
    """
    retina = planes[REGIONS.index("fov")] == 255
    vessels = retina & (planes[REGIONS.index("vessel")] > 0)
    if not vessels.any():
        raise ValueError("no vessels to erase")
    elsewhere = _beside(vessels, retina)
    return Erasure(
        erased=_paint(rgb, vessels, vessels, retina),
        control=_paint(rgb, elsewhere, vessels | elsewhere, retina),
        vessels=vessels,
        elsewhere=elsewhere,
    )


def erase_all(images: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`erase` for a batch.

    Args:
        images: (B, H, W, 3) uint8.
        planes: (B, 4, H, W) uint8 coverage of `REGIONS`.

    Returns:
        erased and control, (B, H, W, 3) uint8, and the share of the field of view that was painted, (B,) float64: NaN
        where `erase` has no answer. Those images come back as they were, to be left out of all three AUCs.
    """
    erased, control, share = images.copy(), images.copy(), np.full(len(images), np.nan)
    for index, (rgb, regions) in enumerate(zip(images, planes, strict=True)):
        try:
            found = erase(rgb, regions)
        except ValueError:
            continue
        erased[index], control[index] = found.erased, found.control
        share[index] = found.vessels.sum() / (regions[REGIONS.index("fov")] == 255).sum()
    return erased, control, share


def _beside(vessels: np.ndarray, retina: np.ndarray) -> np.ndarray:
    """(H, W) bool: as many pixels as the vessels have, in their shape, elsewhere on the retina.

    Raises:
        ValueError: the vessels leave less room than they take.
    """
    wanted, free = int(vessels.sum()), retina & ~vessels
    if free.sum() < wanted:
        share = wanted / retina.sum()
        raise ValueError(f"the vessels take {share:.0%} of the field of view: no room for a control")
    positions = list(_turned(vessels, retina))
    taken = np.zeros_like(vessels)
    while missing := wanted - int(taken.sum()):
        # Turned thin lines can have more pixels than they had, which is no merit.
        best = free & max(positions, key=lambda shape: (shape & free).sum() / max(shape.sum(), wanted))
        if not best.any():  # every position is used up
            best = free
        taken |= _thickest(best, missing)
        free &= ~best
    return taken


def _turned(vessels: np.ndarray, retina: np.ndarray) -> Iterator[np.ndarray]:
    """The vessels turned about the middle of the field of view, plain and mirrored."""
    y, x = (np.flatnonzero(retina.any(axis=axis))[[0, -1]].mean() for axis in (1, 0))
    size = vessels.shape[::-1]
    for angle in np.arange(_TURNS) * 360 / _TURNS:
        turn = cv2.getRotationMatrix2D((float(x), float(y)), float(angle), 1.0)
        mirror = turn @ np.array([[-1, 0, 2 * x], [0, 1, 0], [0, 0, 1]])
        for matrix in (turn, mirror):
            yield cv2.warpAffine(vessels.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0


def _thickest(mask: np.ndarray, pixels: int) -> np.ndarray:
    """At most so many pixels of a mask, those deepest inside it: slivers beside vessels are left out first."""
    if mask.sum() <= pixels:
        return mask
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    part = np.zeros_like(mask)
    part.flat[np.argsort(-depth, axis=None, kind="stable")[:pixels]] = True
    return part


def _paint(rgb: np.ndarray, mask: np.ndarray, hidden: np.ndarray, retina: np.ndarray) -> np.ndarray:
    """The image with a mask of the retina filled in from what of the retina is not hidden.

    What is hidden holds the mask, and for the control the vessels as well: they would bleed into it and look wider.
    """
    y, x = ndimage.distance_transform_edt(~retina, return_distances=False, return_indices=True)
    continued = np.ascontiguousarray(rgb[y, x])  # the black surround would bleed in too: retina goes on in its place
    painted = cv2.inpaint(continued, hidden[y, x].astype(np.uint8), _REACH, cv2.INPAINT_TELEA)
    return np.where(mask[..., None], painted, rgb)
