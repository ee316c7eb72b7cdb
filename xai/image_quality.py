"""How sharp, bright and colourful a fundus image is inside its field of view: what changes with the camera."""

from typing import NamedTuple

import cv2
import numpy as np

_WEIGHTS = np.array([0.299, 0.587, 0.114])  # of red, green and blue in the luminance (ITU-R BT.601)
_RIM = 5  # pixels, of the field of view: its edge would count as sharp


class ImageQuality(NamedTuple):
    """Measures of one image.

    sharpness: log10 of the variance of the Laplacian of the green channel (Pech-Pacheco et al. 2000), in grey levels;
    brightness: mean luminance, 0 to 1; contrast: standard deviation of the luminance, 0 to 0.5; redness: share of red
    in the sum of the three channels, 0 to 1.
    """

    sharpness: float
    brightness: float
    contrast: float
    redness: float


NOT_KNOWN = ImageQuality(*[np.nan] * 4)


def image_quality(rgb: np.ndarray, fov: np.ndarray) -> ImageQuality:
    """Measure one image.

    Args:
        rgb: (H, W, 3) uint8.
        fov: (H, W) bool, the field of view.

    Returns:
        The measures; all NaN if nothing is left of the field of view without its rim.
    """
    # The rim of the array is not eroded otherwise, as if the field of view continued outside.
    inside = cv2.erode(
        fov.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    ).astype(bool)
    if not inside.any():
        return NOT_KNOWN
    pixels = rgb[inside].astype(np.float64)
    luminance = pixels @ _WEIGHTS / 255
    edges = cv2.Laplacian(np.ascontiguousarray(rgb[..., 1]), cv2.CV_64F)[inside]
    total = pixels.sum(axis=1)
    red = np.divide(pixels[:, 0], total, out=np.full(len(pixels), 1 / 3), where=total > 0)
    return ImageQuality(
        sharpness=float(np.log10(max(edges.var(), 1e-6))),
        brightness=float(luminance.mean()),
        contrast=float(luminance.std()),
        redness=float(red.mean()),
    )
