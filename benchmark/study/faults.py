"""What is wrong with a manifest, found before any image is decoded: one line per fault, with its row and the fix."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.errors import UserError
from benchmark.study.copies import File, look_up
from benchmark.study.folder import SPLITS
from benchmark.study.listing import COLUMNS, OPTIONAL, REQUIRED, is_named_dicom, those
from benchmark.study.spellings import is_rounded, is_sheet_error, means_nothing, shown, spelling_of

EYES = dict.fromkeys(("left", "l", "os", "o.s.", "le", "left eye"), "left") | dict.fromkeys(
    ("right", "r", "od", "o.d.", "re", "right eye"), "right"
)
_OF_ONE_IMAGE = ("artery_mask", "vein_mask", "disc_mask")  # a camera may have one fov_mask for all its images
_SHOWN = 10

Fault = tuple[Any, str]  # what faults are sorted by, row or file, and the message


def lines(manifest: Path, faults: Iterable[Fault]) -> list[str]:
    """The first faults, and how many more there are."""
    told = [f"{manifest}: {message}" for _, message in sorted(faults)]
    return told[:_SHOWN] + ([f"{manifest}: and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else [])


def refuse(manifest: Path, faults: Iterable[Fault]) -> None:
    """Raise a UserError with `lines`, where there are faults."""
    told = lines(manifest, faults)
    if told:
        raise UserError("\n".join(told))


def of_cells(table: pl.DataFrame) -> list[Fault]:
    """Of `read_listing`'s table: cells that are empty or cannot be what they say, and patients that are ambiguous."""
    patients = table.select("row", "patient_id")
    return [
        *_empty(table),
        *_nothing(table),
        *_line_breaks(table),
        *_outside(table, "eye", list(EYES), "must be left or right (or OD, OS)"),
        *_outside(table, "split", list(SPLITS), "must be train, val or test"),
        *_partly_split(table),
        *of_spelling((row, f"row {row}", patient) for row, patient in patients.iter_rows()),
        *_in_two_splits(table),
    ]


def of_spelling(patients: Iterable[tuple[Any, str, str | None]]) -> list[Fault]:
    """Patients whose id is written in two ways, once for each way.

    Args:
        patients: what to sort by, where it is written, the id.
    """
    faults: list[Fault] = []
    first: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for key, place, patient in patients:
        if patient is None or patient in seen:
            continue
        seen.add(patient)
        other, written = first.setdefault(spelling_of(patient), (place, patient))
        if written != patient:
            own, its = (
                map(repr, (patient, written))
                if patient.isascii() and written.isascii()
                else map(ascii, (patient, written))
            )
            told = f"{place}: patient_id {shown(own)} and {shown(its)} in {other} differ in spelling alone"
            faults.append((key, f"{told}; write one patient's id in one way"))
    return faults


def of_shared_files(images: pl.DataFrame, files: Sequence[File]) -> list[Fault]:
    """Images that are listed twice, by whatever path, and masks that are another row's as well.

    Args:
        images: row, image, and paths of masks.
        files: of each image.
    """
    faults: list[Fault] = []
    first: dict[File, tuple[int, str, str]] = {}
    for file, (row, image) in zip(files, images.select("row", "image").iter_rows(), strict=True):
        if image is None:
            continue
        other, _, written = first.setdefault(file, (row, "image", image))
        if other != row and written == image:
            faults.append((row, f"row {row}: image {shown(image)} is listed in row {other} already"))
        elif other != row:
            told = f"row {row}: image {shown(image)} is the same file as {shown(written)} in row {other}"
            faults.append((row, f"{told}; list each image once"))
    for column in _OF_ONE_IMAGE:
        for row, path in images.select("row", column).drop_nulls().iter_rows():
            other, use, _ = first.setdefault(look_up(path), (row, column, path))
            if other != row or use == "image":
                told = f"row {row}: {column} {shown(Path(path).name)} is the {use} of row {other}"
                faults.append((row, f"{told}; every image needs a mask of its own"))
    return faults


def of_copies(images: pl.DataFrame, groups: list[list[int]]) -> list[Fault]:
    """Copies of an image under another patient, or with another label."""
    faults: list[Fault] = []
    rows = images.select("row", "image", "label", "patient_id").rows()
    for first, *others in groups:
        row, image, label, patient = rows[first]
        for place in others:
            at, copy, its_label, its_patient = rows[place]
            told = f"row {at}: image {shown(copy)} is a copy of {shown(image)} in row {row}"
            if its_patient != patient:
                told += f", but of patient {shown(its_patient)}, not {shown(patient)}"
                faults.append((at, f"{told}; remove one of them, or give both one patient_id"))
            elif its_label != label:
                faults.append((at, f"{told}, but has another label; correct one of them"))
    return faults


def _empty(table: pl.DataFrame) -> list[Fault]:
    faults = []
    for column in REQUIRED:
        for row, image in table.filter(pl.col(column).is_null()).select("row", "image").iter_rows():
            tag = ", and so is PatientID in the file" if column == "patient_id" and is_named_dicom(image) else ""
            faults.append((row, f"row {row}: {column} is empty{tag}"))
    return faults


def _nothing(table: pl.DataFrame) -> list[Fault]:
    """Texts that stand for a missing value, or for one that a spreadsheet has spoilt."""
    given = "give every image the id of its patient"
    checks = [
        ("image", means_nothing, "which stands for a missing value: name its file"),
        ("patient_id", means_nothing, f"which stands for a missing value: {given}"),
        ("patient_id", is_rounded, "a number without its last digits: write the column as text"),
        *((column, is_sheet_error, "an error of the spreadsheet: correct it or leave it empty") for column in OPTIONAL),
    ]
    return [
        (row, f"row {row}: {column} is {shown(text)!r}, {rule}")
        for column, test, rule in checks
        for row, text in table.filter(pl.col(column).is_in(list(those(table[column], test))))["row", column].iter_rows()
    ]


def _line_breaks(table: pl.DataFrame) -> list[Fault]:
    return [
        (row, f'row {row}: {column} holds a line break: a quote (") there is open or out of place')
        for column in COLUMNS
        for row in table.filter(pl.col(column).str.contains(r"[\r\n]"))["row"]
    ]


def _outside(table: pl.DataFrame, column: str, allowed: list[str], rule: str) -> list[Fault]:
    wrong = table.filter(pl.col(column).is_not_null() & ~pl.col(column).is_in(allowed))
    return [
        (row, f"row {row} ({shown(image or '')}): {column} is {shown(text)!r}, {rule}")
        for row, image, text in wrong.select("row", "image", column).iter_rows()
        if not is_sheet_error(text)
    ]


def _partly_split(table: pl.DataFrame) -> list[Fault]:
    if table["split"].null_count() in (0, len(table)):
        return []
    row = table.filter(pl.col("split").is_null())["row"][0]
    return [(row, f"row {row}: split is empty here but given elsewhere; fill every row or none")]


def _in_two_splits(table: pl.DataFrame) -> list[Fault]:
    faults = []
    first: dict[str, tuple[int, str]] = {}
    for row, patient, split in table.select("row", "patient_id", "split").drop_nulls().iter_rows():
        other_row, other_split = first.setdefault(patient, (row, split))
        if split != other_split:
            told = f"row {row}: patient {shown(patient)} is in {split} here and in {other_split} in row {other_row}"
            faults.append((row, told))
    return faults
