"""The anatomy of a synthetic fundus: the positions of disc, fovea and vessels.

Lengths are in radii of the field of view and positions are `(x, y)` from its centre, y down, always laid out as a right
eye: disc (nasal) at positive x. One unit is about 22.5 degrees, as in a 45 degree image.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

DISC_TO_FOVEA = 0.69  # 15.5 degrees
DISC_RADIUS = 0.135  # 0.9 mm, where disc to fovea is 4.6 mm
AVASCULAR_RADIUS = 0.085
THINNEST = 0.0055  # calibre below which no vessel grows: 1.2 pixels in an image 448 pixels high

# Upper trunks in units of DISC_TO_FOVEA: origin at the fovea, x towards the disc, y down. The lower ones mirror them.
TEMPORAL_COURSE = [(1.03, -0.08), (0.99, -0.32), (0.74, -0.66), (0.20, -0.86), (-0.48, -0.84), (-1.65, -0.38)]
NASAL_COURSE = [(1.05, -0.08), (1.13, -0.28), (1.30, -0.56), (1.48, -0.92), (1.62, -1.28), (1.74, -1.66)]


@dataclass(frozen=True)
class Landmarks:
    """Disc and fovea (2,) of one eye, how far the eye is turned (radians), and its size relative to the average."""

    disc: np.ndarray
    fovea: np.ndarray
    turn: float
    scale: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) given in units of disc to fovea, origin at the fovea, as positions in the field of view."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return self.fovea + self.scale * DISC_TO_FOVEA * points @ np.array([[cos, sin], [-sin, cos]])


@dataclass(frozen=True)
class Kind:
    """The difference between arteries and veins: an arcade's calibre at the disc, its swing, and where it emerges."""

    calibre: float
    swing: float
    nasal: float


ARTERY = Kind(calibre=0.029, swing=0.93, nasal=0.035)
VEIN = Kind(calibre=0.038, swing=1.06, nasal=-0.02)


@dataclass(frozen=True)
class Vessels:
    """n vessels of one order, each a polyline of m points: `points` (n, m, 2) and `calibre` (n, m), the diameter."""

    points: np.ndarray
    calibre: np.ndarray


def draw_landmarks(rng: np.random.Generator) -> Landmarks:
    """The landmarks of a macula-centred image, with random deviations of the gaze."""
    fovea = np.array([-0.10, 0.03]) + np.clip(rng.normal(0.0, 0.04, 2), -0.1, 0.1)
    frame = Landmarks(fovea, fovea, turn=rng.normal(0.0, 0.05), scale=rng.normal(1.0, 0.03))
    disc = frame.place(np.array([1.0, rng.normal(-0.10, 0.03)]))
    return Landmarks(disc, fovea, frame.turn, frame.scale)


def grow_tree(rng: np.random.Generator, landmarks: Landmarks, kind: Kind) -> list[Vessels]:
    """One tree, arterial or venous: two temporal arcades, two nasal trunks, and three orders of branches.

    Calibres follow Murray's law (1926): the cube of a parent's calibre is the sum of its branches' cubes.
    """
    territory = _Territory(landmarks)
    orders = [_trunks(rng, landmarks, kind)]
    territory.take(orders[0].points)
    for branches, steps, reach in ((9, 26, 0.70), (5, 16, 0.36), (4, 12, 0.20)):
        orders[-1], proposed = _branch(rng, orders[-1], landmarks, branches, steps, reach)
        orders.append(territory.settle(proposed))
    return orders


def wave(
    rng: np.random.Generator, tree: list[Vessels], landmarks: Landmarks, wavelength: float, amplitude: float
) -> list[Vessels]:
    """The tree displaced by a smooth random field (RMS `amplitude`), so that branches stay with their parents.

    The field is a sum of transverse plane waves: each bends the vessels along it sideways. It fades out at the disc.
    """
    heading, phase = rng.uniform(0, 2 * np.pi, (2, 14))
    across = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    pace = 2 * np.pi / (wavelength * rng.uniform(0.75, 1.35, 14))
    along = np.stack([np.cos(heading), np.sin(heading)]) * pace

    def displaced(points: np.ndarray) -> np.ndarray:
        field = np.cos(points @ along + phase) @ across * np.sqrt(2 / len(phase))
        distance = np.linalg.norm(points - landmarks.disc, axis=-1, keepdims=True)
        return points + amplitude * np.clip(distance / 0.3, 0, 1) ** 2 * field

    return [Vessels(displaced(order.points), order.calibre) for order in tree]


def _trunks(rng: np.random.Generator, landmarks: Landmarks, kind: Kind) -> Vessels:
    courses = np.array([TEMPORAL_COURSE, TEMPORAL_COURSE, NASAL_COURSE, NASAL_COURSE])
    courses[1::2, :, 1] *= -1
    courses[1::2, :2, 1] -= [0.16, 0.08]  # both halves leave the disc, which lies above the fovea, from one place
    courses[:, 2:, 1] *= kind.swing
    courses[:, :2, 0] += kind.nasal
    courses[:, 0] += rng.normal(0.0, 0.03, (4, 2))
    courses[:, 1:] += rng.normal(0.0, 1.0, (4, 5, 2)) * np.array([0.02, 0.05, 0.08, 0.09, 0.10])[:, None]
    points = landmarks.place(CubicSpline(np.arange(6), courses, axis=1)(np.linspace(0, 5, 56)))
    calibres = kind.calibre * np.array([1.0, 1.0, 0.7, 0.7]) * np.exp(rng.normal(0.0, 0.05, 4))
    emerging = np.minimum(0.4 + 0.2 * np.arange(points.shape[1]), 1.0)  # from the depth of the cup
    return Vessels(points, calibres[:, None] * emerging)


