"""Detection of the field of view (FOV): the pixels that show the retina, without the camera's black surround."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

_WORKING_SIDE = 512  # px; the outline is detected on a reduced image and drawn at full size
_BLACK = 10  # grey levels; an image without brighter pixels shows no eye
_DARK = (0.12, 0.06, 0.03, 0.015)  # shares of the brightness range that count as surround, tried in this order
_LIGHT = 64  # grey levels; a brighter surround is not the camera's black one
_WHITE, _SPREAD, _WHITE_SPREAD = 220, 6, 24  # white paper and JPEG vary more than a colour filled in by software
_TOLERANCE = 0.015  # of the outline's half-size: largest distance of a supporting rim point from the ellipse
_TRIALS = 300
_FEWEST_POINTS = 40  # minimum number of rim points; with fewer the frame shows too little of the rim
_SAME, _ALIKE = 0.97, 0.9  # Dice of disc and bright region: a match, and the minimum if no threshold gives a match


def find_fov(rgb: np.ndarray) -> np.ndarray:
    """Detects the field of view of an image of any size.

    The largest region brighter than the surround is located; if it is not a disc, the threshold is lowered. A disc (an
    axis-parallel ellipse, because images are often resized without keeping their aspect ratio) is fitted to its rim by
    RANSAC (Fischler & Bolles 1981), so that dark retina, labels and notches at the rim do not distort it. If the frame
    or the camera cuts the disc off straight, the region's bounding box cuts the ellipse. A region that is not a disc
    (a montage, or an image without surround) is returned as it is. A surround of one light colour, which publishers and
    presentation software use instead of the camera's black, is treated as black.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W) bool, True inside the field of view.

    Raises:
        ValueError: the image is black.
    """
    height, width = rgb.shape[:2]
    step = max(1, round(max(height, width) / _WORKING_SIDE))
    reduced = np.asarray(Image.fromarray(rgb).reduce(step))
    light = _light_surround(reduced)
    brightest = reduced.max(axis=2)
    grey = ndimage.median_filter(brightest if light is None else np.where(light, 0, brightest), 5)
    darkest, bright = np.percentile(grey, (1, 90))
    if bright <= _BLACK:
        raise ValueError(f"the image is black (brightest tenth: {bright:.0f} of 255): it shows no field of view")
    surround = min(darkest, _DARK[0] * bright)  # in an image without a surround no pixel is this dark

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


def has_light_surround(rgb: np.ndarray) -> bool:
    """Whether the field of view of an image (H, W, 3) uint8 has a surround of one light colour."""
    step = max(1, round(max(rgb.shape[:2]) / _WORKING_SIDE))
    return _light_surround(np.asarray(Image.fromarray(rgb).reduce(step))) is not None


def _light_surround(rgb: np.ndarray) -> np.ndarray | None:
    """(H, W) bool: the surround of one light colour, connected to the edge of the frame; None if there is none.

    Three of the four corners must have this colour. It must be white, or uniform and not reddish like retina, and end
    at a sharp rim: overexposed or unfocused retina that fills the frame is not a surround.
    """
    side = max(2, min(rgb.shape[:2]) // 32)
    ends = (slice(side), slice(-side, None))
    corners = [rgb[rows, columns].reshape(-1, 3) for rows in ends for columns in ends]
    colour = np.median([np.median(corner, axis=0) for corner in corners], axis=0)
    white = colour.min() >= _WHITE
    if colour.max() < _LIGHT or (not white and colour[0] - colour[2] > _LIGHT / 2):
        return None
    distance, spread = np.abs(rgb - colour).max(axis=2), _WHITE_SPREAD if white else _SPREAD
    alike = distance <= spread
    if sum(alike[rows, columns].mean() > 0.9 for rows in ends for columns in ends) < 3:
        return None
    regions, _ = ndimage.label(alike)
    at_edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    surround = np.isin(regions, np.setdiff1d(at_edge, 0))
    if surround.mean() > 0.95:
        return None
    rim = _largest_region(~surround)
    rim = ndimage.binary_erosion(rim, iterations=2) & ~ndimage.binary_erosion(rim, iterations=4)
    if not rim.any() or np.median(distance[rim]) < 2 * spread:
        return None
    return ndimage.binary_dilation(surround)  # includes the mixed pixels on its border


def _bright_region(grey: np.ndarray, threshold: float) -> np.ndarray:
    """The largest connected region brighter than the threshold, its holes filled."""
    return ndimage.binary_fill_holes(_largest_region(grey > threshold))


def _largest_region(inside: np.ndarray) -> np.ndarray:
    """The largest connected region of a mask; all False if the mask is empty."""
    regions, _ = ndimage.label(inside)
    areas = np.bincount(regions.ravel())
    areas[0] = 0
    return inside & (regions == areas.argmax())


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@dataclass(frozen=True)
class _Disc:
    """An axis-parallel ellipse cut by a box, in pixels, each (vertical, horizontal), with edges at whole numbers."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    start: tuple[int, int]
    stop: tuple[int, int]

    def draw(self, height: int, width: int, step: int = 1) -> np.ndarray:
        """(height, width) bool: the disc on a frame with pixels smaller by the factor `step`."""
        distance = []
        for axis, length in enumerate((height, width)):
            position = (np.arange(length, dtype=np.float32) + 0.5) / step
            squared = ((position - self.centre[axis]) / self.radii[axis]) ** 2
            squared[(position < self.start[axis]) | (position > self.stop[axis])] = np.inf
            distance.append(squared)
        return distance[0][:, None] + distance[1] <= 1


def _fit_disc(region: np.ndarray) -> _Disc | None:
    """The disc fitted to the region's rim, or None if the region is not a disc."""
    extent = [np.flatnonzero(region.any(axis=1 - axis))[[0, -1]] + (0, 1) for axis in (0, 1)]
    start, stop = np.array(extent).T
    inner = ndimage.binary_erosion(region, np.ones((3, 3)))
    rim = np.argwhere(region & ~inner) + 0.5
    rim = rim[((rim - start > 2) & (stop - rim > 2)).all(axis=1)]
    middle, half = (start + stop) / 2, (stop - start) / 2
    ellipse = _fit_ellipse((rim - middle) / half)
    if ellipse is None:
        return None
    centre, radii = middle + ellipse[:2] * half, ellipse[2:] * half + 0.5  # centres of rim pixels lie 0.5 px inside
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
    """Least-squares ellipses (..., 4) through points (..., n, 2); NaN if there is none."""
    square, linear = np.split(np.linalg.pinv(np.concatenate([points**2, points], axis=-1)).sum(axis=-1), 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = -linear / (2 * square)
        return np.concatenate(
            [centre, np.sqrt((1 + (square * centre**2).sum(axis=-1, keepdims=True)) / square)], axis=-1
        )


def _off_ellipse(points: np.ndarray, ellipse: np.ndarray) -> np.ndarray:
    """Distances (..., N) of points (N, 2) from ellipses (..., 4), relative to the radius."""
    centre, radii = ellipse[..., None, :2], ellipse[..., None, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.linalg.norm((points - centre) / radii, axis=-1) - 1)
