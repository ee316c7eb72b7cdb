"""The pose of an eye on its image: its side and the position of its optic disc.

The tests of the vessel ratio apply vessels of other images or positions to a map. Both must therefore be aligned: as
right eyes, with their optic discs at the same position.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.planes import REGIONS

_SIDES = {"left": -1, "right": 1}
_OFF_CENTRE = 0.25  # in radii of the field of view; a disc closer to the middle does not show the side of its eye


@dataclass(frozen=True, eq=False)
class Poses:
    """The poses of n images of H x W pixels.

    Attributes:
        side: (n,) int, 1 for a right eye, -1 for a left eye, 0 if unknown.
        pole: (n, 2) float64, row and column of the middle of the optic disc (or of the field of view if the disc is
            unknown) after left eyes have been mirrored.
        disc: (n,) bool, whether the image has a mask of its disc.
    """

    side: np.ndarray
    pole: np.ndarray
    disc: np.ndarray

    def as_right(self, images: np.ndarray, which: slice) -> np.ndarray:
        """Mirrors left eyes.

        Args:
            images: (k, H, W), some of the n images.
            which: their positions among the n images.

        Returns:
            (k, H, W).
        """
        flipped = (self.side[which] < 0)[:, None, None]
        return np.where(flipped, images[..., ::-1], images) if flipped.any() else images


def find_poses(planes: np.ndarray, eyes: Sequence[str | None] | None, disc: np.ndarray | None) -> Poses:
    """Determines the poses of images.

    If the side of an eye is not given, it follows from a disc away from the middle, because the nose is on the right of
    a right eye's image. Images without a mask of the disc get the mean position of the discs of their side, if there
    are any.

    Args:
        planes: (n, 4, H, W) uint8 coverage of `xai.planes.REGIONS`; may be memory-mapped.
        eyes: "left", "right" or None for each image; None if no side is known.
        disc: (n, H, W) uint8 coverage of the optic disc, zeros for an image without a mask; None if there are no masks.
    """
    n, width = len(planes), planes.shape[3]
    side = np.zeros(n, int) if eyes is None else np.array([_SIDES.get(eye or "", 0) for eye in eyes])
    pole, has_disc = np.empty((n, 2)), np.zeros(n, bool)
    for index in range(n):
        middle, radius = _middle(planes[index, REGIONS.index("fov")])
        pole[index] = middle
        if disc is not None and disc[index].any():
            has_disc[index], pole[index] = True, _centroid(disc[index])
            away = (pole[index, 1] - middle[1]) / radius
            if side[index] == 0 and abs(away) > _OFF_CENTRE:
                side[index] = 1 if away > 0 else -1
    pole[side < 0, 1] = width - 1 - pole[side < 0, 1]
    for sided in (side != 0, side == 0):
        known, lacking = sided & has_disc, sided & ~has_disc
        if known.any():
            pole[lacking] = pole[known].mean(axis=0)
    return Poses(side, pole, has_disc)


def _middle(fov: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (row, column) and radius of the field of view's bounding box, or of the image if it is empty."""
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    if not len(rows):
        return (np.array(fov.shape) - 1) / 2, max(fov.shape) / 2
    return np.array([rows[[0, -1]].mean(), columns[[0, -1]].mean()]), (max(np.ptp(rows), np.ptp(columns)) + 1) / 2


def _centroid(plane: np.ndarray) -> np.ndarray:
    weights = plane.astype(np.float64)
    return np.array([(weights.sum(axis=1 - axis) @ np.arange(plane.shape[axis])) / weights.sum() for axis in (0, 1)])
