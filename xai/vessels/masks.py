"""Vessel source "masks": artery and vein masks drawn or computed elsewhere, named in the manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xai.picture import PictureError, open_picture
from xai.vessels.source import Photo, VesselMasks, vessel_source


class MaskFiles:
    """Reads the files in the columns `artery_mask` and `vein_mask`: any nonzero pixel is vessel."""

    def __init__(self) -> None:
        self.provenance = {"name": "masks"}

    def segment(self, photos: Sequence[Photo]) -> list[VesselMasks]:
        """The masks of each photograph; a crossing is a pixel of both, so nothing is uncertain.

        Raises:
            ValueError: a row names no mask, or the file cannot be read or has another size than the photograph.
        """
        return [
            VesselMasks(_read(photo, "artery_mask"), _read(photo, "vein_mask"), np.zeros(photo.fov.shape, dtype=bool))
            for photo in photos
        ]


def _read(photo: Photo, column: str) -> np.ndarray:
    path = photo.row.get(column)
    if not path:
        raise ValueError(f"{photo.row['image']}: no {column} in the manifest: fill the column or use another source")
    try:
        mask = np.asarray(open_picture(Path(path)).convert("RGB")).max(axis=2) > 0
    except PictureError as error:
        raise ValueError(f"{path}: cannot be read as a mask ({error})") from error
    if mask.shape != photo.fov.shape:
        (height, width), (photo_height, photo_width) = mask.shape, photo.fov.shape
        raise ValueError(
            f"{path}: the mask is {width}x{height} pixels, its photograph {photo_width}x{photo_height}: "
            "save the mask at the photograph's size"
        )
    return mask


@vessel_source("masks")
def open_masks(weights: Path | None, size: int | None, device: str) -> MaskFiles:
    """Masks are read as they are: no weights, size or device."""
    return MaskFiles()
