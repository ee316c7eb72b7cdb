"""Quality flags for segmentations that are probably wrong. Flagged images are counted and reported.

The limits are based on experts' masks of 23 images (HRF, LES-AV), none of which is flagged, and on W-Net's masks of 193
ODIR images, which were inspected one by one near each limit.
"""

from collections.abc import Sequence

import numpy as np

from xai.planes import REGIONS
from xai.vessels.alignment import CLEAR, Alignment

FLAGS = (
    "no_vessels", "few_vessels", "many_vessels", "artery_vein_unbalanced", "artery_like_vein", "masks_turned",
    "masks_misplaced", "small_fov",
)  # fmt: skip
# Share of the field of view covered by vessels. Experts: 0.060 to 0.136. ODIR: median 0.052. 13 ODIR images, most of
# them hazy or badly exposed, have 0.003 or less, which is nothing or loose fragments; the next has 0.006. From about
# 0.025 (reached by three quarters) the main arcades are visible.
NO_VESSELS = 0.005
FEW_VESSELS = 0.025
# A quarter above the maximum of W-Net's weights for DRIVE, which draw vessels too wide, on 140 ODIR images (0.144);
# experts: 0.136.
MANY_VESSELS = 0.18
# Artery / (artery + vein). Experts: 0.35 to 0.51. ODIR: 90 % between 0.18 and 0.53. Beyond these limits arteries and
# veins are confused for whole vessel trees.
ARTERY_SHARE = (0.2, 0.6)
# Dice of artery and vein, which share crossings and vessels of undecided type. Experts: at most 0.15.
ARTERY_LIKE_VEIN = 0.5
# Correlation of the masks with dark lines of the image. Experts: at least 0.35; W-Net on ODIR images with vessels: at
# least 0.17; one patient's masks on another patient's image: at most 0.12, and in 99 % below 0.09.
ON_VESSELS = 0.12
# Share of the image covered by the field of view: 0.785 for a complete disc, 0.65 in HRF, where the frame cuts the disc
# off above and below; the minimum in ODIR is 0.67.
SMALL_FOV = 0.5


def quality_flags(planes: np.ndarray, alignments: Sequence[Alignment | None] = ()) -> list[tuple[str, ...]]:
    """The quality flags of each segmentation.

    - `no_vessels`, `few_vessels`: vessels cover less than `NO_VESSELS`, or `FEW_VESSELS`, of the field of view.
    - `many_vessels`: vessels cover more than `MANY_VESSELS` of the field of view.
    - `artery_vein_unbalanced`: artery / (artery + vein) is outside `ARTERY_SHARE`.
    - `artery_like_vein`: the Dice coefficient of artery and vein is above `ARTERY_LIKE_VEIN`.
    - `masks_turned`: rotated or mirrored masks have a correlation with the image's vessels that is higher by more than
      `CLEAR`.
    - `masks_misplaced`: the correlation of the masks with the image's dark lines is below `ON_VESSELS`.
    - `small_fov`: the field of view covers less than `SMALL_FOV` of the image.

    Args:
        planes: (B, 4, H, W) uint8 coverage of `xai.planes.REGIONS`, 255 being fully inside.
        alignments: alignment of each segmentation with its image, None where not measured; empty for no alignments.

    Returns:
        For each segmentation, its flags in the order of `FLAGS`; empty if there is no problem.
    """
    areas = planes.sum(axis=(2, 3), dtype=np.float64) / 255
    artery, vein, vessel, fov = (areas[:, REGIONS.index(name)] for name in ("artery", "vein", "vessel", "fov"))
    fraction, balance = _share(vessel, fov), _share(artery, artery + vein)
    alike = _share(
        2 * (artery + vein - vessel), artery + vein
    )  # a pixel of both counts twice in the sum, once in the union
    none = fraction < NO_VESSELS
    lowest, highest = ARTERY_SHARE
    unknown = Alignment(np.nan, np.nan)
    measured = [fit or unknown for fit in alignments] or [unknown] * len(planes)
    upright, best_turned = (np.array([getattr(fit, way) for fit in measured]) for way in ("upright", "turned"))
    turned = best_turned - upright > CLEAR
    found = {
        "no_vessels": none,
        "few_vessels": ~none & (fraction < FEW_VESSELS),
        "many_vessels": fraction > MANY_VESSELS,
        "artery_vein_unbalanced": ~none & ((balance < lowest) | (balance > highest)),
        "artery_like_vein": ~none & (alike > ARTERY_LIKE_VEIN),
        "masks_turned": turned,
        "masks_misplaced": ~none & ~turned & (upright < ON_VESSELS),
        "small_fov": fov / (planes.shape[2] * planes.shape[3]) < SMALL_FOV,
    }
    return [tuple(flag for flag in FLAGS if found[flag][index]) for index in range(len(planes))]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
