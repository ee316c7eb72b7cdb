"""One eye of the synthetic cohort, and how severity shows in it."""

from dataclasses import dataclass, replace

import numpy as np

from benchmark.synthetic import anatomy, render
from benchmark.synthetic.population import EyeSide, Signal, SyntheticCohort

SPOTS = 48
MEANDER = {"wavelength": 0.40, "amplitude": 0.011}  # of every vessel, in radii of the field of view
TORTUOSITY_WAVELENGTH = 0.17
HEALTHY = 0.0  # the shown severity of arteries that do not carry the signal


@dataclass(frozen=True)
class Traits:
    """What a photographer could note about an eye; `severity` is as shown by the arteries or by the spots."""

    signal: Signal
    severity: float
    complexion: render.Complexion
    quality: render.Quality


@dataclass(frozen=True)
class Eye:
    """An image `rgb`, uint8 (H, W, 3), and the exact masks `artery`, `vein`, `disc` and `fov`, bool (H, W).

    Where an artery crosses a vein, the pixels belong to both masks. `traits` is what was drawn.
    """

    rgb: np.ndarray
    artery: np.ndarray
    vein: np.ndarray
    disc: np.ndarray
    fov: np.ndarray
    traits: Traits


def shown(severity: float, effect: float) -> float:
    """Severity as the image shows it: `effect` times as far from 1, the middle of a typical cohort.

    It levels off towards -3 and 5, so that no effect draws an impossible eye.
    """
    return float(1 + 4 * np.tanh(effect * (severity - 1) / 4))


def narrowing(shown: float) -> float:
    """Factor on the calibre of the arteries: 1.19 at a shown severity of -2, 0.63 at 2."""
    return float(0.868 * np.exp(-0.16 * shown))


def tortuosity(shown: float) -> float:
    """RMS amplitude of the arteries' waves in radii of the field of view, at least 0."""
    return 0.0042 * float(np.logaddexp(0.0, 0.9 * shown))


def wiring(shown: float) -> float:
    """How far the wall of the arteries has thickened: 0 healthy, about 0.5 copper wiring, 1 silver wiring."""
    return float(np.clip((shown + 1) / 6, 0, 1))


def nicking(shown: float) -> float:
    """Share of a vein's blood that is hidden where an artery crosses it, in [0, 1]."""
    return float(np.clip(shown / 5, 0, 1))


def spots_shown(shown: float) -> np.ndarray:
    """How far each peripheral spot has developed, in [0, 1]: the first shows from -1.7, the last is full at 3.5."""
    onset = -1.7 + 4.6 * np.linspace(0, 1, SPOTS) ** 0.7
    return ((shown - onset) / 0.6).clip(0, 1)


def draw_eye(cohort: SyntheticCohort, patient_id: str, eye: EyeSide, severity: float, low_quality: bool) -> Eye:
    """Draw one eye of one patient.

    The same arguments give the same pixels, whatever was drawn before. Every random draw is the same at every severity,
    so severity changes only what `cohort.signal` names, with the strength `cohort.effect`.
    """
    patient = [cohort.seed, *patient_id.encode()]
    shared = np.random.default_rng([*patient, 0])
    streams = np.random.default_rng([*patient, 1 if eye == "right" else 2]).spawn(7)
    shape, arterial, venous, tortuous, colour, lesions, camera = streams

    complexion = render.Complexion(
        pigmentation=shared.beta(2, 2), tessellation=shared.uniform() ** 2, cast=shared.normal(0, [0.04, 0.05, 0.10])
    )
    calibre = np.exp(shared.normal(0, 0.05))
    height = cohort.image_size
    radius = height * (0.49 if shared.uniform() < 0.85 else 0.53)  # beyond 0.5 the frame cuts top and bottom
    x, y = height * (np.array([render.FRAME_ASPECT, 1]) / 2 + camera.normal(0, 0.003, 2))
    frame = render.Frame(height, (float(x), float(y)), radius)
    landmarks = anatomy.draw_landmarks(shape)

    def tree(rng: np.random.Generator, kind: anatomy.Kind) -> list[anatomy.Vessels]:
        grown = anatomy.grow_tree(rng, landmarks, kind)
        return anatomy.wave(rng, grown, landmarks, **MEANDER)

    seen = shown(severity, cohort.effect)
    in_vessels = seen if cohort.signal == "vessels" else HEALTHY
    arteries = anatomy.wave(
        tortuous, tree(arterial, anatomy.ARTERY), landmarks, TORTUOSITY_WAVELENGTH, tortuosity(in_vessels)
    )
    arteries = [replace(order, calibre=order.calibre * calibre * narrowing(in_vessels)) for order in arteries]
    veins = [replace(order, calibre=order.calibre * calibre) for order in tree(venous, anatomy.VEIN)]
    wall = render.artery_profile(wiring(in_vessels))
    drawn_arteries = render.draw_tree(frame, arteries, anatomy.ARTERY.calibre, wall)
    drawn_veins = render.draw_tree(frame, veins, anatomy.VEIN.calibre, render.VEIN_PROFILE)
    drawn_veins = render.nicked(frame, drawn_veins, drawn_arteries, nicking(in_vessels))

    density, disc = render.fundus(colour, frame, landmarks, complexion)
    if cohort.signal == "periphery":
        avoid = drawn_arteries.mask | drawn_veins.mask | (frame.distance(landmarks.disc) < 1.5 * anatomy.DISC_RADIUS)
        density += render.spots(lesions, frame, landmarks, avoid, spots_shown(seen))
    quality = _quality(camera, low_quality)
    rgb = render.image(camera, frame, density, drawn_arteries, drawn_veins, quality)

    images = [rgb, drawn_arteries.mask, drawn_veins.mask, disc, frame.fov]
    if eye == "left":
        images = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    rgb, artery, vein, disc, fov = images
    return Eye(rgb, artery, vein, disc, fov, Traits(cohort.signal, seen, complexion, quality))


def _quality(rng: np.random.Generator, low: bool) -> render.Quality:
    """An exposure; one of low quality has one or two of: defocus, haze, too little light, uneven light."""
    faults = rng.permutation(4) < rng.integers(1, 3) if low else np.zeros(4, bool)
    blur, haze, dim, uneven = faults
    strength = rng.uniform(0, 1, 4).tolist()  # plain floats leave float32 images in float32
    return render.Quality(
        blur=0.009 + 0.008 * strength[0] if blur else 0.0025 + 0.001 * strength[0],
        haze=0.35 + 0.25 * strength[1] if haze else 0.08 * strength[1],
        exposure=0.35 + 0.2 * strength[2] if dim else 0.9 + 0.2 * strength[2],
        unevenness=0.5 + 0.4 * strength[3] if uneven else 0.15 * strength[3],
        shadow=rng.uniform(0, 2 * np.pi),
        noise=rng.uniform(0.012, 0.02) * (1.8 if dim else 1.0),
    )