def _branch(
    rng: np.random.Generator, parents: Vessels, landmarks: Landmarks, branches: int, steps: int, reach: float
) -> tuple[Vessels, Vessels]:
    """The parents, thinner after each branching, and the branches they propose, widest first."""
    count, length = parents.calibre.shape
    at = (0.14 + 0.82 * (np.arange(branches) + rng.uniform(0.0, 1.0, (count, branches))) / branches) * (length - 1)
    at = at.astype(int)
    share = rng.uniform(0.34, 0.72, (count, branches))
    remaining = np.cbrt(1 - share**3)
    behind = at[:, None, :] < np.arange(length)[:, None]
    thinned = parents.calibre * np.where(behind, remaining[:, None, :], 1.0).prod(axis=2)

    row = np.arange(count)[:, None]
    root = parents.points[row, at]
    calibre = thinned[row, at] * share
    course = np.gradient(parents.points, axis=1)[row, at]
    course /= np.linalg.norm(course, axis=-1, keepdims=True)
    side = np.where((np.arange(branches) + rng.integers(0, 2, (count, 1))) % 2, 1.0, -1.0)
    # A wide branch leaves at a narrow angle and a thin one at a wide angle.
    angle = side * np.radians(95 - 65 * share + rng.normal(0.0, 7.0, share.shape))
    cos, sin = np.cos(angle), np.sin(angle)
    away = np.stack([course[..., 0] * cos - course[..., 1] * sin, course[..., 0] * sin + course[..., 1] * cos], axis=-1)

    points = _courses(rng, root, away, course, reach * np.sqrt(share / 0.6), landmarks, steps)
    order = np.argsort(-calibre, axis=None)
    order = order[calibre.flat[order] > THINNEST]
    taper = np.linspace(1.0, 0.6, steps)
    proposed = Vessels(points.reshape(-1, steps, 2)[order], calibre.reshape(-1, 1)[order] * taper)
    return Vessels(parents.points, thinned), proposed


def _courses(
    rng: np.random.Generator,
    root: np.ndarray,
    away: np.ndarray,
    parent: np.ndarray,
    reach: np.ndarray,
    landmarks: Landmarks,
    steps: int,
) -> np.ndarray:
    """Quadratic Bezier curves (..., steps, 2) that leave `root` along `away`, the parent heading along `parent`.

    Around the macula branches converge on the fovea; elsewhere they turn to run outwards along their parent.
    """
    from_fovea = root - landmarks.fovea
    distance = np.linalg.norm(from_fovea, axis=-1, keepdims=True)
    outward = from_fovea / distance
    inwards = ((away * outward).sum(-1, keepdims=True) < 0.1) & (distance < 0.75)
    span = reach[..., None] * np.exp(rng.normal(0.0, 0.2, distance.shape))
    to_fovea = np.minimum(span, distance - rng.uniform(0.10, 0.32, distance.shape)).clip(0.08, None)
    end = root + np.where(
        inwards,
        span * (0.35 * away + 0.10 * parent) - to_fovea * outward,
        span * (0.55 * away + 0.30 * parent + 0.25 * outward),
    )
    bend = root + 0.42 * span * away
    start, bend, end = root[..., None, :], bend[..., None, :], end[..., None, :]
    t = np.linspace(0.0, 1.0, steps)[:, None]
    return start * (1 - t) ** 2 + bend * 2 * t * (1 - t) + end * t**2


class _Territory:
    """The area that a tree occupies: vessels of one kind branch and end, but do not cross each other."""

    CELLS, REACH = 220, 1.5

    def __init__(self, landmarks: Landmarks) -> None:
        self.landmarks = landmarks
        self.taken = np.zeros(self.CELLS**2, bool)

    def _cells(self, points: np.ndarray) -> np.ndarray:
        """The cell of every point (..., 2), and its four neighbours: (..., 5)."""
        x, y = np.moveaxis(((points + self.REACH) * (self.CELLS / (2 * self.REACH))).astype(int), -1, 0)
        cell = np.clip(y, 1, self.CELLS - 2) * self.CELLS + np.clip(x, 1, self.CELLS - 2)
        return cell[..., None] + np.array([0, -self.CELLS, -1, 1, self.CELLS])

    def take(self, points: np.ndarray) -> None:
        self.taken[self._cells(points)] = True

    def settle(self, proposed: Vessels, root: int = 4, shortest: int = 7) -> Vessels:
        """Let vessels occupy free area in turn, each up to where it meets another vessel, the disc or the fovea.

        The first `root` points lie next to the parent; a vessel left with fewer than `shortest` points does not grow.
        """
        steps = proposed.points.shape[1]
        cells = self._cells(proposed.points)
        barred = np.linalg.norm(proposed.points - self.landmarks.fovea, axis=-1) < AVASCULAR_RADIUS
        barred |= np.linalg.norm(proposed.points - self.landmarks.disc, axis=-1) < 1.1 * DISC_RADIUS
        kept: list[int] = []
        free: list[int] = []
        for i in range(len(cells)):
            met = self.taken[cells[i, root:, 0]] | barred[i, root:]
            end = root + int(met.argmax()) - 1 if met.any() else steps
            if end >= shortest:
                self.taken[cells[i, :end]] = True
                kept.append(i)
                free.append(end)
        # Each remaining vessel gets its full number of points again, along the part that it kept.
        at = np.linspace(0.0, np.array(free, float) - 1, steps, axis=-1)
        below = np.minimum(at.astype(int), steps - 2)
        row = np.array(kept, int)[:, None]
        weight = (at - below)[..., None]
        points = proposed.points[row, below] * (1 - weight) + proposed.points[row, below + 1] * weight
        return Vessels(points, proposed.calibre[row[:, 0]])
