"""What a vessel source is: images in, artery and vein masks out. New sources register themselves by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from xai.crop import Square, coverage


@dataclass(frozen=True)
class FundusImage:
    """An image at full resolution: `rgb` (H, W, 3) uint8, `fov` (H, W) bool, and its row of the manifest.

    The row gives `image` and, where the manifest has them, the paths of mask files (absolute, or None). Orientation:
    EXIF's, 1 to 8, that `rgb` has been turned by; 1 where the file stores it upright.
    """

    rgb: np.ndarray
    fov: np.ndarray
    row: Mapping[str, Any]
    orientation: int = 1


@dataclass(frozen=True)
class VesselMasks:
    """(H, W) bool each, at the image's resolution. Uncertain: vessel, but artery, vein or both is undecided.

    Disagreement: how far apart an ensemble's members are, 0 (agreed) to 0.5; None for sources that are no ensemble.
    Note: what was done to the masks that a reader should know; "" for nothing.
    """

    artery: np.ndarray
    vein: np.ndarray
    uncertain: np.ndarray
    disagreement: float | None = None
    note: str = ""


class VesselSource(Protocol):
    """Segments images. `provenance` says what made the masks (name, size, SHA-256 of weights), and under
    `caution`, where there is one, what a reader of any number made from them must know."""

    provenance: dict[str, str]

    def segment(self, images: Sequence[FundusImage]) -> list[VesselMasks]:
        """One result per image, in order. Raises ValueError where an image has no usable masks."""
        ...


@runtime_checkable
class ChecksImages(Protocol):
    """A vessel source that can see before a run that images will not get masks of their own."""

    def check(self, test: Sequence[str], others: Sequence[str]) -> None:
        """Raises ValueError, in one line, for the images to segment and the cohort's others, as the manifest names
        them."""
        ...


Factory = Callable[[Path | None, int | None, str], VesselSource]

_FACTORIES: dict[str, Factory] = {}


def vessel_source(name: str) -> Callable[[Factory], Factory]:
    """Register a factory `(weights, size, device) -> VesselSource` under the name that users type."""

    def register(factory: Factory) -> Factory:
        if name in _FACTORIES:
            raise ValueError(f"vessel source {name!r} is registered twice: give one of them another name")
        _FACTORIES[name] = factory
        return factory

    return register


def source_names() -> list[str]:
    """The registered names, in alphabetical order."""
    return sorted(_FACTORIES)


def open_source(name: str, weights: Path | None = None, size: int | None = None, device: str = "cpu") -> VesselSource:
    """The vessel source of that name.

    Args:
        weights: file or folder the source needs; None for a source that needs none.
        size: side in pixels at which a network sees the image; None for the side it was trained at.
        device: torch device, for sources that are networks.

    Raises:
        ValueError: no source of that name; weights missing or not those of the source.
    """
    if name not in _FACTORIES:
        close = get_close_matches(name, _FACTORIES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown vessel source {name!r}: {hint}known: {', '.join(source_names())}")
    return _FACTORIES[name](weights, size, device)


def regions(masks: VesselMasks, fov: np.ndarray, square: Square, size: int) -> np.ndarray:
    """The regions of an image on its square crop, as coverage planes in the order of `REGIONS`.

    Uncertain pixels (in AutoMorph mostly crossings) count as artery and as vein, and once in the union. Vessels count
    inside the field of view alone, so artery and vein never exceed vessel, nor vessel the field of view.

    Returns:
        (4, size, size) uint8, 0 to 255 for a share of 0 to 1.
    """
    artery = (masks.artery | masks.uncertain) & fov
    vein = (masks.vein | masks.uncertain) & fov
    return np.stack([coverage(plane, square, size) for plane in (artery, vein, artery | vein, fov)])


def binary(planes: np.ndarray) -> np.ndarray:
    """Coverage as yes or no, as in the published study: all of a pixel of which at least half lies inside, else none.

    Vessels much thinner than a pixel vanish.

    Args:
        planes: uint8 of any shape, as `regions` returns them.

    Returns:
        The same shape, uint8 of 0 and 255.
    """
    return np.where(planes >= 128, 255, 0).astype(np.uint8)
