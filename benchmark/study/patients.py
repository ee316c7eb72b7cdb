"""Count the patients of each class, whose number limits what a test set can show, and the images that they have."""

from statistics import median
from typing import NamedTuple

import polars as pl

FEWEST = 10  # patients per class; with fewer, intervals are wide and rely on the usual variance of such estimates


class OfEachClass(NamedTuple):
    """Patients with a positive image, and patients with a negative image; those with both count in both."""

    positive: int
    negative: int


def of_each_class(images: pl.DataFrame) -> OfEachClass:
    """Count the patients of each class in a table with the columns patient_id and label (0 or 1)."""
    positive, negative = (images.filter(pl.col("label") == label)["patient_id"].n_unique() for label in (1, 0))
    return OfEachClass(positive, negative)


class OfEachPatient(NamedTuple):
    """How many images, eyes and visits the patients of a split have.

    `one_eye`, `both_eyes` and `unknown_eye` add up to `patients`: one eye or both are known, or an image of an unknown
    eye leaves open whether there is another. `several_visits` is None if no visit is known. Images per patient: the
    fewest, the median and the most, None without patients.
    """

    patients: int
    one_eye: int
    both_eyes: int
    unknown_eye: int
    several_visits: int | None
    images_min: int | None
    images_median: float | None
    images_max: int | None


def of_each_patient(images: pl.DataFrame) -> OfEachPatient:
    """Count eyes, visits and images in a table with the columns patient_id, eye, and visit if visits are known."""
    visits = pl.col("visit").drop_nulls().n_unique() if "visit" in images.columns else pl.lit(0)
    by_patient = images.group_by("patient_id").agg(
        pl.col("eye").drop_nulls().n_unique().alias("eyes"),
        pl.col("eye").has_nulls().alias("unknown"),
        visits.alias("visits"),
        pl.len().alias("images"),
    )
    both, known = pl.col("eyes") > 1, ~pl.col("unknown")
    one_eye, both_eyes = (by_patient.filter(which).height for which in (~both & known, both))
    known_visits = bool(by_patient["visits"].sum())
    counts = by_patient["images"].cast(pl.Int64).to_list()
    return OfEachPatient(
        patients=len(by_patient),
        one_eye=one_eye,
        both_eyes=both_eyes,
        unknown_eye=len(by_patient) - one_eye - both_eyes,
        several_visits=by_patient.filter(pl.col("visits") > 1).height if known_visits else None,
        images_min=min(counts, default=None),
        images_median=float(median(counts)) if counts else None,
        images_max=max(counts, default=None),
    )


def counted(images: pl.DataFrame) -> str:
    """Describe a split: "20 (10 positive, from 5 patients)"."""
    return f"{len(images)} ({images['label'].sum()} positive, from {of_each_class(images).positive} patients)"


def too_few(patients: OfEachClass) -> str:
    """A sentence if a class of the test set has fewer than `FEWEST` patients; otherwise an empty text."""
    few = [f"{count} {name}" for name, count in patients._asdict().items() if count < FEWEST]
    if not few:
        return ""
    noun = "patient" if len(few) == 1 and min(patients) == 1 else "patients"
    return (
        f"The test images are from {' and '.join(few)} {noun}. With fewer than {FEWEST} patients of a class, intervals "
        "are wide and differences between models are rarely detected, even with many images."
    )
