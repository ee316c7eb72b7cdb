"""AutoMorph's processing around its artery/vein network: the crop of an image, the network's input, and cleaning.

Zhou et al., "AutoMorph: Automated Retinal Vascular Morphology Quantification Via a Deep Learning Pipeline", TVST 2022;
GitHub rmaphoh/AutoMorph (Apache-2.0), folders M0_Preprocess and M2_Artery_vein.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

from xai.vessels.source import VesselMasks

BACKGROUND, ARTERY, VEIN, UNCERTAIN = range(4)
_SMALLEST = 30  # px; smaller pieces of artery or vein are noise
_LARGEST = 32767  # px; the largest radius that OpenCV draws
_OPENING = np.ones((20, 20), np.uint8)


@dataclass(frozen=True)
class Crop:
    """A circle on an image and the square that AutoMorph crops around it.

    The circle's bounding box is clipped to the frame. The square has the longer side of the clipped box, with the box
    in its middle and black elsewhere.

    Attributes:
        row: row of the circle's centre.
        column: column of the circle's centre.
        radius: radius in pixels.
        shape: height and width of the image.

    Raises:
        ValueError: the circle's centre lies outside the image, or the radius is not in 1..32767.
    """

    row: int
    column: int
    radius: int
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = self.shape
        if not (0 <= self.row < height and 0 <= self.column < width and 0 < self.radius <= _LARGEST):
            raise ValueError(
                f"a circle of radius {self.radius} at row {self.row}, column {self.column} does not fit an image "
                f"of {width}x{height} pixels"
            )

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the image that are cropped."""
        return self._cut(self.row, self.shape[0]), self._cut(self.column, self.shape[1])

    @property
    def side(self) -> int:
        """Side of the square in pixels."""
        return max(part.stop - part.start for part in self.box)

    @property
    def inset(self) -> tuple[slice, slice]:
        """Rows and columns of the square that contain the box."""
        rows, columns = self.box
        return self._centre(rows.stop - rows.start), self._centre(columns.stop - columns.start)

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """Crops an image.

        Args:
            rgb: (H, W, 3) uint8.

        Returns:
            (side, side, 3) uint8, black outside the circle.
        """
        circle = cv2.circle(np.zeros(self.shape, np.uint8), (self.column, self.row), self.radius, 1, cv2.FILLED)
        square = np.zeros((self.side, self.side, 3), np.uint8)
        square[self.inset] = rgb[self.box] * circle[self.box][..., None]
        return square

    def restore(self, square: np.ndarray) -> np.ndarray:
        """Puts a map (side, side) of the square back on the image: (H, W), 0 outside the box."""
        plane = np.zeros(self.shape, square.dtype)
        plane[self.box] = square[self.inset]
        return plane

    def _cut(self, centre: int, length: int) -> slice:
        start = max(0, centre - self.radius)
        return slice(start, min(length, start + 2 * self.radius))

    def _centre(self, length: int) -> slice:
        start = (self.side - length) // 2
        return slice(start, start + length)


def find_crop(rgb: np.ndarray) -> Crop:
    """The crop of an image by AutoMorph's M0.

    Args:
        rgb: (H, W, 3) uint8.

    Raises:
        ValueError: the image shows no disc on a darker surround.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    mask = _bright_part(cv2.normalize(grey, None, 0, 255, cv2.NORM_MINMAX))  # type: ignore[call-overload]
    width = max(mask.shape[1] // 400 * 2 + 1, 3)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    rim = np.argwhere(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, ellipse))
    if not len(rim):
        raise ValueError("AutoMorph's crop needs an eye on a darker surround, but the image shows no rim")
    centre = [_middle(mask.sum(axis=1)), _middle(mask.sum(axis=0))]
    counts = np.bincount(np.ceil(np.linalg.norm(rim - centre, axis=1)).astype(int))
    radius = int(np.flatnonzero(counts > 0.995 * counts.max())[-1])
    return Crop(int(centre[0]), int(centre[1]), radius, (rgb.shape[0], rgb.shape[1]))


def _bright_part(grey: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of 0 and 1: pixels brighter than the surround, with holes filled, after a morphological opening."""
    mask = (grey > max(5, grey.mean() / 3 - 5)).astype(np.uint8)
    holes = 1 - mask
    for corner in ((0, 0), (grey.shape[1] - 1, grey.shape[0] - 1)):
        cv2.floodFill(holes, None, corner, 0)
    return cv2.morphologyEx(mask | holes, cv2.MORPH_OPEN, _OPENING)


def _middle(extent: np.ndarray) -> float:
    """The middle of the rows (or columns) with more than 95 % of the mask pixels of the fullest one."""
    return float(np.flatnonzero(extent > 0.95 * extent.max()).mean())


def network_input(square: np.ndarray, size: int) -> np.ndarray:
    """The network's input for a crop.

    The colours are centred and *multiplied* by their standard deviation, as in the training of the published weights.

    Args:
        square: (S, S, 3) uint8.
        size: side of the input in pixels.

    Returns:
        (3, size, size) float32, up to about +-10,000.

    Raises:
        ValueError: red is 0 everywhere; AutoMorph computes mean and standard deviation over pixels with red above 0.
    """
    picture = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))
    eye = picture[picture[..., 0] > 0]
    if not len(eye):
        raise ValueError("the image has no red: AutoMorph's network needs a colour image")
    return ((picture - eye.mean(axis=0)) * eye.std(axis=0)).astype(np.float32).transpose(2, 0, 1)


def clean(labels: np.ndarray) -> np.ndarray:
    """Removes small pieces of artery or vein from a map (h, w) uint8 of the four classes. Uncertain pixels are kept."""
    kept = (labels == UNCERTAIN) | without_specks(labels == ARTERY) | without_specks(labels == VEIN)
    return np.where(kept, labels, BACKGROUND)


def without_specks(mask: np.ndarray) -> np.ndarray:
    """A mask (h, w) bool without its 8-connected pieces of fewer than 30 pixels."""
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    large = np.bincount(pieces.ravel()) >= _SMALLEST
    large[0] = False
    return large[pieces]


def enlarge(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a map (h, w) uint8 to (height, width) by nearest neighbour (OpenCV)."""
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)


def to_masks(labels: np.ndarray, crop: Crop, disagreement: float | None = None) -> VesselMasks:
    """The image's masks from a map (side, side) of the four classes on its crop."""
    plane = crop.restore(labels)
    return VesselMasks(plane == ARTERY, plane == VEIN, plane == UNCERTAIN, disagreement)
