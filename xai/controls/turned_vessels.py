"""Turned-tree test: the ratios of the same maps on the eye's own vessels, rotated about the optic disc.

A map that highlights only the optic disc, where vessels converge, has the same ratio on the rotated vessels as on the
original ones. A ratio above this null distribution depends on the course of the vessels.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from xai.controls.exchange import Seen, shared_ratios
from xai.controls.null import TESTED_RATIOS, Null, means
from xai.controls.pose import Poses, find_poses
from xai.planes import REGIONS
from xai.saliency import vessel_saliency

_ANGLES = 24  # with mirroring, a group of 48 positions; the first is the original position


def turned_vessels(
    maps: np.ndarray,
    planes: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    eyes: Sequence[str | None] | None = None,
    disc: np.ndarray | None = None,
    ratios: Sequence[str] = TESTED_RATIOS,
) -> dict[str, Null]:
    """Null distribution of the ratios on the eye's own vessels, rotated about the optic disc.

    In each draw the vessels of each patient are rotated by one of 24 random angles and mirrored with probability 1/2.
    These positions form a group that includes the original one, so the test is exact if maps have no direction around
    the disc (randomisation test, Hemerik & Goeman 2018). All images of a patient are rotated together, with left eyes
    mirrored. `Null.expected` excludes the original position.

    Images without a mask of the optic disc are rotated about the position from `find_poses`, which is the middle of the
    field of view if there are no masks. If the rotated field of view does not cover the map's own, the ratio is
    computed where both overlap, and the difference of the ratios on the original vessels between the whole map and the
    overlap is added. `expected` uses this difference for each image; the draws use its mean over all images, which
    varies less.

    Args:
        maps: (n, H, W) float, at least 0: the maps of a cell's test images.
        planes: (n, 4, H, W) uint8 coverage of `xai.planes.REGIONS`; may be memory-mapped.
        patients: (n,), patient of each image; one patient with vessels is enough.
        draws: number of draws.
        seed: seed of the draws.
        eyes: "left", "right" or None for each image; None if no side is known.
        disc: (n, H, W) uint8 coverage of the optic disc, zeros for an image without a mask; None if there are no masks.
        ratios: some of `xai.saliency.RATIOS`.

    Returns:
        The null distribution of each ratio.

    Raises:
        ValueError: `draws` is below 1, or no image has one of the ratios.
    """
    if draws < 1:
        raise ValueError(f"turned-tree test: draws must be at least 1, got {draws}")
    patient = np.unique(np.asarray(patients), return_inverse=True)[1]
    poses = find_poses(planes, eyes, disc)
    observed = np.full((len(ratios), len(maps)), np.nan)
    turned, own = np.full((2, len(ratios), len(maps), 2 * _ANGLES), np.nan)
    for index in range(len(maps)):
        one = slice(index, index + 1)
        found = vessel_saliency(maps[one], planes[one])
        observed[:, index] = [found[ratio][0] for ratio in ratios]
        if np.isfinite(observed[:, index]).any():
            turned[:, index], own[:, index] = _against_turned(maps, planes, poses, index, ratios)
    for ratio, values in zip(ratios, observed, strict=True):
        if np.isnan(values).all():
            raise ValueError(f"turned-tree test: no image has a {ratio}")
    rng = np.random.default_rng(seed)
    position = rng.integers(2 * _ANGLES, size=(draws, patient.max() + 1))[:, patient]
    nulls = {}
    for ratio, values, against, there in zip(ratios, observed, turned, own, strict=True):
        cut_off = values[:, None] - there
        table = against + means(cut_off.T)
        null = table[np.arange(len(maps)), position].astype(np.float32)
        expected = means((against + cut_off)[:, 1:])
        nulls[ratio] = Null(values, null, expected, np.full(len(maps), np.nan))
    return nulls


def _against_turned(
    maps: np.ndarray, planes: np.ndarray, poses: Poses, index: int, ratios: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Ratios of an image on the rotated vessels and on its own vessels, in the shared field of view.

    Each (ratios, positions); the first position is the original one.
    """
    one = slice(index, index + 1)
    names = list(dict.fromkeys([*(ratio.partition("_ratio")[0] for ratio in ratios), "vessel", "fov"]))
    laid = np.stack([poses.as_right(planes[one, REGIONS.index(name)], one)[0] for name in names], axis=-1)
    turned = np.stack([_turn(laid, poses.pole[index], position) for position in range(2 * _ANGLES)])
    flat = np.ascontiguousarray(turned.reshape(len(turned), -1, len(names)).transpose(2, 0, 1), np.float32) / 255
    masks = dict(zip(names, flat, strict=True))
    fov = masks.pop("fov")
    map_ = poses.as_right(maps[one], one).reshape(1, -1).astype(np.float32)
    seen = Seen(map_, fov[:1], {name: mask[:1] for name, mask in masks.items()}, map_.size)
    turned, own = zip(*shared_ratios(seen, masks, fov, ratios), strict=True)
    return np.concatenate(turned), np.concatenate(own)


def _turn(planes: np.ndarray, pole: np.ndarray, position: int) -> np.ndarray:
    """Planes (H, W, k) uint8 rotated about a pole (row, column); from position `_ANGLES` on they are also mirrored."""
    if position == 0:
        return planes
    y, x = map(float, pole)
    turn = cv2.getRotationMatrix2D((x, y), position % _ANGLES * 360 / _ANGLES, 1.0)
    if position >= _ANGLES:
        turn = turn @ np.array([[-1, 0, 2 * x], [0, 1, 0], [0, 0, 1]])
    return cv2.warpAffine(planes, turn, planes.shape[1::-1], flags=cv2.INTER_LINEAR)
