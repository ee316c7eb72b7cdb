"""Divide patients into folds, so that every patient is tested once in each repeat."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmark.errors import UserError
from benchmark.study.config import Folds, Shares

PER_FOLD = 2  # patients with and without a positive image that every fold needs, for an interval


@dataclass(frozen=True, order=True)
class Fold:
    """One division into training, validation and test images; both numbers count from 1."""

    repeat: int
    fold: int

    @property
    def name(self) -> str:
        """The fold's folder: `r<repeat>-f<fold>`."""
        return f"r{self.repeat}-f{self.fold}"


def folds_of(settings: Folds) -> list[Fold]:
    """All folds of all repeats, in the order in which they run."""
    return [Fold(repeat + 1, fold + 1) for repeat in range(settings.repeats) for fold in range(settings.folds)]


def require_for_folds(images: pl.DataFrame, settings: Folds, manifest: str) -> None:
    """Raise a UserError if a cohort gives its own splits, or has too few patients for its folds.

    Args:
        images: patient_id, label and split; a patient with any positive image counts as positive.
        manifest: the name of the cohort in messages.
    """
    if images["split"].null_count() < len(images):
        raise UserError(
            f"{manifest} says which images are train, val and test, but splits.folds divides the patients into folds: "
            "remove the column split, or remove splits from the configuration"
        )
    labels = images.group_by("patient_id").agg(pl.col("label").max())["label"]
    counts = {"positive": int(labels.sum()), "negative": int(len(labels) - labels.sum())}
    fewest = min(counts, key=lambda name: counts[name])
    if counts[fewest] < PER_FOLD * settings.folds:
        most = counts[fewest] // PER_FOLD
        fix = f"lower splits.folds to {most}, or add patients" if most >= 2 else "add patients, or remove splits"
        raise UserError(
            f"{manifest} has {counts[fewest]} {fewest} patients, but {settings.folds} folds need {PER_FOLD} in each: "
            f"{fix}"
        )


def all_tested(images: pl.DataFrame) -> pl.DataFrame:
    """The images of a study with folds before they are divided: each will be tested."""
    return images.with_columns(split=pl.lit("test"))


def sizes_of_fold(images: int, settings: Folds, shares: Shares) -> dict[str, int]:
    """The number of images in each split of one fold, about."""
    test = round(images / settings.folds)
    val = round((images - test) * shares.val / (shares.train + shares.val))
    return {"train": images - test - val, "val": val, "test": test}


def divided(images: pl.DataFrame, settings: Folds, shares: Shares) -> dict[Fold, pl.DataFrame]:
    """The images with the `split` that they have in each fold.

    The test folds are scikit-learn's `StratifiedGroupKFold` over patients, stratified by whether any image of the
    patient is positive. Of the other patients of each stratum, the share val / (train + val) is for validation, and at
    least one. The same seed divides the same patients in the same way, whatever the order of the images.

    Args:
        images: patient_id and label, and any other columns, which are kept.
        settings: folds, repeats and seed.
        shares: the shares of a study without folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # many workers import this file and do not need it

    # One row per patient: otherwise a patient with many images could fill a fold alone.
    by_patient = images.group_by("patient_id").agg(pl.col("label").max()).sort("patient_id")
    patients, positive = by_patient["patient_id"].to_numpy(), by_patient["label"].to_numpy()
    of_validation = shares.val / (shares.train + shares.val)
    found: dict[Fold, pl.DataFrame] = {}
    for repeat in range(settings.repeats):
        generator = np.random.default_rng([settings.seed, repeat])
        cut = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=int(generator.integers(2**32)))
        for fold, (_, test) in enumerate(cut.split(patients, positive, patients)):
            split = dict.fromkeys(patients[test].tolist(), "test")
            for label in (0, 1):
                others = [name for name in patients[positive == label].tolist() if name not in split]
                drawn = generator.permutation(np.array(others, dtype=object)).tolist()
                held_out = min(max(1, round(of_validation * len(drawn))), len(drawn) - 1)
                split |= dict.fromkeys(drawn[:held_out], "val") | dict.fromkeys(drawn[held_out:], "train")
            of_fold = pl.col("patient_id").replace_strict(split, return_dtype=pl.String)
            found[Fold(repeat + 1, fold + 1)] = images.with_columns(split=of_fold)
    return found
