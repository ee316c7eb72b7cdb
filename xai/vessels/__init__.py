"""Artery and vein masks of images from several sources. To add a source, write a module and import it here."""

from xai.planes import REGIONS
from xai.vessels import automorph_results, bfnet, masks, wnet  # noqa: F401 (importing a source registers it)
from xai.vessels.source import (
    ChecksImages,
    FundusImage,
    VesselMasks,
    VesselSource,
    binary,
    open_source,
    regions,
    source_names,
    vessel_source,
)

__all__ = [
    "REGIONS",
    "ChecksImages",
    "FundusImage",
    "VesselMasks",
    "VesselSource",
    "binary",
    "open_source",
    "regions",
    "source_names",
    "vessel_source",
]
