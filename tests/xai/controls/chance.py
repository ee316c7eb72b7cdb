"""Power and coverage of the two tests of the vessel ratio on synthetic eyes: the table of docs/controls.md.

    python -m tests.xai.controls.chance [--studies 200] [--patients 12]

Every study draws patients with one to four images from a pool of synthetic eyes, and maps of one kind on a 16x16 grid:
the pattern of the kind times a smooth random field, nine tenths of whose variance a patient's images share. The table
shows how often p is at most 0.05, and how often the interval of ratio over null contains the true value, which is the
ratio of the means over all studies.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np
from scipy import ndimage

from benchmark.analysis.measures import estimate
from benchmark.study.config import Statistics
from benchmark.synthetic import SyntheticCohort, draw_eye
from stats.over_null import over_null_resampled
from stats.resamples import PatientResamples
from xai.controls import vessel_permutation as exchanged
from xai.controls.null import Null
from xai.controls.pose import find_poses
from xai.controls.turned_vessels import turned_vessels
from xai.controls.vessel_permutation import vessel_permutation
from xai.crop import coverage, square_around
from xai.saliency import vessel_saliency
from xai.vessels.source import VesselMasks, regions

SIDE, GRID = 112, 16
EYES = ("right", "left")
RATIO = "vessel_ratio_fov"
NOISE, SHARED = 0.5, 0.9  # standard deviation of the field's logarithm, and a patient's share of its variance
BLOB = 0.25  # radii of the field of view: standard deviation of the map of the disc
DRAWS = 199


@dataclass(frozen=True, eq=False)
class Pool:
    """Synthetic eyes, right and left in turn; everything (n, ...), uint8."""

    planes: np.ndarray
    disc: np.ndarray

    @cached_property
    def centres(self) -> np.ndarray:
        """(n, 2) of the disc, on the image as a right eye's."""
        return np.array([ndimage.center_of_mass(as_right(image, disc)) for image, disc in enumerate(self.disc)])

    @cached_property
    def density(self) -> np.ndarray:
        """(SIDE, SIDE): how often there is a vessel, all eyes laid as right eyes with the disc at their mean place."""
        laid = [
            ndimage.shift(as_right(image, planes[2]) / 255.0, self.centres.mean(axis=0) - self.centres[image], order=1)
            for image, planes in enumerate(self.planes)
        ]
        return ndimage.gaussian_filter(np.mean(laid, axis=0), 3)


def draw_pool(eyes: int) -> Pool:
    cohort, planes, discs = SyntheticCohort(patients=max(2, eyes), image_size=2 * SIDE), [], []
    for image in range(eyes):
        eye = draw_eye(cohort, f"p{image // 2:04d}", EYES[image % 2], 0.0, low_quality=False)
        square = square_around(eye.fov)
        planes.append(regions(VesselMasks(eye.artery, eye.vein, np.zeros_like(eye.fov)), eye.fov, square, SIDE))
        discs.append(coverage(eye.disc, square, SIDE))
    return Pool(np.stack(planes), np.stack(discs))


def as_right(image: int, plane: np.ndarray) -> np.ndarray:
    return plane[:, ::-1] if image % 2 else plane


def on_grid(plane: np.ndarray) -> np.ndarray:
    return plane.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID).mean(axis=(1, 3))


def around(centre: np.ndarray) -> np.ndarray:
    y, x = np.ogrid[:SIDE, :SIDE]
    return np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (BLOB * SIDE) ** 2 * 2)


def nothing(pool: Pool, image: int) -> np.ndarray:
    return np.ones((GRID, GRID))


def of_disc(pool: Pool, image: int) -> np.ndarray:
    return 0.05 + on_grid(around(pool.centres[image]))


def of_layout(pool: Pool, image: int) -> np.ndarray:
    """Bright at the same position in every field of view, between its middle and the disc."""
    return 0.05 + on_grid(around(np.array([SIDE / 2, 0.62 * SIDE])))


def of_arcades(pool: Pool, image: int) -> np.ndarray:
    """Bright where other eyes have vessels; depends on this eye only through the position of its disc."""
    moved = ndimage.shift(pool.density, pool.centres[image] - pool.centres.mean(axis=0), order=1, mode="nearest")
    return 0.01 + on_grid(moved)


def of_vessels(pool: Pool, image: int, strength: float) -> np.ndarray:
    own = on_grid(as_right(image, pool.planes[image, 2]) / 255.0)
    return 1 + strength * own / own.mean()


def of_disc_and_vessels(pool: Pool, image: int, strength: float) -> np.ndarray:
    return of_disc(pool, image) * of_vessels(pool, image, strength)


KINDS: dict[str, Callable[[Pool, int], np.ndarray]] = {
    "nothing": nothing,
    "one place of the field of view": of_layout,
    "disc": of_disc,
    "arcades": of_arcades,
    "own vessels, faint": partial(of_vessels, strength=0.03),
    "own vessels": partial(of_vessels, strength=0.1),
    "disc and own vessels": partial(of_disc_and_vessels, strength=0.1),
}


