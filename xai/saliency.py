"""Mean saliency inside a region: sum(map * region) / sum(region).

A region is given as the coverage of each pixel and is not binary, because at 224 x 224 most vessels are thinner than a
pixel. If a region is empty or a map is all zeros, the result is NaN, never 0 or infinity.
"""

from typing import Literal

import numpy as np

from xai.division import divide_or_nan
from xai.planes import REGIONS

MEANS = ("artery", "vein", "vessel", "non_vessel", "non_vessel_fov")
RATIOS = tuple(f"{region}_ratio{suffix}" for suffix in ("", "_fov") for region in ("artery", "vein", "vessel"))
OUTSIDE = "outside_share"  # share of the map outside the field of view
Scaling = Literal["minmax", "raw"]  # of a map before its means are taken (`xai.gradcam.saliency_maps`)


def other_scaling(scaling: Scaling) -> Scaling:
    """The scaling that was not chosen."""
    return "raw" if scaling == "minmax" else "minmax"


def mean_inside(maps: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Mean saliency inside a region.

    Args:
        maps: (B, H, W) float, at least 0.
        region: (B, H, W) float in 0..1, coverage of each pixel.

    Returns:
        (B,) float64; NaN if the region is empty.
    """
    area = region.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * region).sum(axis=(1, 2), dtype=np.float64)
    return divide_or_nan(inside, area)


def vessel_saliency(maps: np.ndarray, planes: np.ndarray) -> dict[str, np.ndarray]:
    """Mean saliency in arteries, veins and all vessels, and their ratios to non-vessel.

    Non-vessel is defined in two ways: the whole image without the vessels, as in the published study (`*_ratio`), and
    the field of view without the vessels (`*_ratio_fov`), which the black corners cannot inflate.

    Args:
        maps: (B, H, W) float, at least 0.
        planes: (B, 4, H, W) uint8 coverage of `xai.planes.REGIONS`, 255 being fully inside.

    Returns:
        (B,) float64 for each of `MEANS` and `RATIOS`; NaN if a region is empty or the map is all zeros.
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
            result[f"{name}_ratio{suffix}"] = divide_or_nan(result[name], outside)
    return result


def share_outside(maps: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """The share of a map's sum that lies outside the field of view, where the image has no content.

    Args:
        maps: (B, H, W) float, at least 0.
        fov: (B, H, W) uint8 coverage, 255 being fully inside.

    Returns:
        (B,) float64 in 0..1; NaN for a map of zeros.
    """
    total, inside = (
        (maps * weights).sum(axis=(1, 2), dtype=np.float64) for weights in (np.float32(1), fov / np.float32(255))
    )
    return divide_or_nan(total - inside, total).clip(0, 1)


def mean_of_ratios(ratios: np.ndarray) -> float:
    """Mean of the ratios of images, as in the published study. Each image with a ratio has the same weight.

    An image with almost no saliency outside the region can dominate the mean; `ratio_of_means` avoids this.

    Args:
        ratios: (B,) float; NaN marks a missing ratio.

    Returns:
        The mean; NaN if no image has a ratio.
    """
    known = ratios[~np.isnan(ratios)]
    return float(known.mean()) if known.size else float("nan")


def ratio_of_means(inside: np.ndarray, outside: np.ndarray) -> float:
    """Sum of region means divided by sum of non-vessel means, over the images with both.

    Images are weighted by their saliency outside the region, so no single image can dominate the result.

    Args:
        inside: (B,) float, mean inside the region; NaN marks a missing value.
        outside: (B,) float, mean outside; NaN marks a missing value.

    Returns:
        The ratio; NaN if no image has both means, or if the sum of the means outside is 0.
    """
    both = ~(np.isnan(inside) | np.isnan(outside))
    total = outside[both].sum()
    return float(inside[both].sum() / total) if total > 0 else float("nan")


def patient_means(values: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the images of each patient, so that patients have equal weight whatever their number of images.

    Args:
        values: (B,) float; NaN marks a missing value, which is left out.
        patients: (B,), patient of each image.

    Returns:
        ids (P,), sorted, and means (P,) float64; NaN for a patient without a value.
    """
    ids, patient = np.unique(patients, return_inverse=True)
    known = ~np.isnan(values)
    sums = np.bincount(patient[known], weights=values[known], minlength=len(ids))
    counts = np.bincount(patient[known], minlength=len(ids))
    return ids, divide_or_nan(sums, counts)
