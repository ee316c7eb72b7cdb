"""Vessel source "masks": artery and vein masks drawn or computed elsewhere, named in the manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xai.landmarks import refuse_most
from xai.mask import READING, MaskError, read_mask
from xai.placement import place
from xai.vessels.alignment import CLEAR, on_vessels
from xai.vessels.source import Photo, VesselMasks, vessel_source

COLUMNS = ("artery_mask", "vein_mask")


class MaskFiles:
    """Reads the files in the columns `artery_mask` and `vein_mask`; what they mark is said in `xai.mask`."""

    def __init__(self) -> None:
        self.provenance = {"name": "masks", "inside": READING}

    def segment(self, photos: Sequence[Photo]) -> list[VesselMasks]:
        """The masks of each photograph; a crossing is a pixel of both, so nothing is uncertain.

        Raises:
            ValueError: a row names no mask, a file cannot be read or is not clear, has another size than the
                photograph or marks most of it, or both files mark the same pixels.
        """
        return [_masks(photo) for photo in photos]


def _masks(photo: Photo) -> VesselMasks:
    paths = [_path(photo, column) for column in COLUMNS]
    read = [read_mask(column, path) for column, path in zip(COLUMNS, paths, strict=True)]
    named = [f"{column} {path}" for column, path in zip(COLUMNS, paths, strict=True)]
    placed, note = _placed(photo, read, named)
    for name, mask in zip(named, placed, strict=True):
        refuse_most(name, mask, photo.fov)
    artery, vein = placed
    if artery.any() and np.array_equal(artery, vein):
        raise MaskError(
            f"{photo.row['image']}: {' and '.join(named)} mark the same pixels: name a mask of the arteries and one of "
            "the veins, or one map with red arteries and blue veins twice"
        )
    return VesselMasks(artery, vein, np.zeros(photo.fov.shape, dtype=bool), note=note)


def _placed(
    photo: Photo, read: Sequence[tuple[np.ndarray, bool]], named: Sequence[str]
) -> tuple[list[np.ndarray], str]:
    """Both masks on the upright photograph: drawn together where they have one shape."""

    def fit(vessel: np.ndarray) -> float:
        return on_vessels(photo.rgb, photo.fov, vessel)

    def lay(masks: Sequence[np.ndarray], own: bool, name: str) -> tuple[list[np.ndarray], str]:
        height, width = photo.fov.shape
        return place(name, masks, own, (height, width), photo.orientation, fit, CLEAR)

    (artery, artery_own), (vein, vein_own) = read
    if artery.shape == vein.shape and artery_own == vein_own:
        return lay([artery, vein], artery_own, named[0])
    both = [lay([mask], own, name) for (mask, own), name in zip(read, named, strict=True)]
    return [masks[0] for masks, _ in both], max(note for _, note in both)


def _path(photo: Photo, column: str) -> Path:
    path = photo.row.get(column)
    if not path:
        raise ValueError(f"{photo.row['image']}: no {column} in the manifest: fill the column or use another source")
    return Path(path)


@vessel_source("masks")
def open_masks(weights: Path | None, size: int | None, device: str) -> MaskFiles:
    """Masks are read as they are: no weights, size or device."""
    return MaskFiles()