TESTS = {
    "permuted, not aligned": (vessel_permutation, False),
    "permuted, aligned": (vessel_permutation, True),
    "turned about the middle": (turned_vessels, False),
    "turned about the disc": (turned_vessels, True),
}


@dataclass(frozen=True, eq=False)
class Study:
    """maps (n, SIDE, SIDE); planes, disc, eyes, patients of the images."""

    maps: np.ndarray
    planes: np.ndarray
    disc: np.ndarray
    eyes: list[str | None]
    patients: np.ndarray


def draw_study(pool: Pool, kind: str, patients: int, rng: np.random.Generator, most: int = 4) -> Study:
    """Patients with one to `most` images: of as many different eyes, whose maps have a field in common."""
    images, of_patient, maps = [], [], []
    for patient in rng.choice(len(pool.planes) // 4, patients, replace=False):
        common = _field(rng)
        for image in 4 * patient + rng.permutation(4)[: rng.integers(1, most + 1)]:
            field = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * _field(rng)
            coarse = KINDS[kind](pool, int(image)) * np.exp(NOISE * field)
            maps.append(as_right(int(image), cv2.resize(coarse.astype(np.float32), (SIDE, SIDE))))
            images.append(int(image))
            of_patient.append(int(patient))
    eyes: list[str | None] = [EYES[image % 2] for image in images]
    return Study(np.stack(maps), pool.planes[images], pool.disc[images], eyes, np.array(of_patient))


def _field(rng: np.random.Generator) -> np.ndarray:
    smooth = ndimage.gaussian_filter(rng.normal(size=(GRID + 8, GRID + 8)), 2)[4:-4, 4:-4]
    return smooth * 2 * np.sqrt(np.pi) * 2  # a Gaussian of 2 leaves 1 / (4 sqrt(pi)) of the standard deviation


def with_replacement(study: Study, seed: int) -> float:
    """The p-value if each patient independently gets the vessels of any other patient, without alignment."""
    ratios = {RATIO: vessel_saliency(study.maps, study.planes)[RATIO]}
    poses = find_poses(study.planes, study.eyes, None)
    (pairs,) = exchanged._pair_ratios(
        study.maps, study.planes, poses, "vessel", ratios, [slice(0, len(study.maps))]
    ).values()
    rng, null = np.random.default_rng(seed), np.empty((DRAWS, len(study.maps)))
    images_of = {patient: np.flatnonzero(study.patients == patient) for patient in np.unique(study.patients)}
    for patient, images in images_of.items():
        others = rng.choice([other for other in images_of if other != patient], DRAWS)
        for image in images:
            null[:, image] = pairs[
                0, image, [images_of[other][int(rng.random() * len(images_of[other]))] for other in others]
            ]
    as_large = (null.mean(axis=1) >= ratios[RATIO].mean() - 1e-9).sum()
    return float((as_large + 1) / (DRAWS + 1))


def effect(null: Null, study: Study) -> tuple[float, float, float]:
    """Ratio over null with its interval, as in the leaderboard."""
    patient = np.unique(study.patients, return_inverse=True)[1]
    once = PatientResamples(np.ones((1, patient.max() + 1), np.uint8), patient)
    given = None if np.isnan(null.given).all() else null.given
    found = estimate(
        lambda drawn: {"effect": over_null_resampled(null.ratios, null.expected, given, drawn)},
        once,
        Statistics(),
        {"effect": "log"},
    )
    return found.values["effect"], *found.intervals["effect"]


def tests_of(study: Study, seed: int) -> Iterator[tuple[str, float, float, tuple[float, ...] | None]]:
    """Name, p-value, null mean, effect with its interval, of every test."""
    known = study.patients, DRAWS, seed, study.eyes
    yield "with replacement, not aligned", with_replacement(study, seed), np.nan, None
    for name, (test, aligned) in TESTS.items():
        disc = study.disc if aligned else None
        null = test(study.maps, study.planes, *known, disc, [RATIO])[RATIO]
        yield name, null.p_greater, null.observed / null.mean, effect(null, study)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    pool = draw_pool(800)
    for kind in options.kinds:
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for seed in range(options.studies):
            study = draw_study(pool, kind, options.patients, np.random.default_rng([seed, options.patients]))
            for name, p_value, over, interval in tests_of(study, seed):
                low, high = (np.nan, np.nan) if interval is None else interval[1:]
                found.setdefault(name, []).append((p_value, over, low, high))
        for name, rows in found.items():
            p_value, over, low, high = np.array(rows).T
            true = np.exp(np.log(over).mean())
            covered = 100 * ((low <= true) & (true <= high)).mean()
            print(
                f"{kind:32} {name:30} p <= 0.05 in {100 * (p_value <= 0.05).mean():5.1f} %   ratio over null {true:.3f}"
                f"   interval holds it in {covered:5.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
