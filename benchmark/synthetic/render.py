"""From the anatomy of an eye to its image: vessel masks, the colours of a fundus, optics and camera.

Arrays are images of height H and width W in right-eye layout. Colour is kept as optical density, float32 (3, H, W) for
red, green and blue: the negative logarithm of the reflected light, in which pigment, blood and shading add up.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from benchmark.synthetic.anatomy import DISC_RADIUS, Landmarks, Vessels

FRAME_ASPECT = 1.15  # width to height of the camera's frame
SUPERSAMPLING = 3
SUBPIXEL_BITS = 4  # of the fixed-point coordinates that OpenCV draws at

# A vessel's cross-section: (share of its width, relative thickness of blood there), from the outside in.
Profile = list[tuple[float, float]]
NICK = 0.012  # how far from a crossing a vein is nicked, in radii of the field of view
VEIN_PROFILE: Profile = [(1.0, 0.72), (0.62, 1.0)]

# Densities (R, G, B). Oxygenated blood lets more red and green through.
ARTERY_BLOOD = np.array([0.13, 0.70, 0.60], np.float32)
VEIN_BLOOD = np.array([0.34, 0.78, 0.70], np.float32)
PALE_FUNDUS = np.array([0.22, 0.80, 1.36], np.float32)
DARK_FUNDUS = np.array([0.62, 1.38, 2.05], np.float32)
DISC_RIM = np.array([0.07, 0.44, 0.88], np.float32)
DISC_CUP = np.array([0.02, 0.16, 0.46], np.float32)
MELANIN = np.array([0.5, 0.9, 0.8], np.float32)
XANTHOPHYLL = np.array([0.02, 0.16, 0.55], np.float32)  # the yellow pigment of the macula
CHOROID = np.array([0.45, 0.9, 0.35], np.float32)
GREY = np.ones(3, np.float32)
PALE_SPOT = np.array([-0.25, -0.55, -0.35], np.float32)
DARK_SPOT = np.array([0.45, 0.50, 0.40], np.float32)
HAZE = np.array([0.62, 0.56, 0.46], np.float32)  # the light of the veil, not a density


@dataclass(frozen=True)
class Frame:
    """The camera's frame, `height` pixels high, and its round field of view: centre `(x, y)` and radius in pixels."""

    height: int
    centre: tuple[float, float]
    radius: float

    @property
    def width(self) -> int:
        return round(FRAME_ASPECT * self.height)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), the order that OpenCV expects."""
        return self.width, self.height

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x (1, W) and y (H, 1) of the pixels' centres, float32 in radii of the field of view from its centre."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.centre[0]) / self.radius
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.centre[1]) / self.radius
        return x[None, :], y[:, None]

    def distance(self, point: np.ndarray) -> np.ndarray:
        """Distance (H, W) of every pixel from a point, in radii of the field of view."""
        x, y = self.grid
        return np.sqrt((x - np.float32(point[0])) ** 2 + (y - np.float32(point[1])) ** 2)

    def window(self, point: np.ndarray, reach: float) -> tuple[tuple[Any, ...], np.ndarray, np.ndarray]:
        """The square of pixels around a point: its place in (..., H, W), and x (1, w) and y (h, 1) from the point."""
        x, y = self.grid[0] - np.float32(point[0]), self.grid[1] - np.float32(point[1])
        reach = max(reach, 1 / self.radius)  # one pixel at least
        (rows,), (columns,) = np.nonzero(abs(y[:, 0]) <= reach), np.nonzero(abs(x[0]) <= reach)
        here = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return (..., *here), x[:, here[1]], y[here[0]]

    @cached_property
    def from_centre(self) -> np.ndarray:
        """Distance (H, W) from the centre of the field of view, in its radii."""
        return self.distance(np.zeros(2))

    @property
    def fov(self) -> np.ndarray:
        """The field of view, bool (H, W)."""
        return self.from_centre <= 1

    def halved(self) -> "Frame":
        """The same frame at half the resolution."""
        scale = (self.height // 2) / self.height
        return Frame(self.height // 2, (self.centre[0] * scale, self.centre[1] * scale), self.radius * scale)


@dataclass(frozen=True)
class DrawnTree:
    """A rasterised tree: `blood` float32 (H, W), its relative thickness in [0, 1], and the `mask` bool (H, W)."""

    blood: np.ndarray
    mask: np.ndarray


def artery_profile(wiring: float) -> Profile:
    """The cross-section of an artery: its wall reflects light as a pale line along the axis, wider for a thicker wall.

    `wiring` in [0, 1]: 0 a healthy wall, whose line takes a quarter of the width; 1 silver wiring, where the line takes
    most of it and little blood shows through.
    """
    return [(1.0, 0.72), (max(0.62, 0.35 + 0.45 * wiring), 1.0), (0.26 + 0.50 * wiring, 0.6 - 0.35 * wiring)]


def nicked(frame: Frame, veins: DrawnTree, arteries: DrawnTree, nicking: float) -> DrawnTree:
    """Veins with the share `nicking` of their blood hidden next to the arteries that cross them.

    The mask does not change: the vein exists there, and an expert would draw it through the crossing.
    """
    apart = (~(veins.mask & arteries.mask)).astype(np.uint8)
    if apart.all():
        return veins
    distance = cv2.distanceTransform(apart, cv2.DIST_L2, 3) / (NICK * frame.radius)
    lost = np.where(distance < 2, nicking * np.exp(-(distance**2)), 0).astype(np.float32)
    return DrawnTree(veins.blood * (1 - lost), veins.mask)


def draw_tree(frame: Frame, tree: list[Vessels], widest: float, profile: Profile) -> DrawnTree:
    """Rasterise a tree. A pixel belongs to the mask where vessels cover half of it, or a centreline runs through it.

    `widest` is the calibre at which blood absorbs fully.
    """
    canvas = np.zeros((frame.height * SUPERSAMPLING, frame.width * SUPERSAMPLING), np.uint8)
    centrelines = np.zeros((frame.height, frame.width), np.uint8)
    # From thin to wide, so that the wide vessel covers the roots of its branches.
    for order in reversed(tree):
        pixels = order.points * frame.radius + frame.centre
        cv2.polylines(centrelines, list(_fixed_point(pixels - 0.5)), False, 1, shift=SUBPIXEL_BITS)
        course = np.gradient(pixels, axis=1)
        across = np.stack([-course[..., 1], course[..., 0]], axis=-1)
        across /= np.linalg.norm(across, axis=-1, keepdims=True)
        width = order.calibre[..., None] * frame.radius
        depth = np.sqrt(order.calibre.mean(axis=1) / widest).clip(0.4, 1.0)
        outlines = [_fixed_point(_outlines(pixels, across, width * share)) for share, _ in profile]
        levels = [(255 * level * depth).astype(int).tolist() for _, level in profile]
        for i in np.argsort(depth):
            for outline, level in zip(outlines, levels, strict=True):
                cv2.fillPoly(canvas, [outline[i]], level[i], shift=SUBPIXEL_BITS)
    shrunk = cv2.resize(canvas, frame.size, interpolation=cv2.INTER_AREA)
    covered = cv2.resize(cv2.threshold(canvas, 0, 255, cv2.THRESH_BINARY)[1], frame.size, interpolation=cv2.INTER_AREA)
    mask = ((covered >= 128) | (centrelines > 0)) & frame.fov
    return DrawnTree(shrunk.astype(np.float32) / 255, mask)


def _outlines(pixels: np.ndarray, across: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Outlines (n, 2m, 2) on the large canvas of vessels `width` pixels (n, m, 1) wide with unit normals `across`."""
    # OpenCV fills every pixel that an outline touches, which widens it by one pixel.
    half = across * np.maximum(width * SUPERSAMPLING - 1, 0.0) / 2
    centre = pixels * SUPERSAMPLING - 0.5
    return np.concatenate([centre + half, (centre - half)[:, ::-1]], axis=1)


