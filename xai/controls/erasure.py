"""Vessel erasure: the image with its vessels inpainted, and a control image with the same area inpainted elsewhere.

A model that needs the vessels has a lower AUC on the erased images than on the control images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from xai.planes import REGIONS

_REACH = 3  # px; inpainting radius
_TURNS = 24  # rotations tried for the control, each with and without mirroring


@dataclass(frozen=True, eq=False)
class Erasure:
    """Two inpainted versions of an image.

    Attributes:
        erased: (H, W, 3) uint8, the image without its vessels.
        control: (H, W, 3) uint8, the image with its vessels, inpainted elsewhere.
        vessels: (H, W) bool, the pixels inpainted in `erased`.
        elsewhere: (H, W) bool, the pixels inpainted in `control`, of the same number.
    """

    erased: np.ndarray
    control: np.ndarray
    vessels: np.ndarray
    elsewhere: np.ndarray


def erase(rgb: np.ndarray, planes: np.ndarray) -> Erasure:
    """Inpaints the vessels and, as a control, the same number of pixels outside the vessels.

    Every pixel that contains any vessel is inpainted from its surroundings (Telea 2004, OpenCV). At 224 x 224 this is
    two to three times the area of the vessels and includes their soft edges. The control's pixels have the shape of the
    same vessels, rotated and mirrored about the middle of the field of view to the position with the least overlap with
    vessels. The overlap is left out, and pixels of further positions are added up to the same number. Pixels that are
    only partly inside the field of view stay unchanged.

    Args:
        rgb: (H, W, 3) uint8, the crop.
        planes: (4, H, W) uint8 coverage of `xai.planes.REGIONS`.

    Raises:
        ValueError: there is no vessel, or there are not enough pixels outside the vessels.
    """
    retina = planes[REGIONS.index("fov")] == 255
    vessels = retina & (planes[REGIONS.index("vessel")] > 0)
    if not vessels.any():
        raise ValueError("no vessels to erase")
    elsewhere = _control_pixels(vessels, retina)
    return Erasure(
        erased=_paint(rgb, vessels, vessels, retina),
        control=_paint(rgb, elsewhere, vessels | elsewhere, retina),
        vessels=vessels,
        elsewhere=elsewhere,
    )


def erase_all(images: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`erase` for a batch of images.

    Args:
        images: (B, H, W, 3) uint8.
        planes: (B, 4, H, W) uint8 coverage of `xai.planes.REGIONS`.

    Returns:
        Erased and control images, each (B, H, W, 3) uint8, and the inpainted share of the field of view, (B,) float64.
        Where `erase` is not possible, the share is NaN and the images are returned unchanged; leave them out of all
        three AUCs.
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


def _control_pixels(vessels: np.ndarray, retina: np.ndarray) -> np.ndarray:
    """(H, W) bool: as many pixels as the vessels have, in the shape of the vessels, elsewhere on the retina.

    Raises:
        ValueError: fewer pixels are free than the vessels cover.
    """
    wanted, free = int(vessels.sum()), retina & ~vessels
    if free.sum() < wanted:
        share = wanted / retina.sum()
        raise ValueError(f"the vessels cover {share:.0%} of the field of view: no room for a control")
    positions = list(_turned(vessels, retina))
    taken = np.zeros_like(vessels)
    while missing := wanted - int(taken.sum()):
        # Rotated thin lines can have more pixels than before, which must not count as a better fit.
        best = free & max(positions, key=lambda shape: (shape & free).sum() / max(shape.sum(), wanted))
        if not best.any():  # no position has free pixels left
            best = free
        taken |= _thickest(best, missing)
        free &= ~best
    return taken


def _turned(vessels: np.ndarray, retina: np.ndarray) -> Iterator[np.ndarray]:
    """The vessels rotated about the middle of the field of view, with and without mirroring."""
    y, x = (np.flatnonzero(retina.any(axis=axis))[[0, -1]].mean() for axis in (1, 0))
    size = vessels.shape[::-1]
    for angle in np.arange(_TURNS) * 360 / _TURNS:
        turn = cv2.getRotationMatrix2D((float(x), float(y)), float(angle), 1.0)
        mirror = turn @ np.array([[-1, 0, 2 * x], [0, 1, 0], [0, 0, 1]])
        for matrix in (turn, mirror):
            yield cv2.warpAffine(vessels.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0


def _thickest(mask: np.ndarray, pixels: int) -> np.ndarray:
    """At most `pixels` pixels of a mask, those deepest inside it; slivers next to vessels are left out first."""
    if mask.sum() <= pixels:
        return mask
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    part = np.zeros_like(mask)
    part.flat[np.argsort(-depth, axis=None, kind="stable")[:pixels]] = True
    return part


def _paint(rgb: np.ndarray, mask: np.ndarray, hidden: np.ndarray, retina: np.ndarray) -> np.ndarray:
    """The image with `mask` inpainted from the retina outside `hidden`.

    `hidden` contains the mask and, for the control, also the vessels, which would otherwise bleed into it and look
    wider.
    """
    y, x = ndimage.distance_transform_edt(~retina, return_distances=False, return_indices=True)
    continued = np.ascontiguousarray(rgb[y, x])  # retina is extended outwards, because black would bleed in as well
    painted = cv2.inpaint(continued, hidden[y, x].astype(np.uint8), _REACH, cv2.INPAINT_TELEA)
    return np.where(mask[..., None], painted, rgb)
