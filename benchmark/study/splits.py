"""Divide patients, never images, into training, validation and test sets."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from benchmark.errors import UserError
from benchmark.study.classes import Classes
from benchmark.study.config import Shares
from benchmark.study.manifest import SPLITS
from benchmark.study.spellings import shown

ADVICE = "add patients or change the shares"


def of_split(images: pl.DataFrame, split: str) -> pl.DataFrame:
    """The images of one split, in their original order."""
    return images.filter(pl.col("split") == split)


def split_patients(cohort: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    """Fill the `split` column if the manifest did not.

    Patients are stratified by whether any of their images is positive, shuffled with the seed, and divided by the
    shares, so that each stratum meets the shares to within one patient. If a split then lacks one of the labels,
    patients are moved so that each split has both, provided that there are enough patients.
    """
    if cohort["split"].null_count() == 0:
        return cohort
    patients = (
        cohort.group_by("patient_id")
        .agg(pl.col("label").max().alias("positive"), pl.col("label").min().alias("least"))
        .sort("patient_id")
    )
    generator = np.random.default_rng(shares.seed)
    strata: list[list[str]] = [
        generator.permutation(patients.filter(pl.col("positive") == positive)["patient_id"].to_numpy()).tolist()
        for positive in (0, 1)
    ]
    mixed = set(patients.filter((pl.col("positive") == 1) & (pl.col("least") == 0))["patient_id"])
    chosen = _cut(strata[0], _rounded(len(strata[0]), shares)) | _cut(strata[1], _rounded(len(strata[1]), shares))
    if not _has_both(chosen, strata, mixed):
        chosen = _spread(strata, mixed, shares) or chosen
    return cohort.with_columns(pl.col("patient_id").replace_strict(chosen, return_dtype=pl.String).alias("split"))


def require_both_classes(
    cohort: pl.DataFrame, classes: Classes | None = None, advice: str = ADVICE, splits: Sequence[str] = SPLITS
) -> None:
    """Raise a UserError that names each split without images of both classes.

    Args:
        advice: what to do about it.
        splits: those that are needed.
    """
    names = {} if classes is None else {label: f" ({shown(name)})" for label, name in classes.by_label().items()}
    faults = []
    for split in splits:
        labels = of_split(cohort, split)["label"]
        if labels.n_unique() < 2:
            content = "no image"
            if len(labels):
                content = f"only label {labels[0]}{names.get(str(labels[0]), '')} ({len(labels)} images)"
            faults.append(f"split {split} has {content}; both classes are needed: {advice}")
    if faults:
        raise UserError("\n".join(faults))


def require_enough_patients(cohort: pl.DataFrame, classes: Classes | None = None) -> None:
    """Raise a UserError if no division of the patients gives each split both labels."""
    by_patient = cohort.group_by("patient_id").agg(
        pl.col("label").min().alias("low"), pl.col("label").max().alias("up")
    )
    only = [by_patient.filter((pl.col("low") == label) & (pl.col("up") == label)).height for label in (0, 1)]
    both = len(by_patient) - sum(only)
    if min(only) + both >= len(SPLITS):
        return
    names = {} if classes is None else {label: f" ({shown(name)})" for label, name in classes.by_label().items()}
    counts = [f"{count} have only label {label}{names.get(str(label), '')}" for label, count in enumerate(only)]
    raise UserError(
        f"{len(by_patient)} patients cannot be divided into train, val and test so that each has both labels: "
        f"{', '.join(counts)}, {both} have both; add patients until three have each label"
    )


def _rounded(patients: int, shares: Shares) -> list[int]:
    """How many of the patients each split gets."""
    cuts = np.round(np.cumsum([shares.train, shares.val]) * patients).astype(int)
    return np.diff([0, *cuts, patients]).tolist()


def _at_least_one(patients: int, shares: Shares, occupied: int) -> list[int]:
    """The same with at least one patient in `occupied` of the splits, as close to the shares as that allows."""
    counts = _rounded(patients, shares)
    wanted = [share * patients for share in (shares.train, shares.val, shares.test)]
    while sum(count > 0 for count in counts) < occupied:
        empty = [place for place, count in enumerate(counts) if count == 0]
        to = max(empty, key=lambda place: wanted[place])
        able = [place for place, count in enumerate(counts) if count > 1]
        give = max(able, key=lambda place: counts[place] - wanted[place])
        counts[give] -= 1
        counts[to] += 1
    return counts


def _cut(patients: list[str], counts: list[int]) -> dict[str, str]:
    """patient -> split."""
    return dict(zip(patients, np.repeat(SPLITS, counts).tolist(), strict=True))


def _has_both(chosen: dict[str, str], strata: list[list[str]], mixed: set[str]) -> bool:
    negative = {chosen[patient] for patient in (*strata[0], *mixed)}
    return len(negative) == len({chosen[patient] for patient in strata[1]}) == len(SPLITS)


def _spread(strata: list[list[str]], mixed: set[str], shares: Shares) -> dict[str, str] | None:
    """A division with both labels in every split; None if there is none.

    Args:
        strata: patients without and with a positive image, shuffled.
        mixed: the patients with a positive image who also have a negative image.
    """
    negative, positive = strata
    if len(positive) < len(SPLITS) or len(negative) + len(mixed) < len(SPLITS):
        return None
    # 1. Divide the patients with a positive image, at least one into each split.
    chosen = _cut(positive, _at_least_one(len(positive), shares, len(SPLITS)))
    # 2. Divide the others into all splits or, if they are too few, at least into as many as `mixed` cannot fill.
    occupied = min(len(negative), len(SPLITS))
    if len(negative) < len(SPLITS):
        occupied = max(0, len(SPLITS) - len(mixed))
    of_negative = _cut(negative, _at_least_one(len(negative), shares, occupied))
    # 3. If a split still has no negative image, exchange one of its patients for one with both labels.
    for split in SPLITS:
        holding = [patient for patient in positive if chosen[patient] == split]
        if split in of_negative.values() or mixed.intersection(holding):
            continue
        spare = next(
            patient
            for patient in positive
            if patient in mixed
            and (
                chosen[patient] in of_negative.values()
                or sum(other in mixed and chosen[other] == chosen[patient] for other in positive) > 1
            )
        )
        chosen[holding[0]], chosen[spare] = chosen[spare], split
    return chosen | of_negative
