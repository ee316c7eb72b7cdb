"""How much of a map lies inside a region: sum(map * region) / sum(region).

A region is the share of each pixel that belongs to it, not a yes or no: at 224 pixels most vessels are thinner than
one. Where a region is empty or the map is all zero there is no answer, which is NaN, never 0 or infinity.
"""

import numpy as np

from xai.vessels.source import REGIONS

MEANS = ("artery", "vein", "vessel", "non_vessel", "non_vessel_fov")
RATIOS = tuple(f"{region}_ratio{suffix}" for suffix in ("", "_fov") for region in ("artery", "vein", "vessel"))


def mean_inside(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Average saliency intensity.

    Args:
        maps: (B, H, W) float, at least 0.
        region: (B, H, W) float in 0..1, the share of each pixel inside.

    Returns:
        (B,) float64, NaN where the region is empty.
    """
    area = region.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * region).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, area, out=np.full(len(maps), np.nan), where=area > 0)


def vessel_saliency(maps: np.ndarray, planes: np.ndarray) -> dict[str, np.ndarray]:
    """Region means and their ratios to non-vessel.

    Two conventions of non-vessel: the whole picture less the vessels, as in the published study (`*_ratio`), and only
    what lies inside the field of view (`*_ratio_fov`), which black corners cannot flatter.

    Args:
        maps: (B, H, W) float, at least 0.
        planes: (B, 4, H, W) uint8 coverage of `REGIONS`, 255 being fully inside.

    Returns:
        (B,) float64 for each of `MEANS` and `RATIOS`; NaN where a region is empty, and throughout for a map of zeros.
    """
    coverage = {name: planes[:, index].astype(np.float32) / 255 for index, name in enumerate(REGIONS)}
    regions = {
        "artery": coverage["artery"],
        "vein": coverage["vein"],
        "vessel": coverage["vessel"],
        "non_vessel": 1 - coverage["vessel"],
        "non_vessel_fov": (coverage["fov"] - coverage["vessel"]).clip(min=0),
    }
    blank = ~maps.any(axis=(1, 2))
    result = {name: np.where(blank, np.nan, mean_inside(maps, regions[name])) for name in MEANS}
    for suffix in ("", "_fov"):
        outside = result[f"non_vessel{suffix}"]
        for name in ("artery", "vein", "vessel"):
            ratio = np.divide(result[name], outside, out=np.full(len(maps), np.nan), where=outside > 0)
            result[f"{name}_ratio{suffix}"] = ratio
    return result
