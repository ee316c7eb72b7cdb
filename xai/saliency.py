"""How much of a map lies inside a region: sum(map * region) / sum(region).

A region is the share of each pixel that belongs to it, not a yes or no: at 224 pixels most vessels are thinner than
one. Where a region is empty or the map is all zero there is no answer, which is NaN, never 0 or infinity.
"""

import numpy as np

from xai.division import divide_or_nan
from xai.planes import REGIONS

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
    return divide_or_nan(inside, area)


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
            result[f"{name}_ratio{suffix}"] = divide_or_nan(result[name], outside)
    return result


def share_outside(maps: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """How much of a map's sum lies outside the field of view, where there is nothing to see.

    Args:
        maps: (B, H, W) float, at least 0.
        fov: (B, H, W) uint8 coverage, 255 being fully inside.

    Returns:
        (B,) float64 in 0..1, NaN for a map of zeros.
    """
    total, inside = (
        (maps * weights).sum(axis=(1, 2), dtype=np.float64) for weights in (np.float32(1), fov / np.float32(255))
    )
    return divide_or_nan(total - inside, total).clip(0, 1)


def mean_of_ratios(ratios: np.ndarray) -> float:
    """The average of per-image ratios (B,), the study's number: every image counts alike, those without one not.

    NaN where no image has a ratio. An image with next to nothing outside the region can dominate it; see
    `ratio_of_means`.
    """
    known = ratios[~np.isnan(ratios)]
    return float(known.mean()) if known.size else float("nan")


def ratio_of_means(inside: np.ndarray, outside: np.ndarray) -> float:
    """Sum of region means over sum of non-vessel means, both (B,), over the images that have both.

    Images count by the strength of their map outside the region, so no single one can take over. NaN where no image
    has both means, or nothing lies outside.
    """
    both = ~(np.isnan(inside) | np.isnan(outside))
    total = outside[both].sum()
    return float(inside[both].sum() / total) if total > 0 else float("nan")


def patient_means(values: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each patient's average over their images, so that a patient with more images weighs no more.

    Args:
        values: (B,) float; NaN is an image without an answer and is left out.
        patients: (B,) the patient on each image.

    Returns:
        ids (P,), sorted, and means (P,) float64; NaN for a patient of whom no image has an answer.
    """
    ids, patient = np.unique(patients, return_inverse=True)
    known = ~np.isnan(values)
    sums = np.bincount(patient[known], weights=values[known], minlength=len(ids))
    counts = np.bincount(patient[known], minlength=len(ids))
    return ids, divide_or_nan(sums, counts)
