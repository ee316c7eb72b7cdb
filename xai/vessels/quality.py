"""Quality flags: segmentations that say little about the vessels, to be counted and reported, not averaged in silence.

The limits come from the experts' masks of 23 images (HRF, LES-AV), none of which is flagged, and from W-Net's
masks of 193 ODIR images, looked at one by one near each limit.
"""

from collections.abc import Sequence

import numpy as np

from xai.planes import REGIONS
from xai.vessels.alignment import CLEAR, Alignment

FLAGS = (
    "no_vessels", "few_vessels", "many_vessels", "artery_vein_unbalanced", "artery_like_vein", "masks_turned",
    "masks_misplaced", "small_fov",
)  # fmt: skip
# Shares of the field of view that are vessel. Experts: 0.060 to 0.136. ODIR: median 0.052; 13 images, most of them
# hazy or badly exposed, have 0.003 or less, which is nothing or loose fragments, and the next has 0.006; from about
# 0.025 on, which a quarter do not reach, the main arcades are there.
NO_VESSELS = 0.005
FEW_VESSELS = 0.025
# A quarter more than the most that W-Net's weights for DRIVE, which paint vessels wide, find on 140 ODIR images
# (0.144); experts: 0.136.
MANY_VESSELS = 0.18
# Artery / (artery + vein). Experts: 0.35 to 0.51. ODIR: 90 % within 0.18 and 0.53; beyond these limits whole trees are
# called by the other's name.
ARTERY_SHARE = (0.2, 0.6)
# Dice of artery and vein, which share crossings and vessels of undecided type. Experts: up to 0.15.
ARTERY_LIKE_VEIN = 0.5
# Correlation of the masks with dark lines of the image. Experts: 0.35 and more; W-Net on ODIR, images with
# vessels: 0.17 and more; one patient's masks on another's image: at most 0.12, in 99 % below 0.09.
ON_VESSELS = 0.12
# Share of the picture that is field of view: 0.785 for a whole disc, 0.65 for HRF's, cut off above and below by the
# frame; the least in ODIR is 0.67.
SMALL_FOV = 0.5


def quality_flags(planes: np.ndarray, alignments: Sequence[Alignment | None] = ()) -> list[tuple[str, ...]]:
    """What is wrong with each segmentation, in the order of `FLAGS`; nothing for a good one.

    Args:
        planes: (B, 4, H, W) uint8 coverage of `REGIONS`, 255 being fully inside.
        alignments: with the image, one per segmentation, None where it was not measured; nothing for none.

    Returns:
        `no_vessels` and `few_vessels`: vessels cover less than `NO_VESSELS`, or `FEW_VESSELS`, of the field of view.
        `many_vessels`: they cover more than `MANY_VESSELS`.
        `artery_vein_unbalanced`: the artery's share of artery plus vein lies outside `ARTERY_SHARE`.
        `artery_like_vein`: the Dice coefficient of artery and vein is above `ARTERY_LIKE_VEIN`.
        `masks_turned`: turned or mirrored, they lie on the image's vessels better, by more than `CLEAR`.
        `masks_misplaced`: their correlation with the image's dark lines is below `ON_VESSELS`.
        `small_fov`: the field of view covers less than `SMALL_FOV` of the picture.
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
    """0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
