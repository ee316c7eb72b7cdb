"""Vessel permutation test: the ratios of the same maps on the vessels of other patients.

Retinal vessels have a similar layout in all eyes: they converge at the optic disc and spare the fovea. A map that
highlights the disc therefore has a ratio above 1 on the vessels of any patient. A ratio above the null distribution
depends on the vessels of this eye, as far as the map resolves them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.controls.exchange import Seen, shared_ratios
from xai.controls.null import TESTED_RATIOS, Null, means
from xai.controls.pose import Poses, find_poses
from xai.division import divide_or_nan
from xai.planes import REGIONS
from xai.saliency import vessel_saliency

_FEW = 5  # patients; groups of patients with the same number of images are joined with others if they are smaller
_BLOCK = 128  # images per block: 26 MB of float32 at 224x224, and about ten times as much in total


def vessel_permutation(
    maps: np.ndarray,
    planes: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    eyes: Sequence[str | None] | None = None,
    disc: np.ndarray | None = None,
    ratios: Sequence[str] = TESTED_RATIOS,
) -> dict[str, Null]:
    """Null distribution of the ratios on the vessels of other patients.

    Each draw is a random permutation of the patients with vessels: the maps of each patient get the vessels of one
    patient, and all vessels are used once. All permutations may be drawn, including those that leave patients in their
    place, because only the whole group gives an exact test (Hemerik & Goeman 2018; Southworth et al. 2009 for subsets).
    All images of a patient get vessels of the same other patient, of an image of the same side if there is one, and of
    different images if there are enough. `Null.expected` is the mean over other patients only.

    Before vessels are applied to a map, left eyes are mirrored and the vessels are shifted by whole pixels until the
    optic discs coincide. Images without a mask of the disc are aligned by their field of view (see `find_poses` for
    cohorts in which only some have a mask). If a side is unknown, vessels are mirrored with probability 1/2. If the
    shifted field of view does not cover the map's own, both sets of vessels are compared where they overlap: the value
    is the image's ratio plus the ratio on the other vessels in the overlap minus that on its own vessels there.

    Args:
        maps: (n, H, W) float, at least 0: the maps of a cell's test images.
        planes: (n, 4, H, W) uint8 coverage of `xai.planes.REGIONS`; may be memory-mapped.
        patients: (n,), patient of each image.
        draws: number of draws.
        seed: seed of the draws.
        eyes: "left", "right" or None for each image; None if no side is known.
        disc: (n, H, W) uint8 coverage of the optic disc, zeros for an image without a mask; None if there are no masks.
        ratios: some of `xai.saliency.RATIOS`, all of the same region.

    Returns:
        The null distribution of each ratio.

    Raises:
        ValueError: `draws` is below 1, fewer than two patients have vessels, or no image has one of the ratios.
    """
    if draws < 1:
        raise ValueError(f"vessel permutation test: draws must be at least 1, got {draws}")
    (region,) = {ratio.partition("_ratio")[0] for ratio in ratios}
    patient = np.unique(np.asarray(patients), return_inverse=True)[1]
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(maps), _BLOCK)]
    has_region = np.concatenate([planes[block, REGIONS.index(region)].any(axis=(1, 2)) for block in blocks])
    if len(np.unique(patient[has_region])) < 2:
        raise ValueError(
            f"vessel permutation test: fewer than two patients have a mask of {region}, so none can be exchanged"
        )
    own = [vessel_saliency(maps[block], planes[block]) for block in blocks]
    observed = {ratio: np.concatenate([found[ratio] for found in own]) for ratio in ratios}
    for ratio, values in observed.items():
        if np.isnan(values).all():
            raise ValueError(f"vessel permutation test: no image has a {ratio}")
    poses = find_poses(planes, eyes, disc)
    # The images with vessels of each patient, left eyes first, so that vessels are exchanged between the same sides.
    by_side = np.argsort(poses.side, kind="stable")
    of_patients = [by_side[(patient[by_side] == one) & has_region[by_side]] for one in range(patient.max() + 1)]
    of_patients = [images for images in of_patients if len(images)]
    given = _draw(of_patients, poses.side, draws, np.random.default_rng(seed))
    pairs = _pair_ratios(maps, planes, poses, region, observed, blocks)
    return {ratio: _null(observed[ratio], pairs[ratio], poses, patient, of_patients, given) for ratio in ratios}


@dataclass(frozen=True, eq=False)
class _Given:
    """The vessels of each image in each draw, each (draws, n): the image they come from, and whether to mirror them."""

    image: np.ndarray
    mirrored: np.ndarray


def _null(
    observed: np.ndarray, pairs: np.ndarray, poses: Poses, patient: np.ndarray, blocks: list[np.ndarray], given: _Given
) -> Null:
    has_vessels = np.zeros(len(observed), bool)
    has_vessels[np.concatenate(blocks)] = True
    # 1. The mean ratio of each image on the vessels of each other patient.
    either_way = means(pairs.reshape(len(pairs), -1).T).reshape(pairs.shape[1:])
    by_patient = _by_patient(np.where(np.outer(poses.side, poses.side), pairs[0], either_way), patient, has_vessels)
    by_patient[np.isnan(observed)] = np.nan
    by_patient[np.arange(len(patient)), patient] = np.nan
    # 2. The ratios in the draws.
    null = pairs[given.mirrored.astype(np.intp), np.arange(len(patient)), given.image]
    null[:, np.isnan(observed)] = np.nan
    return Null(observed, null, means(by_patient), means(by_patient.T)[patient])


def _by_patient(pairs: np.ndarray, patient: np.ndarray, has_vessels: np.ndarray) -> np.ndarray:
    """Mean ratio of each map on the vessels of each patient's images, (n, patients) float64."""
    order = np.argsort(patient, kind="stable")
    starts = np.searchsorted(patient[order], np.arange(patient.max() + 1))
    known = ~np.isnan(pairs) & has_vessels
    sums, counts = (
        np.add.reduceat(each[:, order], starts, axis=1, dtype=np.float64) for each in (np.where(known, pairs, 0), known)
    )
    return divide_or_nan(sums, counts)


