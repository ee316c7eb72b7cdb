"""How well vessel masks agree with an expert's: pixel by pixel, and as the coverage that saliency is measured in.

Crossings and vessels of undecided type are where conventions differ; ours is that of `xai.vessels.regions` wherever it
can be. A pixel is *undecided* where a mask calls it uncertain, or artery and vein at once. To the vessel tree it counts
like any other vessel. To artery and vein alone:

* undecided for the expert: left out, as there is no truth to hold a mask against;
* undecided for the mask: counted as artery and as vein, as in the study, so right for one and wrong for the other;
* the confusion of artery and vein is counted where both have decided.
"""

from dataclasses import dataclass

import numpy as np

from xai.vessels.source import VesselMasks


@dataclass(frozen=True)
class Overlap:
    """0 to 1 each; NaN where nothing is there to be shared out.

    Dice: 2 * both / (mask + expert), also called F1; sensitivity: both / expert; precision: both / mask.
    """

    dice: float
    sensitivity: float
    precision: float


@dataclass(frozen=True)
class Agreement:
    """Of masks with an expert's. The shares of confusion are 0 to 1, NaN where there is no such pixel.

    artery_as_vein: of the expert's artery that the mask found to be vessel and decided, the share it called vein;
    vein_as_artery: the reverse; accuracy: of both together, the share that has the right name.
    """

    vessel: Overlap
    artery: Overlap
    vein: Overlap
    artery_as_vein: float
    vein_as_artery: float
    accuracy: float


def agreement(found: VesselMasks, expert: VesselMasks, fov: np.ndarray) -> Agreement:
    """Pixel by pixel at the image's resolution, inside the field of view (H, W) bool alone."""
    masked, truth = _Classes.of(found, fov), _Classes.of(expert, fov)
    told = ~truth.undecided
    artery_right, vein_right = _count(truth.artery, masked.artery), _count(truth.vein, masked.vein)
    artery_wrong, vein_wrong = _count(truth.artery, masked.vein), _count(truth.vein, masked.artery)
    right = artery_right + vein_right
    return Agreement(
        vessel=overlap(masked.vessel, truth.vessel),
        artery=overlap((masked.artery | masked.undecided) & told, truth.artery),
        vein=overlap((masked.vein | masked.undecided) & told, truth.vein),
        artery_as_vein=_share(artery_wrong, artery_right + artery_wrong),
        vein_as_artery=_share(vein_wrong, vein_right + vein_wrong),
        accuracy=_share(right, right + artery_wrong + vein_wrong),
    )


def overlap(mask: np.ndarray, expert: np.ndarray) -> Overlap:
    """Of two bool arrays of one shape."""
    both, masked, true = _count(mask, expert), _count(mask, mask), _count(expert, expert)
    return Overlap(_share(2 * both, masked + true), _share(both, true), _share(both, masked))


@dataclass(frozen=True)
class CoverageAgreement:
    """Of one region's coverage, over the pixels that the field of view touches.

    error: mean absolute difference, 0 to 1; correlation: Pearson's, NaN where either is the same everywhere;
    bias: (mask's area - expert's) / expert's, 0.1 being a tenth too much; NaN where the expert has none.
    """

    error: float
    correlation: float
    bias: float


def coverage_agreement(found: np.ndarray, expert: np.ndarray, fov: np.ndarray) -> CoverageAgreement:
    """Of two (H, W) uint8 planes of `xai.vessels.regions`, inside the third, its field of view."""
    one, other = (plane[fov > 0] / 255 for plane in (found, expert))
    if not one.size:
        raise ValueError("the field of view is empty: nothing to compare coverage in")
    same = one.std() == 0 or other.std() == 0
    return CoverageAgreement(
        error=float(np.abs(one - other).mean()),
        correlation=float("nan") if same else float(np.corrcoef(one, other)[0, 1]),
        bias=_share(one.sum() - other.sum(), other.sum()),
    )


@dataclass(frozen=True)
class _Classes:
    """(n,) bool each, of the pixels in the field of view: artery, vein and undecided share the vessels out."""

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
