"""Count the patients of each class; their number limits what a test set can show, more than the number of images."""

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
