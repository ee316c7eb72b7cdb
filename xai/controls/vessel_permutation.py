"""Vessel permutation test: the ratios that the same maps have against the vessels of other patients.

Retinal vessels lie alike in all eyes: they converge at the optic disc and spare the fovea. A map that favours the disc
has a ratio above 1 against anybody's vessels. What exceeds the null is bound to this eye's own vessels, as far as the
map resolves them.
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

_FEW = 5  # patients; those of a number of images that fewer have exchange vessels with others, too
_BLOCK = 128  # images worked on at once: 26 MB of float32 at 224x224, and about ten times that in all


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
    """Compare maps with the vessels of other patients.

    A draw is a random permutation of the patients who have vessels: each patient's maps get one patient's vessels, and
    all vessels are used once. All permutations are drawn from, those that leave some patients as they are included:
    only the whole group gives an exact test (Hemerik & Goeman 2018; Southworth et al. 2009 on subsets of it). A
    patient's images change vessels together, each for an image of the other patient of the same side where there is
    one, and no two for the same image where there are enough. `Null.expected` is over other patients alone.

    Vessels are laid on a map as a right eye's on a right eye's, shifted by whole pixels so that the optic discs
    coincide; images without a mask of the disc keep their place in the field of view (`find_poses` says where only
    some lack it). Where a side is not known, vessels are mirrored by chance. Where the other field of view, so
    shifted, leaves out some of the map's own, both vessels are compared on what it covers: the null is the image's
    ratio, plus the ratio against the other vessels there, less that against its own there.

    Args:
        maps: (n, H, W) float, at least 0: of one cell's test images.
        planes: (n, 4, H, W) uint8 coverage of `REGIONS`; may be memory-mapped.
        patients: (n,) the patient of each image.
        eyes: "left", "right" or None of each image.
        disc: (n, H, W) uint8 coverage of the optic disc, zeros where there is none; or None.
        ratios: some of `xai.saliency.RATIOS`, of one region.

    Raises:
        ValueError: fewer than two patients have vessels, no image has such a ratio, or there are no draws.
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
    # A patient's images with vessels, left eyes first, so that exchanged patients exchange the same sides.
    by_side = np.argsort(poses.side, kind="stable")
    of_patients = [by_side[(patient[by_side] == one) & has_region[by_side]] for one in range(patient.max() + 1)]
    of_patients = [images for images in of_patients if len(images)]
    given = _draw(of_patients, poses.side, draws, np.random.default_rng(seed))
    pairs = _pair_ratios(maps, planes, poses, region, observed, blocks)
    return {ratio: _null(observed[ratio], pairs[ratio], poses, patient, of_patients, given) for ratio in ratios}


@dataclass(frozen=True, eq=False)
class _Given:
    """Which vessels each draw gives to each image, (draws, n): the image that they are of, and if they are mirrored."""

    image: np.ndarray
    mirrored: np.ndarray


def _null(
    observed: np.ndarray, pairs: np.ndarray, poses: Poses, patient: np.ndarray, blocks: list[np.ndarray], given: _Given
) -> Null:
    has_vessels = np.zeros(len(observed), bool)
    has_vessels[np.concatenate(blocks)] = True
    # 1. What each image is given by each other patient on average, and each patient gives.
    either_way = means(pairs.reshape(len(pairs), -1).T).reshape(pairs.shape[1:])
    by_patient = _by_patient(np.where(np.outer(poses.side, poses.side), pairs[0], either_way), patient, has_vessels)
    by_patient[np.isnan(observed)] = np.nan
    by_patient[np.arange(len(patient)), patient] = np.nan
    # 2. What the draws give.
    null = pairs[given.mirrored.astype(np.intp), np.arange(len(patient)), given.image]
    null[:, np.isnan(observed)] = np.nan
    return Null(observed, null, means(by_patient), means(by_patient.T)[patient])


def _by_patient(pairs: np.ndarray, patient: np.ndarray, has_vessels: np.ndarray) -> np.ndarray:
    """(n, patients) float64: the mean ratio of each map against the vessels of a patient's images."""
    order = np.argsort(patient, kind="stable")
    starts = np.searchsorted(patient[order], np.arange(patient.max() + 1))
    known = ~np.isnan(pairs) & has_vessels
    sums, counts = (
        np.add.reduceat(each[:, order], starts, axis=1, dtype=np.float64) for each in (np.where(known, pairs, 0), known)
    )
    return divide_or_nan(sums, counts)


def _draw(blocks: list[np.ndarray], sides: np.ndarray, draws: int, rng: np.random.Generator) -> _Given:
    """Random permutations of patients, among those with as many images."""
    counts = np.array([len(images) for images in blocks])
    table = np.zeros((len(blocks), counts.max()), dtype=np.intp)
    for one, images in enumerate(blocks):
        table[one, : len(images)] = images
    image = np.tile(np.arange(len(sides)), (draws, 1))
    for group in _groups(counts):
        others = rng.permuted(np.tile(group, (draws, 1)), axis=1)
        for one, other in zip(group, others.T, strict=True):
            # Of another number of images, one after the other from any of them on.
            start = np.where(counts[other] == counts[one], 0, rng.integers(1 << 30, size=draws))
            for place, own in enumerate(blocks[one]):
                image[:, own] = table[other, (start + place) % counts[other]]
    mirrored = (rng.random(image.shape) < 0.5) & (sides * sides[image] == 0) & (image != np.arange(len(sides)))
    return _Given(image, mirrored)


def _groups(counts: np.ndarray) -> list[np.ndarray]:
    """Blocks with as many images; a number that fewer than `_FEW` have is joined with the next."""
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
    """By ratio, (1 or 2, n, n) float32: the null of map i against the vessels of image j, as they are and mirrored.

    Where all sides are known, no mirrored pair is drawn, and none is computed.
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
    """Room for images that are shifted by whole pixels until the poles of their poses coincide."""

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
        """(k, pixels of the canvas) float32: some of images (n, H, W) over `full`, zero around them."""
        as_right = self.poses.as_right(images[which], which)
        laid = np.zeros((len(as_right), *self.shape), dtype=np.float32)
        for place, image, (top, left) in zip(laid, as_right, self.corners[mirrored][which], strict=True):
            height, width = image.shape
            place[top : top + height, left : left + width] = image[:, ::-1] if mirrored else image
        return (laid / np.float32(full)).reshape(len(laid), -1)
