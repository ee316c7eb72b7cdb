"""Agreement of vessel masks with an expert's masks: by pixels, and as the coverage that saliency measures use.

Conventions differ for crossings and vessels of undecided type; this module follows `xai.vessels.regions` as far as
possible. A pixel is *undecided* if a mask marks it as uncertain, or as both artery and vein. For the agreement of all
vessels it counts like any other vessel pixel. For arteries and veins separately:

* Pixels undecided by the expert are left out, because the true class is unknown.
* Pixels undecided in the mask count as artery and as vein, as in a study: right for one and wrong for the other.
* The confusion of arteries and veins is counted where both have decided.
"""

from dataclasses import dataclass

import numpy as np

from xai.vessels.source import VesselMasks


@dataclass(frozen=True)
class Overlap:
    """Overlap of two masks, each value in 0..1; NaN for a denominator of 0.

    Attributes:
        dice: 2 * both / (mask + expert), also called F1.
        sensitivity: both / expert.
        precision: both / mask.
    """

    dice: float
    sensitivity: float
    precision: float


@dataclass(frozen=True)
class Agreement:
    """Agreement of masks with an expert's. All shares are in 0..1, and NaN without such pixels.

    Attributes:
        vessel: overlap of all vessels.
        artery: overlap of arteries.
        vein: overlap of veins.
        artery_as_vein: share of vein among those of the expert's artery pixels that are decided vessel in the mask.
        vein_as_artery: share of artery among those of the expert's vein pixels that are decided vessel in the mask.
        accuracy: share of the right class among the pixels of both groups.
    """

    vessel: Overlap
    artery: Overlap
    vein: Overlap
    artery_as_vein: float
    vein_as_artery: float
    accuracy: float


def agreement(found: VesselMasks, expert: VesselMasks, fov: np.ndarray) -> Agreement:
    """Agreement by pixels at the image's resolution, inside the field of view.

    Args:
        found: the masks to assess.
        expert: the expert's masks.
        fov: (H, W) bool, the field of view.
    """
    masked, truth = _Classes.of(found, fov), _Classes.of(expert, fov)
    decided = ~truth.undecided
    artery_right, vein_right = _count(truth.artery, masked.artery), _count(truth.vein, masked.vein)
    artery_wrong, vein_wrong = _count(truth.artery, masked.vein), _count(truth.vein, masked.artery)
    right = artery_right + vein_right
    return Agreement(
        vessel=overlap(masked.vessel, truth.vessel),
        artery=overlap((masked.artery | masked.undecided) & decided, truth.artery),
        vein=overlap((masked.vein | masked.undecided) & decided, truth.vein),
        artery_as_vein=_share(artery_wrong, artery_right + artery_wrong),
        vein_as_artery=_share(vein_wrong, vein_right + vein_wrong),
        accuracy=_share(right, right + artery_wrong + vein_wrong),
    )


def overlap(mask: np.ndarray, expert: np.ndarray) -> Overlap:
    """Overlap of two bool arrays of the same shape, the mask and the expert's."""
    both, masked, true = _count(mask, expert), _count(mask, mask), _count(expert, expert)
    return Overlap(_share(2 * both, masked + true), _share(both, true), _share(both, masked))


@dataclass(frozen=True)
class CoverageAgreement:
    """Agreement of the coverage of a region, over all pixels that overlap with the field of view.

    Attributes:
        error: mean absolute difference, in 0..1.
        correlation: Pearson's correlation; NaN if one of the two is constant.
        bias: (mask's area - expert's area) / expert's area; NaN if the expert's area is 0.
    """

    error: float
    correlation: float
    bias: float


def coverage_agreement(found: np.ndarray, expert: np.ndarray, fov: np.ndarray) -> CoverageAgreement:
    """Agreement of the coverage of a region.

    Args:
        found: (H, W) uint8, a plane of `xai.vessels.regions`.
        expert: (H, W) uint8, the expert's plane.
        fov: (H, W) uint8, the plane of the field of view.

    Raises:
        ValueError: the field of view is empty.
    """
    one, other = (plane[fov > 0] / 255 for plane in (found, expert))
    if not one.size:
        raise ValueError("the field of view is empty: coverage cannot be compared")
    same = one.std() == 0 or other.std() == 0
    return CoverageAgreement(
        error=float(np.abs(one - other).mean()),
        correlation=float("nan") if same else float(np.corrcoef(one, other)[0, 1]),
        bias=_share(one.sum() - other.sum(), other.sum()),
    )


@dataclass(frozen=True)
class _Classes:
    """Artery, vein and undecided pixels in the field of view, (n,) bool each, without overlap."""

    artery: np.ndarray
    vein: np.ndarray
    undecided: np.ndarray

    @classmethod
    def of(cls, masks: VesselMasks, fov: np.ndarray) -> "_Classes":
        artery, vein, uncertain = masks.artery[fov], masks.vein[fov], masks.uncertain[fov]
        undecided = uncertain | (artery & vein)
        return cls(artery & ~undecided, vein & ~undecided, undecided)

    @property
    def vessel(self) -> np.ndarray:
        return self.artery | self.vein | self.undecided


def _count(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.count_nonzero(one & other))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
