"""The study's cohort before any image is decoded: the manifest, checked and split by patient."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.errors import UserError
from benchmark.study.config import Study
from benchmark.study.folds import all_tested, require_for_folds
from benchmark.study.manifest import Manifest, open_manifest
from benchmark.study.splits import ADVICE, of_split, require_both_classes, require_enough_patients, split_patients
from benchmark.synthetic import SyntheticCohort


def open_cohort(study: Study, manifest: Path, *, external: bool = False) -> Manifest:
    """Open the manifest and fill the `split` column of its images; with folds, all images will be tested.

    Args:
        external: whether all images are tested, because the models were trained on other patients.

    Raises:
        UserError: a fault in the manifest, a split without both classes, too few patients for the folds, or no masks
            although the study needs them.
    """
    settings = study.cohort
    opened = open_manifest(
        manifest,
        settings.image_dir,
        settings.patient_pattern,
        settings.positive,
        settings.columns.named(),
        settings.labels,
        settings.covariates,
    )
    given = opened.images["split"].null_count() == 0 and not external
    if external:
        images = opened.images.with_columns(split=pl.lit("test"))
        require_both_classes(images, opened.classes, "add patients of the other class", splits=("test",))
    elif study.splits is not None:
        require_for_folds(opened.images, study.splits, manifest.name)
        images = all_tested(opened.images)
    else:
        if not given:
            require_enough_patients(opened.images, opened.classes)
        images = split_patients(opened.images, settings.shares)
        require_both_classes(images, opened.classes, f"correct the splits of {manifest.name}" if given else ADVICE)
    test = of_split(images, "test")
    if study.vessels.source == "masks" and test["artery_mask"].null_count() == len(test):
        raise UserError(
            f"{manifest}: no test image has an artery_mask, but --vessels masks needs masks; add the columns "
            "artery_mask and vein_mask, or choose --vessels wnet"
        )
    return replace(opened, images=images, splits_given=given)


def digest(test: pl.DataFrame, drawn: SyntheticCohort | None) -> str:
    """SHA-256 of the names, patients and labels of the test images, sorted by name.

    Synthetic cohorts all use the same names; their hash therefore includes how they were drawn.
    """
    rows: list[Any] = test.select("image", "patient_id", "label").sort("image").rows()
    rows += [] if drawn is None else [_how_drawn(drawn)]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _how_drawn(drawn: SyntheticCohort) -> dict[str, Any]:
    """The fields of a synthetic cohort; a field that is newer than the hash is left out at its default."""
    fields = asdict(drawn)
    if drawn.covariates == "none":
        del fields["covariates"]
    return fields
