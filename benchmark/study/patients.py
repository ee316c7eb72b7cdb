"""How many patients each class has: what decides how much a test set can show, more than its images do."""

from typing import NamedTuple

import polars as pl

FEWEST = 10  # patients of a class, below which intervals are wide and rest on what such estimates have in general


class OfEachClass(NamedTuple):
    """Patients with a positive image, and with a negative one; who has both counts in both."""

    positive: int
    negative: int


def of_each_class(images: pl.DataFrame) -> OfEachClass:
    """Of a table of images with the columns patient_id and label (0 or 1)."""
    positive, negative = (images.filter(pl.col("label") == label)["patient_id"].n_unique() for label in (1, 0))
    return OfEachClass(positive, negative)


def counted(images: pl.DataFrame) -> str:
    """A split in a few words: "20 (10 positive, of 5 patients)"."""
    return f"{len(images)} ({images['label'].sum()} positive, of {of_each_class(images).positive} patients)"


def too_few(patients: OfEachClass) -> str:
    """A sentence where a class of the test set has fewer than `FEWEST` patients, else nothing."""
    few = [f"{count} {name}" for name, count in patients._asdict().items() if count < FEWEST]
    if not few:
        return ""
    noun = "patient" if len(few) == 1 and min(patients) == 1 else "patients"
    return (
        f"The test images are of {' and '.join(few)} {noun}: with fewer than {FEWEST} of a class, intervals are wide "
        "and differences between models are rarely shown, however many images there are."
    )
