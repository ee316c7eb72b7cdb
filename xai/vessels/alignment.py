"""Whether vessel masks lie on the image's vessels, as they are and turned or mirrored.

Vessels are darker than the retina around them, most of all in the green channel. The measure is the correlation, inside
the field of view, of the masks with how much darker the image is than its surround (in local standard deviations,
cut off at 3). On the experts' masks of 23 images (HRF, LES-AV) it is 0.35 to 0.76, and at most 0.05 for the same
masks turned by 180 degrees or mirrored, which were all found. On W-Net's masks (weights for DRIVE) of the 127 of 140
ODIR images on which it finds vessels it is 0.17 to 0.70, and at most 0.09 turned (by a quarter, too) or mirrored.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 384  # px, the longer side at which masks and image are compared: thin vessels are still seen, shifts are not
CLEAR = 0.1  # a correlation that is higher by this much is a better fit, not chance
_AROUND = 0.03  # of the longer side: the standard deviation of what counts as a pixel's surround
_EVEN = 1e-4  # standard deviation of what is the same everywhere but for rounding; images have about 1
_RIM = 5  # px inside the field of view that are left out: the camera's edge is no vessel


@dataclass(frozen=True)
class Alignment:
    """Correlation, -1 to 1, of masks with dark lines of the image: as they are, and at best turned or mirrored.

    NaN where there is nothing to correlate: no vessel, or an even image.
    """

    upright: float
    turned: float


def alignment(rgb: np.ndarray, fov: np.ndarray, vessel: np.ndarray) -> Alignment:
    """Of an (H, W) bool mask with its (H, W, 3) uint8 image, inside the (H, W) bool field of view."""
    dark, inner = _darkness(rgb, fov)
    small = _reduced(vessel)
    upright, *turned = (_correlation(dark, way, inner) for way in _ways(small))
    return Alignment(upright, float(np.nanmax(turned)) if np.isfinite(turned).any() else float("nan"))


def on_vessels(rgb: np.ndarray, fov: np.ndarray, vessel: np.ndarray) -> float:
    """The correlation of the mask as it is; NaN where there is nothing to correlate."""
    dark, inner = _darkness(rgb, fov)
    return _correlation(dark, _reduced(vessel), inner)


def _ways(plane: np.ndarray) -> list[np.ndarray]:
    """The plane, and the plane turned and mirrored in every way that keeps its shape."""
    ways = [plane, plane[:, ::-1], plane[::-1], plane[::-1, ::-1]]
    return [*ways, *(way.T for way in ways)] if plane.shape[0] == plane.shape[1] else ways


def _darkness(rgb: np.ndarray, fov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) float32: how much darker than its surround; and (h, w) bool: where that can be said."""
    green, inside = _reduced(rgb[..., 1]), _reduced(fov) > 0.99
    sigma = _AROUND * max(green.shape)
    weight = np.maximum(_blurred(inside.astype(np.float32), sigma), 1e-6)
    around = _blurred(np.where(inside, green, 0), sigma) / weight
    difference = np.where(inside, around - green, 0)
    deviation = np.sqrt(_blurred(difference**2, sigma) / weight)
    inner = cv2.erode(inside.astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)) > 0
    return np.clip(difference / np.maximum(deviation, 1), -3, 3), inner


def _reduced(plane: np.ndarray) -> np.ndarray:
    """(h, w) float32 by area averaging, so that thin vessels keep their share."""
    height, width = plane.shape
    scale = min(1, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _blurred(plane: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(plane, (0, 0), sigma)


def _correlation(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    a, b = one[inside], other[inside]
    if not a.size or min(a.std(), b.std()) < _EVEN:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
