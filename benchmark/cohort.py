"""The study's cohort before any picture is opened: the manifest, split by person and fit for a study."""

from pathlib import Path

import polars as pl

from benchmark.config import Study
from benchmark.errors import UserError
from benchmark.manifest import read_manifest
from benchmark.splits import require_both_classes, split_people


def read_cohort(study: Study, manifest: Path) -> pl.DataFrame:
    """`read_manifest` with its `split` column filled.

    Raises:
        UserError: a fault in the manifest, a split with one class, or masks that are asked for but not named.
    """
    settings = study.cohort
    cohort = split_people(read_manifest(manifest, settings.image_dir, settings.patient_pattern), settings.shares)
    require_both_classes(cohort)
    test = cohort.filter(pl.col("split") == "test")
    if study.vessels.source == "masks" and test["artery_mask"].null_count() == len(test):
        raise UserError(
            f"{manifest}: names no artery_mask for any test image, which --vessels masks needs; add the columns "
            "artery_mask and vein_mask, or choose --vessels wnet"
        )
    return cohort