def _fixed_point(points: np.ndarray) -> np.ndarray:
    return np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)


@dataclass(frozen=True)
class Complexion:
    """The colour that a patient's eyes share: `pigmentation` and `tessellation` in [0, 1], `cast` (3,) as density."""

    pigmentation: float
    tessellation: float
    cast: np.ndarray


@dataclass(frozen=True)
class Quality:
    """One exposure: `blur` (standard deviation in radii of the field of view), `haze` in [0, 1], `exposure` (gain),
    `unevenness` (density from the middle to the rim) towards `shadow` (radians), and `noise` at full scale."""

    blur: float
    haze: float
    exposure: float
    unevenness: float
    shadow: float
    noise: float


def fundus(
    rng: np.random.Generator, frame: Frame, landmarks: Landmarks, complexion: Complexion
) -> tuple[np.ndarray, np.ndarray]:
    """The optical density (3, H, W) of a fundus without vessels, and its optic disc, bool (H, W)."""
    coarse = frame.halved()  # nothing in it is sharp
    density = _tinted_fundus(rng, coarse, landmarks, complexion)
    disc = _paint_disc(rng, coarse, landmarks, density)
    *planes, inside = (
        cv2.resize(plane, frame.size, interpolation=cv2.INTER_LINEAR) for plane in (*density, disc.astype(np.float32))
    )
    return np.stack(planes), inside > 0.5


