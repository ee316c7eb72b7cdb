"""The field of view (FOV): which pixels of a fundus photograph show the eye and which the camera's black surround."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

_WORKING_SIDE = 512  # px; the outline is found on a reduced photograph and drawn at full size
_BLACK = 10  # grey levels; a photograph with nothing brighter shows no eye
_DARK = (0.12, 0.06, 0.03, 0.015)  # shares of the brightness range that count as surround, tried in this order
_TOLERANCE = 0.015  # of the outline's half-size: how far from the ellipse a rim point still supports it
_TRIALS = 300
_FEWEST_POINTS = 40  # on the rim; fewer and the frame holds no rim to speak of
_SAME, _ALIKE = 0.97, 0.9  # Dice of disc and bright region: a match, and the least to accept where no threshold matches


def find_fov(rgb: np.ndarray) -> np.ndarray:
    """The field of view of one photograph of any size.

    The largest region brighter than the surround is found; where it is no disc, the threshold is lowered. A disc (an
    axis-parallel ellipse, as photographs are often resized without keeping their aspect ratio) is fitted to its rim by
    RANSAC (Fischler & Bolles 1981), so that dark retina, labels and notches at the rim do not bend it. Where the frame
    or the camera cuts the disc off straight, the region's bounding box cuts the ellipse. A region that is not a disc
    (a montage, a photograph without surround) is returned as found.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W) bool, True inside the field of view.

    Raises:
        ValueError: the photograph is black.
    """
    height, width = rgb.shape[:2]
    step = max(1, round(max(height, width) / _WORKING_SIDE))
    grey = ndimage.median_filter(np.asarray(Image.fromarray(rgb).reduce(step)).max(axis=2), 5)
    darkest, bright = np.percentile(grey, (1, 90))
    if bright <= _BLACK:
        raise ValueError(f"the photograph is black (brightest tenth: {bright:.0f} of 255): no field of view to find")
    surround = min(darkest, _DARK[0] * bright)  # a photograph without a surround has no pixel as dark as that

    regions = [_bright_region(grey, surround + dark * (bright - surround)) for dark in _DARK]
    best, best_dice = None, _ALIKE
    for region in regions:
        disc = _fit_disc(region)
        dice = _dice(disc.draw(*region.shape), region) if disc else 0.0
        if dice > best_dice:
            best, best_dice = disc, dice
        if dice > _SAME:
            break
    if best is None:
        return regions[0].repeat(step, axis=0).repeat(step, axis=1)[:height, :width]
    return best.draw(height, width, step)


def _bright_region(grey: np.ndarray, threshold: float) -> np.ndarray:
    """The largest connected region brighter than the threshold, its holes filled."""
    regions, _ = ndimage.label(grey > threshold)
    largest = 1 + np.bincount(regions.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(regions == largest)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@dataclass(frozen=True)
class _Disc:
    """An axis-parallel ellipse inside a box, in pixels: (vertical, horizontal) each, edges at whole numbers."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    start: tuple[int, int]
    stop: tuple[int, int]

    def draw(self, height: int, width: int, step: int = 1) -> np.ndarray:
        """(height, width) bool: the disc on a frame whose pixels are `step` times smaller."""
        distance = []
        for axis, length in enumerate((height, width)):
            position = (np.arange(length, dtype=np.float32) + 0.5) / step
            squared = ((position - self.centre[axis]) / self.radii[axis]) ** 2
            squared[(position < self.start[axis]) | (position > self.stop[axis])] = np.inf
            distance.append(squared)
        return distance[0][:, None] + distance[1] <= 1


def _fit_disc(region: np.ndarray) -> _Disc | None:
    """The disc whose rim is the region's, or None where the region is not a disc."""
    extent = [np.flatnonzero(region.any(axis=1 - axis))[[0, -1]] + (0, 1) for axis in (0, 1)]
    start, stop = np.array(extent).T
    inner = ndimage.binary_erosion(region, np.ones((3, 3)))
    rim = np.argwhere(region & ~inner) + 0.5
    rim = rim[((rim - start > 2) & (stop - rim > 2)).all(axis=1)]
    middle, half = (start + stop) / 2, (stop - start) / 2
    ellipse = _fit_ellipse((rim - middle) / half)
    if ellipse is None:
        return None
    centre, radii = middle + ellipse[:2] * half, ellipse[2:] * half + 0.5  # the rim's pixels lie inside by half of one
    return _Disc(tuple(centre), tuple(radii), tuple(start), tuple(stop))


def _fit_ellipse(points: np.ndarray) -> np.ndarray | None:
    """(centre y, centre x, radius y, radius x) of the axis-parallel ellipse through most of the (N, 2) points."""
    if len(points) < _FEWEST_POINTS:
        return None
    samples = points[np.random.default_rng(0).integers(len(points), size=(_TRIALS, 4))]
    supports = _off_ellipse(points, _solve_ellipse(samples)) < _TOLERANCE
    support = supports[supports.sum(axis=1).argmax()]
    for _ in range(3):
        if support.mean() < 0.5:
            return None
        ellipse = _solve_ellipse(points[support])
        support = _off_ellipse(points, ellipse) < _TOLERANCE
    return ellipse


def _solve_ellipse(points: np.ndarray) -> np.ndarray:
    """(..., 4) ellipses around the origin through (..., n, 2) points, in the least-squares sense; NaN where none is."""
    square, linear = np.split(np.linalg.pinv(np.concatenate([points**2, points], axis=-1)).sum(axis=-1), 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = -linear / (2 * square)
        return np.concatenate(
            [centre, np.sqrt((1 + (square * centre**2).sum(axis=-1, keepdims=True)) / square)], axis=-1
        )


def _off_ellipse(points: np.ndarray, ellipse: np.ndarray) -> np.ndarray:
    """(..., N): how far (N, 2) points lie from (..., 4) ellipses, as a share of the radius."""
    centre, radii = ellipse[..., None, :2], ellipse[..., None, 2:]
    return np.abs(np.linalg.norm((points - centre) / radii, axis=-1) - 1)
