"""The study's cohort before any picture is opened: the manifest, split by patient and fit for a study."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.errors import UserError
from benchmark.study.config import Study
from benchmark.study.manifest import Manifest, open_manifest
from benchmark.study.splits import ADVICE, of_split, require_both_classes, require_enough_patients, split_patients
from benchmark.synthetic import SyntheticCohort


def open_cohort(study: Study, manifest: Path) -> Manifest:
    """The manifest with the `split` column of its images filled.

    Raises:
        UserError: a fault in the manifest, a split with one class, or masks that are asked for but not named.
    """
    settings = study.cohort
    opened = open_manifest(manifest, settings.image_dir, settings.patient_pattern, settings.positive)
    given = opened.images["split"].null_count() == 0
    if not given:
        require_enough_patients(opened.images, opened.classes)
    images = split_patients(opened.images, settings.shares)
    require_both_classes(images, opened.classes, f"correct the splits of {manifest.name}" if given else ADVICE)
    test = of_split(images, "test")
    if study.vessels.source == "masks" and test["artery_mask"].null_count() == len(test):
        raise UserError(
            f"{manifest}: names no artery_mask for any test image, which --vessels masks needs; add the columns "
            "artery_mask and vein_mask, or choose --vessels wnet"
        )
    return replace(opened, images=images)


def digest(test: pl.DataFrame, drawn: SyntheticCohort | None) -> str:
    """SHA-256 of image, patient and label of the test images, in order of their names; of a synthetic cohort, whose
    names are alike for all, of how it was drawn as well.
    """
    rows: list[Any] = test.select("image", "patient_id", "label").sort("image").rows()
    rows += [] if drawn is None else [asdict(drawn)]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
