"""All measures of a signed map: one row of `saliency.parquet`."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from xai.gradcam import saliency_maps
from xai.planes import REGIONS
from xai.regions import region_names, region_saliency
from xai.saliency import MEANS, OUTSIDE, RATIOS, Scaling, other_scaling, share_outside, vessel_saliency

VESSEL_MEASURES = (*MEANS, *RATIOS)


def measure_names(scaling: Scaling, sided: bool, disc: bool) -> tuple[str, ...]:
    """The columns of `measure`, in order.

    Args:
        scaling: scaling of the columns without a suffix.
        sided: whether the side of the eyes is known.
        disc: whether there are masks of the optic disc.
    """
    others = region_names(sided, disc)
    again = tuple(f"{name}_{other_scaling(scaling)}" for name in VESSEL_MEASURES)
    return (
        *VESSEL_MEASURES,
        OUTSIDE,
        "fov",
        *(column for name in others for column in (name, f"{name}_ratio")),
        *again,
    )


def measure(
    signed: Tensor,
    planes: np.ndarray,
    scaling: Scaling = "minmax",
    eyes: Sequence[str | None] | None = None,
    disc: np.ndarray | None = None,
) -> np.ndarray:
    """Region means and ratios of signed maps, for vessels under both scalings.

    Args:
        signed: (B, rows, columns), as every method of `xai.methods` returns them.
        planes: (B, 4, H, W) uint8 coverage of `xai.planes.REGIONS`, H equal to W.
        scaling: scaling of the columns without a suffix. The vessel columns under the other scaling end in its name.
        eyes: as in `xai.regions.other_regions`.
        disc: as in `xai.regions.other_regions`.

    Returns:
        (B, columns) float64 in the order of `measure_names`; NaN for an undefined value.
    """
    size = planes.shape[2]
    maps = saliency_maps(signed, size, scaling).cpu().numpy()
    found = vessel_saliency(maps, planes) | region_saliency(maps, planes, eyes, disc)
    found[OUTSIDE] = share_outside(maps, planes[:, REGIONS.index("fov")])
    other = other_scaling(scaling)
    again = vessel_saliency(saliency_maps(signed, size, other).cpu().numpy(), planes)
    found |= {f"{name}_{other}": values for name, values in again.items()}
    return np.stack([found[name] for name in measure_names(scaling, eyes is not None, disc is not None)], axis=1)
