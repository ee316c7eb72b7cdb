"""Alignment of vessel masks with the vessels of their image, as given and after rotation or mirroring.

Vessels are darker than the surrounding retina, most clearly in the green channel. The measure is the correlation inside
the field of view between the masks and the local darkness: how much darker a pixel is than its surroundings, in local
standard deviations, cut off at 3. For experts' masks of 23 images (HRF, LES-AV) it is 0.35 to 0.76. For the same masks
rotated by 180 degrees or mirrored it is at most 0.05, and all of these were detected. For W-Net's masks (weights for
DRIVE) of the 127 of 140 ODIR images with detected vessels, it is 0.17 to 0.70, and at most 0.09 after rotation
(including a quarter turn) or mirroring.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 384  # px, longer side at which masks and image are compared: thin vessels are visible, small shifts are not
CLEAR = 0.1  # difference of correlations that shows a better fit and is not due to chance
_AROUND = 0.03  # of the longer side: standard deviation of the Gaussian that defines a pixel's surroundings
_EVEN = 1e-4  # standard deviation below which an array is constant except for rounding; images have about 1
_RIM = 5  # px at the rim of the field of view that are left out, because the camera's edge is not a vessel


@dataclass(frozen=True)
class Alignment:
    """Correlation of masks with the dark lines of the image, in [-1, 1]; NaN without vessels or for a uniform image.

    Attributes:
        upright: correlation of the masks as given.
        turned: highest correlation of the masks after rotation or mirroring.
    """

    upright: float
    turned: float


def alignment(rgb: np.ndarray, fov: np.ndarray, vessel: np.ndarray) -> Alignment:
    """Alignment of a mask with its image, inside the field of view.

    Args:
        rgb: (H, W, 3) uint8.
        fov: (H, W) bool, the field of view.
        vessel: (H, W) bool, the mask of all vessels.
    """
    dark, inner = _darkness(rgb, fov)
    small = _reduced(vessel)
    upright, *turned = (_correlation(dark, way, inner) for way in _ways(small))
    return Alignment(upright, float(np.nanmax(turned)) if np.isfinite(turned).any() else float("nan"))


def on_vessels(rgb: np.ndarray, fov: np.ndarray, vessel: np.ndarray) -> float:
    """Correlation of a mask with the dark lines of its image, without rotation or mirroring.

    Args:
        rgb: (H, W, 3) uint8.
        fov: (H, W) bool, the field of view.
        vessel: (H, W) bool, the mask of all vessels.

    Returns:
        A value in [-1, 1]; NaN without vessels or for a uniform image.
    """
    dark, inner = _darkness(rgb, fov)
    return _correlation(dark, _reduced(vessel), inner)


def _ways(plane: np.ndarray) -> list[np.ndarray]:
    """The plane itself, then rotated and mirrored in every way that keeps its shape."""
    ways = [plane, plane[:, ::-1], plane[::-1], plane[::-1, ::-1]]
    return [*ways, *(way.T for way in ways)] if plane.shape[0] == plane.shape[1] else ways


def _darkness(rgb: np.ndarray, fov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local darkness, (h, w) float32, and the pixels for which it is defined, (h, w) bool."""
    green, inside = _reduced(rgb[..., 1]), _reduced(fov) > 0.99
    sigma = _AROUND * max(green.shape)
    weight = np.maximum(_blurred(inside.astype(np.float32), sigma), 1e-6)
    around = _blurred(np.where(inside, green, 0), sigma) / weight
    difference = np.where(inside, around - green, 0)
    deviation = np.sqrt(_blurred(difference**2, sigma) / weight)
    inner = cv2.erode(inside.astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)) > 0
    return np.clip(difference / np.maximum(deviation, 1), -3, 3), inner


def _reduced(plane: np.ndarray) -> np.ndarray:
    """The plane at reduced size, (h, w) float32, by area averaging so that thin vessels keep their area."""
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
