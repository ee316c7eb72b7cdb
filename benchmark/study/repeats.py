"""Find the same image under several names by its decoded pixels.

A copy that was compressed again, resized, cropped or mirrored has other pixels and is not found.
"""

import polars as pl

from benchmark.errors import UserError

_SHOWN = 10


def refuse_in_two_splits(images: pl.DataFrame) -> None:
    """Refuse an image that is in two splits: models must not be evaluated on images that they were trained on.

    Args:
        images: image, patient_id, split, digest.

    Raises:
        UserError: an image is in two splits; one line per pair.
    """
    _refuse(_with_first(images).filter(pl.col("split") != pl.col("split_first")), "in two splits")


def refuse_of_two_patients(images: pl.DataFrame) -> None:
    """The same for folds, where two patients are in two splits sooner or later."""
    pairs = _with_first(images).filter(pl.col("patient_id") != pl.col("patient_id_first"))
    _refuse(pairs.with_columns(split=pl.lit("folds"), split_first=pl.lit("folds")), "of two patients")


def _refuse(pairs: pl.DataFrame, what: str) -> None:
    lines = [
        f"{image} (patient {patient}, {split}) is the same image as {first} (patient {its_patient}, {its_split}): "
        "remove one of them, or give both the same patient_id"
        for image, patient, split, first, its_patient, its_split in pairs.select(
            "image", "patient_id", "split", "image_first", "patient_id_first", "split_first"
        ).iter_rows()
    ]
    if lines:
        more = [f"and {len(lines) - _SHOWN} more images {what}"] if len(lines) > _SHOWN else []
        raise UserError("\n".join(lines[:_SHOWN] + more))


def repeats(images: pl.DataFrame) -> pl.DataFrame:
    """Images whose pixels equal those of an earlier row: image, patient_id, label and split, and the name, patient and
    label of the first such image (same_as, its_patient_id, its_label).
    """
    return _with_first(images).select(
        "image", "patient_id", "label", "split",
        same_as="image_first", its_patient_id="patient_id_first", its_label="label_first",
    )  # fmt: skip


def _with_first(images: pl.DataFrame) -> pl.DataFrame:
    """Images that are not the first with their digest, with the columns of the first (`*_first`)."""
    first = images.with_row_index("place").unique("digest", keep="first", maintain_order=True)
    return (
        images.with_row_index("place")
        .join(first, on="digest", suffix="_first", maintain_order="left")
        .filter(pl.col("place") != pl.col("place_first"))
    )
