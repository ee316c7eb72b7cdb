"""The same picture under several names, found by its decoded pixels.

A copy that was compressed again, resized, cropped or mirrored has other pixels and is not found.
"""

import polars as pl

from benchmark.errors import UserError

_SHOWN = 10


def refuse_in_two_splits(images: pl.DataFrame) -> None:
    """What one split learns from must not be what another is judged by.

    Args:
        images: image, patient_id, split, digest.

    Raises:
        UserError: a picture is in two splits; one line per pair of images.
    """
    pairs = _with_first(images).filter(pl.col("split") != pl.col("split_first"))
    lines = [
        f"{image} (patient {patient}, {split}) is the same picture as {first} (patient {its_patient}, {its_split}): "
        "leave one out, or give both the same patient_id"
        for image, patient, split, first, its_patient, its_split in pairs.select(
            "image", "patient_id", "split", "image_first", "patient_id_first", "split_first"
        ).iter_rows()
    ]
    if lines:
        more = [f"and {len(lines) - _SHOWN} more images of two splits"] if len(lines) > _SHOWN else []
        raise UserError("\n".join(lines[:_SHOWN] + more))


def repeats(images: pl.DataFrame) -> pl.DataFrame:
    """Images whose picture is listed before: image, patient_id, label, split, and of the first image with that
    picture same_as, its_patient_id, its_label.
    """
    return _with_first(images).select(
        "image", "patient_id", "label", "split",
        same_as="image_first", its_patient_id="patient_id_first", its_label="label_first",
    )  # fmt: skip


def _with_first(images: pl.DataFrame) -> pl.DataFrame:
    """Images that are not the first with their digest, each with the columns of that first one (`*_first`)."""
    first = images.with_row_index("place").unique("digest", keep="first", maintain_order=True)
    return (
        images.with_row_index("place")
        .join(first, on="digest", suffix="_first", maintain_order="left")
        .filter(pl.col("place") != pl.col("place_first"))
    )
