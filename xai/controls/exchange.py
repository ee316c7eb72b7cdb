"""The ratio of a map on the vessels of another image, restricted to the field of view that both share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_NOTHING = 1e-6  # share of a map's sum; with less outside the vessels the ratio is undefined


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the pixels that two masks share, each (rows, columns) float64.

    Attributes:
        maps: sums of a map.
        pixels: sums of the coverage.
    """

    maps: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Seen:
    """A block of k maps with the masks of their own images, all (k, pixels) float32, masks in 0..1.

    Attributes:
        maps: the maps, at least 0.
        fov: the field of view.
        masks: masks of the region of the ratios, and of `vessel`.
        pixels: number of pixels of an image, including the corners outside the field of view.
    """

    maps: np.ndarray
    fov: np.ndarray
    masks: Mapping[str, np.ndarray]
    pixels: int


def shared_ratios(
    seen: Seen, masks: Mapping[str, np.ndarray], fov: np.ndarray, ratios: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ratios of every map on the vessels of every other image and on its own vessels, in the shared field of view.

    Both ratios are computed in the field of view that the two images share. Otherwise a map that fades towards the rim
    would have a higher ratio on vessels that are cut off there. If both fields of view are equal, the first is the
    ordinary ratio on the other vessels. Each sum is an entry of a matrix product.

    Args:
        seen: k maps with their own masks.
        masks: (c, pixels) float32 for each region, the masks of the other images, in the layout of `seen`.
        fov: (c, pixels) float32, the fields of view of the other images.
        ratios: some of `xai.saliency.RATIOS`.

    Returns:
        For each ratio, the values on the other vessels and on the own vessels, each (k, c) float64; NaN if undefined.
    """
    shared, *of_own = _sums(seen.maps, [seen.fov, *seen.masks.values()], fov)
    own = dict(zip(seen.masks, of_own, strict=True))
    other = {name: _sums(seen.maps, [seen.fov], mask)[0] for name, mask in masks.items()}
    corners = Sums(
        (seen.maps * (1 - seen.fov)).sum(axis=1, dtype=np.float64), seen.pixels - seen.fov.sum(axis=1, dtype=np.float64)
    )
    whole = Sums(shared.maps + corners.maps[:, None], shared.pixels + corners.pixels[:, None])
    found = []
    for ratio in ratios:
        region, _, convention = ratio.partition("_ratio")
        all_ = shared if convention == "_fov" else whole
        found.append((_ratio(other, region, all_), _ratio(own, region, all_)))
    return found


def _sums(maps: np.ndarray, masks: Sequence[np.ndarray], other: np.ndarray) -> list[Sums]:
    """For each mask, the sums over the pixels that it shares with the other masks."""
    found = np.concatenate([each for mask in masks for each in (maps * mask, mask)]) @ other.T
    of_maps = found.astype(np.float64).reshape(len(masks), 2, len(maps), -1)
    return [Sums(*each) for each in of_maps]


def _ratio(vessels: Mapping[str, Sums], region: str, all_: Sums) -> np.ndarray:
    """Mean of the map inside the region divided by its mean outside all vessels; NaN if either does not exist."""
    inside, vessel = vessels[region], vessels["vessel"]
    outside = all_.maps - vessel.maps
    valid = (inside.pixels > 0) & (outside > _NOTHING * all_.maps)
    quotient = inside.maps * (all_.pixels - vessel.pixels) / np.where(valid, inside.pixels * outside, 1)
    return np.where(valid, quotient, np.nan)
