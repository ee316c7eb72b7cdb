"""Dividing people, never images, into train, validation and test."""

import numpy as np
import polars as pl

from benchmark.config import Shares
from benchmark.errors import UserError
from benchmark.manifest import SPLITS


def split_people(cohort: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    """Fill the `split` column where the manifest did not.

    People are stratified by whether any of their images is positive, shuffled by the seed, and cut by the shares, so
    that each stratum's shares are met to within one person.
    """
    if cohort["split"].null_count() == 0:
        return cohort
    people = cohort.group_by("patient_id").agg(pl.col("label").max().alias("positive")).sort("patient_id")
    generator = np.random.default_rng(shares.seed)
    chosen: dict[str, str] = {}
    for positive in (0, 1):
        stratum = people.filter(pl.col("positive") == positive)["patient_id"].to_numpy()
        stratum = generator.permutation(stratum)
        cuts = np.round(np.cumsum([shares.train, shares.val]) * len(stratum)).astype(int)
        for split, part in zip(SPLITS, np.split(stratum, cuts), strict=True):
            chosen |= dict.fromkeys(part.tolist(), split)
    return cohort.with_columns(pl.col("patient_id").replace_strict(chosen, return_dtype=pl.String).alias("split"))


def require_both_classes(cohort: pl.DataFrame) -> None:
    """Raise a UserError for each split that a study cannot be made of."""
    faults = []
    for split in SPLITS:
        labels = cohort.filter(pl.col("split") == split)["label"]
        if labels.n_unique() < 2:
            held = "no image" if labels.is_empty() else f"only label {labels[0]} ({len(labels)} images)"
            faults.append(f"split {split} has {held}; both classes are needed: add people or change the shares")
    if faults:
        raise UserError("\n".join(faults))
