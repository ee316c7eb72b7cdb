"""Vessel source "masks": existing artery and vein masks, named in the manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xai.landmarks import refuse_most
from xai.mask import READING, MaskError, read_mask
from xai.placement import place
from xai.vessels.alignment import CLEAR, on_vessels
from xai.vessels.source import FundusImage, VesselMasks, vessel_source

COLUMNS = ("artery_mask", "vein_mask")


class MaskFiles:
    """Reads the files in the columns `artery_mask` and `vein_mask`, by the rules in `xai.mask`."""

    def __init__(self) -> None:
        self.provenance = {"name": "masks", "inside": READING}

    def segment(self, images: Sequence[FundusImage]) -> list[VesselMasks]:
        """The masks of each image. A crossing belongs to both masks, so no pixel is uncertain.

        Raises:
            ValueError: a row names no mask, a file cannot be read or is ambiguous, has another size than the image or
                covers most of it, or both files mark the same pixels.
        """
        return [_masks(image) for image in images]


def _masks(image: FundusImage) -> VesselMasks:
    paths = [_path(image, column) for column in COLUMNS]
    read = [read_mask(column, path) for column, path in zip(COLUMNS, paths, strict=True)]
    named = [f"{column} {path}" for column, path in zip(COLUMNS, paths, strict=True)]
    placed, note = _placed(image, read, named)
    for name, mask in zip(named, placed, strict=True):
        refuse_most(name, mask, image.fov)
    artery, vein = placed
    if artery.any() and np.array_equal(artery, vein):
        raise MaskError(
            f"{image.row['image']}: {' and '.join(named)} mark the same pixels: name a mask of the arteries and one of "
            "the veins, or one map with red arteries and blue veins twice"
        )
    return VesselMasks(artery, vein, np.zeros(image.fov.shape, dtype=bool), note=note)


def _placed(
    image: FundusImage, read: Sequence[tuple[np.ndarray, bool]], named: Sequence[str]
) -> tuple[list[np.ndarray], str]:
    """Both masks on the upright image. Masks of the same shape are assumed to be drawn together."""

    def fit(vessel: np.ndarray) -> float:
        return on_vessels(image.rgb, image.fov, vessel)

    def lay(masks: Sequence[np.ndarray], own: bool, name: str) -> tuple[list[np.ndarray], str]:
        height, width = image.fov.shape
        return place(name, masks, own, (height, width), image.orientation, fit, CLEAR)

    (artery, artery_own), (vein, vein_own) = read
    if artery.shape == vein.shape and artery_own == vein_own:
        return lay([artery, vein], artery_own, named[0])
    both = [lay([mask], own, name) for (mask, own), name in zip(read, named, strict=True)]
    return [masks[0] for masks, _ in both], max(note for _, note in both)


def _path(image: FundusImage, column: str) -> Path:
    path = image.row.get(column)
    if not path:
        raise ValueError(f"{image.row['image']}: no {column} in the manifest: fill the column or use another source")
    return Path(path)


@vessel_source("masks")
def open_masks(weights: Path | None, size: int | None, device: str) -> MaskFiles:
    """The source for mask files; weights, size and device are not used."""
    return MaskFiles()
