"""The cohort of a study before it runs: its images are listed, but none is decoded."""

import polars as pl

from benchmark.study.cohort import open_cohort
from benchmark.study.config import Study
from benchmark.study.folds import all_tested, require_for_folds, sizes_of_fold
from benchmark.study.manifest import SPLITS, Manifest
from benchmark.study.splits import of_split, split_patients
from benchmark.synthetic import plan as plan_synthetic


def expected_cohort(study: Study) -> Manifest:
    """The images that the manifest lists, or that would be drawn, with their splits.

    The images have at least the columns label, patient_id and split.

    Raises:
        benchmark.errors.UserError: the manifest has faults.
    """
    settings = study.cohort
    if settings.synthetic is None:
        assert settings.manifest is not None  # Cohort has one of the two
        return open_cohort(study, settings.manifest)
    drawn = pl.DataFrame(plan_synthetic(settings.synthetic)).with_columns(pl.lit(None, pl.String).alias("split"))
    if study.splits is not None:
        require_for_folds(drawn, study.splits, "the synthetic cohort")
        return Manifest(all_tested(drawn))
    return Manifest(split_patients(drawn, settings.shares))


def images_by_split(study: Study, cohort: pl.DataFrame) -> dict[str, int]:
    """The number of images in each split; with folds, in those of one fold, about."""
    if study.splits is not None:
        return sizes_of_fold(len(cohort), study.splits, study.cohort.shares)
    return {split: of_split(cohort, split).height for split in SPLITS}
