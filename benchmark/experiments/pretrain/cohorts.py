"""The images on which the miniature models are pre-trained: synthetic, unlabelled, from seeds that no study uses."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmark.study.images import IMAGE_SIZE
from benchmark.synthetic import SyntheticCohort, draw_eye, plan
from benchmark.synthetic.eye import Traits
from xai.crop import crop_image, square_around

SEED = 1_000_000  # and the one after it; a study's seeds are small numbers
EFFECT = 2.0


@dataclass(frozen=True)
class DrawnImages:
    """Crops as in a study: `images` uint8 (n, 224, 224, 3), and the `sides` and `traits` of each."""

    images: np.ndarray
    sides: list[str]
    traits: list[Traits]

    def __len__(self) -> int:
        return len(self.images)


def cohorts(patients: int) -> list[SyntheticCohort]:
    """Half of the patients show severity in their arteries, the other half as spots in the periphery.

    Severity varies as in a study. Its label is drawn but not used.
    """
    return [
        SyntheticCohort(patients // 2, image_size=384, signal="vessels", effect=EFFECT, best_auc=0.95, seed=SEED),
        SyntheticCohort(patients // 2, image_size=384, signal="periphery", effect=EFFECT, best_auc=0.95, seed=SEED + 1),
    ]


def draw_images(drawn: list[SyntheticCohort], processes: int) -> DrawnImages:
    """Every image of the cohorts, in the same order for any number of processes."""
    rows = [(cohort, row) for cohort in drawn for row in plan(cohort)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_draw, *zip(*rows, strict=True), chunksize=16))
    images, traits = zip(*done, strict=True)
    return DrawnImages(np.stack(images), [row["eye"] for _, row in rows], list(traits))


def _draw(cohort: SyntheticCohort, row: dict[str, Any]) -> tuple[np.ndarray, Traits]:
    eye = draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], row["low_quality"])
    return crop_image(eye.rgb, square_around(eye.fov), IMAGE_SIZE), eye.traits