def _tinted_fundus(rng: np.random.Generator, frame: Frame, landmarks: Landmarks, complexion: Complexion) -> np.ndarray:
    from_centre = frame.from_centre
    from_fovea = frame.distance(landmarks.fovea)
    from_disc = frame.distance(landmarks.disc)
    # Choroidal vessels shine through as orange bands, less so at the macula, where the pigment epithelium is dense.
    bands = (np.abs(_noise(rng, frame, 13)) - 0.7) * (1 - _bump(from_fovea, 0.55))
    layers = [
        (bands, 0.16 * complexion.tessellation * CHOROID),
        (_noise(rng, frame, 3), 0.06 * GREY + 0.04 * MELANIN),
        (_noise(rng, frame, 9), 0.035 * MELANIN),
        (_noise(rng, frame, 34), 0.030 * MELANIN),
        (_noise(rng, frame, 110), 0.030 * MELANIN),
        (from_centre**2, 0.20 * GREY),
        (from_centre**8, 0.30 * GREY + 0.10 * MELANIN),
        (_bump(from_fovea, 0.28), 0.26 * MELANIN + 0.4 * XANTHOPHYLL),
        (_bump(from_fovea, 0.08), 0.26 * MELANIN + 0.4 * XANTHOPHYLL),
        (_bump(from_fovea, 0.012), -rng.uniform(0.0, 0.35) * GREY),  # the foveal reflex
        (_bump(from_disc, 0.42), -0.14 * GREY),  # nerve fibres are thick here and reflect
    ]
    maps = np.stack([values for values, _ in layers]).reshape(len(layers), -1)
    tints = np.stack([tint for _, tint in layers], axis=1).astype(np.float32)
    base = PALE_FUNDUS + complexion.pigmentation * (DARK_FUNDUS - PALE_FUNDUS) + complexion.cast
    return (tints @ maps + base[:, None].astype(np.float32)).reshape(3, frame.height, frame.width)


def _paint_disc(rng: np.random.Generator, frame: Frame, landmarks: Landmarks, density: np.ndarray) -> np.ndarray:
    """Paint the optic disc: a pink rim, widest on the nasal side, and a pale cup. Returns its mask."""
    window, x, y = frame.window(landmarks.disc, 1.8 * DISC_RADIUS)
    u, v = x / DISC_RADIUS, y / DISC_RADIUS
    width, height, slant = rng.normal(0.95, 0.03), rng.normal(1.06, 0.03), rng.normal(0.0, 0.12)
    radius = np.hypot((u + slant * v) / width, v / height)
    angle = np.arctan2(v, u)
    for lobes in (2, 3, 5):
        radius *= 1 + rng.normal(0.0, 0.03 / lobes) * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi))
    crescent = np.exp(-(((radius - 1.12) / 0.09) ** 2)) * np.clip(-u, 0, 1) * rng.uniform(-0.35, 0.35)
    in_cup = np.hypot(u + rng.uniform(0.08, 0.2), v / 1.05) / rng.uniform(0.38, 0.62)

    disc = _layer(1 - _fade(in_cup, 1.0, 0.5), DISC_RIM) + _layer(_fade(in_cup, 1.0, 0.5), DISC_CUP)
    disc += _layer(0.10 * np.clip(u, -1, 1), MELANIN) + rng.normal(0.06, 0.03)
    density[window] += _layer(crescent, MELANIN)
    density[window] += _fade(radius, 1.0, 0.10) * (disc - density[window])
    inside = np.zeros(density.shape[1:], bool)
    inside[window] = radius <= 1
    return inside


