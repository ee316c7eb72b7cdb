"""The ratio of a map against vessels that are not its own, which a field of view of their own may cut off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_NOTHING = 1e-6  # of a map's sum; with less left outside the vessels there is no ratio


@dataclass(frozen=True, eq=False)
class Sums:
    """Over the pixels that two masks share, (rows, columns) float64 each: of a map, and of the pixels themselves."""

    maps: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Seen:
    """A block of k maps as they lie on their images, all (k, pixels) float32, masks in 0..1.

    Attributes:
        maps: at least 0.
        fov: the field of view.
        masks: of the region whose ratio is asked for, and of `vessel`.
        pixels: of a whole image, its corners outside the field of view included.
    """

    maps: np.ndarray
    fov: np.ndarray
    masks: Mapping[str, np.ndarray]
    pixels: int


def shared_ratios(
    seen: Seen, masks: Mapping[str, np.ndarray], fov: np.ndarray, ratios: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each ratio, that of every map against every other set of vessels, and against its own, where both were seen.

    A field of view leaves out vessels, so both are of the field of view that the two share: a map that fades towards
    the rim would else have a higher ratio against vessels that are cut off. Where both fields of view are one, the
    first is the ordinary ratio against the other vessels. Every sum is an entry of a matrix product.

    Args:
        seen: k maps.
        masks: (c, pixels) float32, of the others, laid out as in `seen`.
        fov: (c, pixels) float32, likewise.
        ratios: of `xai.saliency.RATIOS`.

    Returns:
        other, own: (k, c) float64 each; NaN where there is no ratio.
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
    """For each mask, what it shares with the other ones."""
    found = np.concatenate([each for mask in masks for each in (maps * mask, mask)]) @ other.T
    of_maps = found.astype(np.float64).reshape(len(masks), 2, len(maps), -1)
    return [Sums(*each) for each in of_maps]


def _ratio(vessels: Mapping[str, Sums], region: str, all_: Sums) -> np.ndarray:
    """Mean of the map inside the region over that outside all vessels; NaN where either does not exist."""
    inside, vessel = vessels[region], vessels["vessel"]
    outside = all_.maps - vessel.maps
    valid = (inside.pixels > 0) & (outside > _NOTHING * all_.maps)
    quotient = inside.maps * (all_.pixels - vessel.pixels) / np.where(valid, inside.pixels * outside, 1)
    return np.where(valid, quotient, np.nan)
