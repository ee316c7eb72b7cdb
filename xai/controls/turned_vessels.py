"""Turned-tree test: the ratios that the same maps have against the eye's own vessels, turned about the optic disc.

A map of the optic disc alone, where vessels converge, has as high a ratio against the turned tree as against the tree
as it lies. What exceeds this null is bound to where the vessels run.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from xai.controls.exchange import Seen, shared_ratios
from xai.controls.null import TESTED_RATIOS, Null, means
from xai.controls.pose import Poses, find_poses
from xai.planes import REGIONS
from xai.saliency import vessel_saliency

_ANGLES = 24  # with their mirror images a group of 48 positions, the first of them as the tree lies


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
    """Compare maps with the eye's own vessels, turned about the optic disc.

    A draw turns the trees of each patient by an angle of its own, one of 24, and mirrors every second, all by chance:
    these positions are a group with the tree as it lies, so the test is exact where maps have no direction around the
    disc (randomization test; Hemerik & Goeman 2018). A patient's images are turned together, left eyes in mirror
    image. `Null.expected` leaves out the position as it lies.

    Images without a mask of the optic disc are turned about the place that `find_poses` gives them: without any mask
    the middle of the field of view. Where the turned field of view leaves out some of the map's own, the null is the
    ratio against the turned tree on what both cover, plus how much less the tree as it lies has there than on the
    whole: in `expected` for each image, in draws on average over all images, which varies less.

    Args, raises: as `xai.controls.vessel_permutation.vessel_permutation`; one patient with vessels is enough.
    """
    if draws < 1:
        raise ValueError(f"turned vessels: draws must be at least 1, got {draws}")
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
            raise ValueError(f"turned vessels: no image has a {ratio}")
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
    """(ratios, positions) each: of one image against the turned tree, and against its own where both were seen.

    In the first position the tree is as it lies.
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
    """Planes (H, W, k) uint8 turned about a pole (row, column); positions from `_ANGLES` on are mirrored as well."""
    if position == 0:
        return planes
    y, x = map(float, pole)
    turn = cv2.getRotationMatrix2D((x, y), position % _ANGLES * 360 / _ANGLES, 1.0)
    if position >= _ANGLES:
        turn = turn @ np.array([[-1, 0, 2 * x], [0, 1, 0], [0, 0, 1]])
    return cv2.warpAffine(planes, turn, planes.shape[1::-1], flags=cv2.INTER_LINEAR)