def spots(
    rng: np.random.Generator, frame: Frame, landmarks: Landmarks, avoid: np.ndarray, shown: np.ndarray
) -> np.ndarray:
    """Small lesions of the periphery, pale or dark, as density (3, H, W) to add; none touches `avoid`, bool (H, W).

    `shown` in [0, 1] is how far each spot has developed. Where a spot lies does not depend on it.
    """
    candidates = 6 * len(shown)
    distance = np.sqrt(rng.uniform(0.66**2, 0.93**2, candidates))
    heading = rng.uniform(0, 2 * np.pi, candidates)
    centres = np.stack([np.cos(heading), np.sin(heading)], axis=1) * distance[:, None]
    size = rng.uniform(0.011, 0.024, candidates)
    pale = rng.uniform(size=candidates) < 0.7
    strength = rng.uniform(0.7, 1.0, candidates)
    room = cv2.distanceTransform((~avoid).astype(np.uint8), cv2.DIST_L2, 3) / frame.radius
    columns, rows = (centres * frame.radius + frame.centre).astype(int).T

    density = np.zeros((3, *avoid.shape), np.float32)
    placed: list[int] = []
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        apart = np.linalg.norm(centres[placed] - centres[i], axis=1) > size[placed] + size[i]
        if not 0 <= row < frame.height or room[row, column] < 1.8 * size[i] + 0.01 or not apart.all():
            continue
        window, x, y = frame.window(centres[i], 1.3 * size[i])
        form = _fade(np.hypot(x, y) / size[i], 1.0, 0.4)
        density[window] += _layer(form * shown[len(placed)] * strength[i], PALE_SPOT if pale[i] else DARK_SPOT)
        placed.append(i)
        if len(placed) == len(shown):
            break
    return density


def image(
    rng: np.random.Generator,
    frame: Frame,
    density: np.ndarray,
    arteries: DrawnTree,
    veins: DrawnTree,
    quality: Quality,
) -> np.ndarray:
    """Expose a fundus (its density) and its blood: uint8 (H, W, 3). Arteries lie on top of the veins they cross."""
    vein_beneath = veins.blood * np.where(arteries.blood > 0, np.float32(0.25), np.float32(1))
    x, y = frame.grid
    shade = quality.unevenness * (x * math.cos(quality.shadow) + y * math.sin(quality.shadow))
    veil = quality.haze * (1 + 0.25 * np.tanh(_noise(rng, frame, 3)))
    grain = quality.noise * rng.standard_normal((frame.height, frame.width), dtype=np.float32)
    rim = ((1 - frame.from_centre) * (frame.radius / 2.5)).clip(0, 1)
    exposed = []
    for channel in range(3):
        blood = ARTERY_BLOOD[channel] * arteries.blood + VEIN_BLOOD[channel] * vein_beneath
        light = cv2.GaussianBlur(np.exp(-(density[channel] + blood + shade)), (0, 0), quality.blur * frame.radius)
        light += veil * (HAZE[channel] - light)
        light *= quality.exposure
        light += grain * np.sqrt(light + 0.05)
        exposed.append((light * rim * 255 + 0.5).clip(0, 255).astype(np.uint8))
    return cv2.merge(exposed)


def _layer(values: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """A tint (3,) scaled by values (H, W): density (3, H, W)."""
    return np.multiply.outer(tint, values.astype(np.float32))


def _noise(rng: np.random.Generator, frame: Frame, cells: int) -> np.ndarray:
    """Smooth noise (H, W) with about unit variance and `cells` independent values along the height."""
    values = rng.standard_normal((cells, round(FRAME_ASPECT * cells)), dtype=np.float32)
    return cv2.resize(1.3 * values, frame.size, interpolation=cv2.INTER_CUBIC)


def _bump(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((distance / np.float32(width)) ** 2))


def _fade(distance: np.ndarray, edge: float, softness: float) -> np.ndarray:
    """1 inside `edge`, 0 outside, with a smooth step of width `softness`."""
    t = ((edge + softness / 2 - distance) / softness).clip(0, 1)
    return t * t * (3 - 2 * t)
