"""Vessel sources: the interface from images to artery and vein masks, and the registry of sources by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from backbones.naming import Registry
from xai.crop import Square, coverage


@dataclass(frozen=True)
class FundusImage:
    """An image at full resolution.

    Attributes:
        rgb: (H, W, 3) uint8, upright.
        fov: (H, W) bool, the field of view.
        row: the image's row of the manifest: `image` and, if the manifest has them, the paths of mask files (absolute,
            or None).
        orientation: EXIF orientation, 1 to 8, by which `rgb` has been rotated; 1 if the file stores it upright.
    """

    rgb: np.ndarray
    fov: np.ndarray
    row: Mapping[str, Any]
    orientation: int = 1


@dataclass(frozen=True)
class VesselMasks:
    """The vessel masks of an image, at the image's resolution.

    Attributes:
        artery: (H, W) bool.
        vein: (H, W) bool.
        uncertain: (H, W) bool, vessel pixels that may be artery, vein or both.
        disagreement: disagreement of an ensemble's members, 0 (all agree) to 0.5; None for a source that is not an
            ensemble.
        note: a change to the masks that a reader should know of, or "".
    """

    artery: np.ndarray
    vein: np.ndarray
    uncertain: np.ndarray
    disagreement: float | None = None
    note: str = ""


class VesselSource(Protocol):
    """The interface of a vessel source.

    Attributes:
        provenance: the origin of the masks (name, size, SHA-256 of weights) and, optionally under `caution`, a warning
            for the interpretation of results from these masks.
    """

    provenance: dict[str, str]

    def segment(self, images: Sequence[FundusImage]) -> list[VesselMasks]:
        """Segments images.

        Returns:
            One result per image, in the same order.

        Raises:
            ValueError: an image has no usable masks.
        """
        ...


@runtime_checkable
class ChecksImages(Protocol):
    """A vessel source that can check before a run that each image has its own masks."""

    def check(self, test: Sequence[str], others: Sequence[str]) -> None:
        """Checks the images of a cohort.

        Args:
            test: the images to segment, as named in the manifest.
            others: the other images of the cohort.

        Raises:
            ValueError: an image does not have its own masks; the message is one line.
        """
        ...


Factory = Callable[[Path | None, int | None, str], VesselSource]

SOURCES: Registry[Factory] = Registry("vessel source")


def vessel_source(name: str) -> Callable[[Factory], Factory]:
    """Decorator that registers a factory `(weights, size, device) -> VesselSource`.

    Args:
        name: the name of the source in a configuration.

    Raises:
        ValueError: the name is already registered.
    """

    return partial(SOURCES.register, name)


def source_names() -> list[str]:
    """The registered names, in alphabetical order."""
    return sorted(SOURCES)


def open_source(name: str, weights: Path | None = None, size: int | None = None, device: str = "cpu") -> VesselSource:
    """The vessel source of a name.

    Args:
        name: one of `source_names()`.
        weights: file or folder that the source needs; None for a source without weights.
        size: side of a network's input in pixels; None for the size in training.
        device: torch device of a network.

    Raises:
        ValueError: there is no source of this name, or the weights are missing or do not belong to the source.
    """
    return SOURCES.find(name)(weights, size, device)


def regions(masks: VesselMasks, fov: np.ndarray, square: Square, size: int) -> np.ndarray:
    """The regions of an image on its square crop, as coverage planes in the order of `xai.planes.REGIONS`.

    Uncertain pixels (in AutoMorph mostly crossings) count as artery and as vein, and once in the union. Vessels outside
    the field of view do not count, so artery and vein never exceed vessel, and vessel never exceeds the field of view.

    Args:
        masks: the vessel masks.
        fov: (H, W) bool, the field of view.
        square: the square crop.
        size: side of the planes in pixels.

    Returns:
        (4, size, size) uint8, 0 to 255 for a coverage of 0 to 1.
    """
    artery = (masks.artery | masks.uncertain) & fov
    vein = (masks.vein | masks.uncertain) & fov
    return np.stack([coverage(plane, square, size) for plane in (artery, vein, artery | vein, fov)])


def binary(planes: np.ndarray) -> np.ndarray:
    """Binary coverage, as in the published study: a pixel is fully inside if at least half of it is, otherwise outside.

    Vessels that are much thinner than a pixel vanish.

    Args:
        planes: uint8 of any shape, as `regions` returns them.

    Returns:
        uint8 of 0 and 255, in the same shape.
    """
    return np.where(planes >= 128, 255, 0).astype(np.uint8)
