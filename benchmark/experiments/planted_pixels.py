"""The pixels of a synthetic study's test images that show its signal."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from benchmark.errors import UserError
from benchmark.storage.rundir import RunDirectory, open_array
from benchmark.study.config import Study
from benchmark.study.images import IMAGE_SIZE, load_image
from benchmark.study.splits import of_split
from benchmark.synthetic import SyntheticCohort, draw_eye, plan
from benchmark.tables import read_parquet
from xai.crop import Square, coverage, crop_image
from xai.vessels import REGIONS

WITHOUT_SPOTS = -10.0  # a severity at which no spot shows
# Levels (of 255) by which a pixel must differ to belong to a spot. In sharp images 384 pixels high, 2 levels make the
# area 1.2 times as large, 8 levels 0.8 times.
VISIBLE = 4
SAME_DRAWING = 8  # levels (of 255), mean over a crop or its spots: JPEG differs by 1 to 3, another drawing by more


@dataclass(frozen=True, eq=False)
class Truth:
    """Test images of a run and the signal planted in them.

    Attributes:
        cohort: the cohort from which the images were drawn; runs on the same cohort have the same patients.
        table: one row per image: image, patient_id, label, row.
        small, large: (n, side, side, 3) uint8.
        planted, vessel, fov: (n, IMAGE_SIZE, IMAGE_SIZE) uint8 coverage.
    """

    cohort: SyntheticCohort
    table: pl.DataFrame
    small: np.ndarray
    large: np.ndarray
    planted: np.ndarray
    vessel: np.ndarray
    fov: np.ndarray


def open_study(directory: RunDirectory) -> Study:
    """The configuration that a run was started with.

    Raises:
        UserError: the folder does not hold a run.
    """
    if not directory.study.is_file():
        raise UserError(f"{directory.path}: not a run directory; give the folder of a finished run")
    return Study.model_validate(yaml.safe_load(directory.study.read_text(encoding="utf-8")))


def read_truth(study: Study, directory: RunDirectory, side: int, patients: int | None = None) -> Truth:
    """The test images of a run; only those of its first `patients` if a number is given.

    Raises:
        UserError: the cohort is not synthetic, or this version of the program draws it differently.
    """
    cohort = study.cohort.synthetic
    if cohort is None:
        raise UserError(
            f"{directory.path}: the cohort is not synthetic, so the place of its signal is unknown; give another run"
        )
    test = of_split(directory.outward(read_parquet(directory.cohort)), "test")
    kept = pl.Series(test["patient_id"].unique(maintain_order=True)[:patients])
    chosen = test["patient_id"].is_in(kept.implode()).to_numpy()
    test, planes = test.filter(chosen), open_array(directory.regions)[chosen]
    of_region = {name: planes[:, index] for index, name in enumerate(REGIONS)}
    small = open_array(directory.images)[test["row"].to_numpy()]
    planted = of_region["artery"] if cohort.signal == "vessels" else _planted_spots(cohort, test, small)
    large = np.stack([_at(row, side) for row in test.to_dicts()])
    return Truth(cohort, test, small, large, planted, of_region["vessel"], of_region["fov"])


def visible_spots(cohort: SyntheticCohort, row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """An image of the plan drawn again, (H, W, 3) uint8, and the pixels (H, W) bool where its spots show.

    The same eye is also drawn at a severity without spots. Every random draw is the same at every severity, so the two
    images differ only in the spots and their blur, and camera noise cancels out. JPEG is not involved.
    """
    who = {key: row[key] for key in ("patient_id", "eye", "low_quality")}
    shown = draw_eye(cohort, severity=row["severity"], **who).rgb
    hidden = draw_eye(cohort, severity=WITHOUT_SPOTS, **who).rgb
    difference = np.abs(shown.astype(np.int16) - hidden).max(axis=2)
    return shown, difference >= VISIBLE


def _planted_spots(cohort: SyntheticCohort, test: pl.DataFrame, small: np.ndarray) -> np.ndarray:
    planned = {row["image"]: row for row in plan(cohort)}
    planes = np.zeros(small.shape[:3], np.uint8)
    for place, row in enumerate(test.to_dicts()):
        shown, spots = visible_spots(cohort, planned[row["image"]])
        square = Square(row["top"], row["left"], row["side"])
        planes[place] = coverage(spots, square, IMAGE_SIZE)
        off = np.abs(crop_image(shown, square, IMAGE_SIZE).astype(int) - small[place]).mean(axis=2)
        inside = off[planes[place] > 0]
        largest = max(off.mean(), inside.mean() if inside.size else 0)
        if largest > SAME_DRAWING:
            raise UserError(
                f"{row['image']} is drawn differently by this version, by {largest:.0f} of 255 levels: use the version "
                "that made the run"
            )
    return planes


def _at(row: dict[str, Any], side: int) -> np.ndarray:
    rgb, _ = load_image(Path(row["path"]), row["fov_mask"] or "")
    return crop_image(rgb, Square(row["top"], row["left"], row["side"]), side)