def _draw(blocks: list[np.ndarray], sides: np.ndarray, draws: int, rng: np.random.Generator) -> _Given:
    """Random permutations of patients within groups of patients with the same number of images."""
    counts = np.array([len(images) for images in blocks])
    table = np.zeros((len(blocks), counts.max()), dtype=np.intp)
    for one, images in enumerate(blocks):
        table[one, : len(images)] = images
    image = np.tile(np.arange(len(sides)), (draws, 1))
    for group in _groups(counts):
        others = rng.permuted(np.tile(group, (draws, 1)), axis=1)
        for one, other in zip(group, others.T, strict=True):
            # With another number of images, they are used in order from a random one on.
            start = np.where(counts[other] == counts[one], 0, rng.integers(1 << 30, size=draws))
            for place, own in enumerate(blocks[one]):
                image[:, own] = table[other, (start + place) % counts[other]]
    mirrored = (rng.random(image.shape) < 0.5) & (sides * sides[image] == 0) & (image != np.arange(len(sides)))
    return _Given(image, mirrored)


def _groups(counts: np.ndarray) -> list[np.ndarray]:
    """Groups of patients by number of images; a group of fewer than `_FEW` patients is joined with the next."""
    groups: list[np.ndarray] = []
    waiting = np.array([], dtype=np.intp)
    for count in np.unique(counts):
        waiting = np.append(waiting, np.flatnonzero(counts == count))
        if len(waiting) >= _FEW:
            groups.append(waiting)
            waiting = waiting[:0]
    if not groups:
        return [waiting]
    groups[-1] = np.append(groups[-1], waiting)
    return groups


def _pair_ratios(
    maps: np.ndarray,
    planes: np.ndarray,
    poses: Poses,
    region: str,
    observed: dict[str, np.ndarray],
    blocks: list[slice],
) -> dict[str, np.ndarray]:
    """For each ratio, the values (1 or 2, n, n) float32 of map i on the vessels of image j, unmirrored and mirrored.

    Mirrored pairs are computed only if a side is unknown, because otherwise they are never drawn.
    """
    ways, n = (1 if poses.side.all() else 2), len(maps)
    found = {ratio: np.empty((ways, n, n), dtype=np.float32) for ratio in observed}
    canvas = _Canvas(poses, planes.shape[2:])

    def masks(which: slice, mirrored: bool = False) -> tuple[dict[str, np.ndarray], np.ndarray]:
        laid = {
            name: canvas.lay(planes[:, REGIONS.index(name)], which, 255, mirrored)
            for name in dict.fromkeys((region, "vessel", "fov"))
        }
        return laid, laid.pop("fov")

    for rows in blocks:
        own, fov = masks(rows)
        seen = Seen(canvas.lay(maps, rows), fov, own, maps[0].size)
        for columns in blocks:
            for way in range(ways):
                against = shared_ratios(seen, *masks(columns, mirrored=way == 1), list(observed))
                for (ratio, values), (other, own_there) in zip(observed.items(), against, strict=True):
                    found[ratio][way, rows, columns] = values[rows, None] + other - own_there
    return found


class _Canvas:
    """A canvas for images that are shifted by whole pixels until the poles of their poses coincide."""

    def __init__(self, poses: Poses, shape: tuple[int, ...]) -> None:
        height, width = shape
        mirrored = poses.pole.copy()
        mirrored[:, 1] = width - 1 - mirrored[:, 1]
        both = [poses.pole] if poses.side.all() else [poses.pole, mirrored]
        corners = [np.round(-pole).astype(int) for pole in both]
        least = np.min(corners, axis=(0, 1))
        self.poses, self.corners = poses, [corner - least for corner in corners]
        self.shape = tuple(np.array([height, width]) + np.max(self.corners, axis=(0, 1)))

    def lay(self, images: np.ndarray, which: slice, full: float = 1, mirrored: bool = False) -> np.ndarray:
        """Some of the images (n, H, W), divided by `full`, on the canvas: (k, pixels) float32, 0 around the images."""
        as_right = self.poses.as_right(images[which], which)
        laid = np.zeros((len(as_right), *self.shape), dtype=np.float32)
        for place, image, (top, left) in zip(laid, as_right, self.corners[mirrored][which], strict=True):
            height, width = image.shape
            place[top : top + height, left : left + width] = image[:, ::-1] if mirrored else image
        return (laid / np.float32(full)).reshape(len(laid), -1)
