"""Find the faults of a manifest before any image is decoded: one line per fault, with its row and the fix."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

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

Fault = tuple[Any, str]  # the row or file that faults are sorted by, and the message


def lines(manifest: Path, faults: Iterable[Fault]) -> list[str]:
    """The first faults, and the number of further ones."""
    found = [f"{manifest}: {message}" for _, message in sorted(faults)]
    return found[:_SHOWN] + ([f"{manifest}: and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])


def refuse(manifest: Path, faults: Iterable[Fault]) -> None:
    """Raise a UserError with `lines` if there are faults."""
    found = lines(manifest, faults)
    if found:
        raise UserError("\n".join(found))


def of_cells(table: pl.DataFrame) -> list[Fault]:
    """The faults of the table from `read_listing`: empty or invalid cells, and ambiguous patients."""
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
    """The faults of patient ids that are written in more than one way; one fault per further spelling.

    Args:
        patients: the row or file to sort by, the place to name in the message, and the id.
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
            message = f"{place}: patient_id {shown(own)} and {shown(its)} in {other} differ only in spelling"
            faults.append((key, f"{message}; write each patient's id in one way"))
    return faults


def of_shared_files(images: pl.DataFrame, files: Sequence[File]) -> list[Fault]:
    """The faults of images that are listed twice, under any path, and of masks that two rows share.

    Args:
        images: row, image, and paths of masks.
        files: the file of each image.
    """
    faults: list[Fault] = []
    once = "list each image once"
    first: dict[File, tuple[int, str, str]] = {}
    for file, (row, image) in zip(files, images.select("row", "image").iter_rows(), strict=True):
        if image is None:
            continue
        other, _, written = first.setdefault(file, (row, "image", image))
        if other != row and written == image:
            faults.append((row, f"row {row}: image {shown(image)} is already listed in row {other}; {once}"))
        elif other != row:
            message = f"row {row}: image {shown(image)} is the same file as {shown(written)} in row {other}"
            faults.append((row, f"{message}; {once}"))
    for column in _OF_ONE_IMAGE:
        for row, path in images.select("row", column).drop_nulls().iter_rows():
            other, use, _ = first.setdefault(look_up(path), (row, column, path))
            if other != row or use == "image":
                message = f"row {row}: {column} {shown(Path(path).name)} is also the {use} of row {other}"
                faults.append((row, f"{message}; every image needs its own mask"))
    return faults


def of_copies(images: pl.DataFrame, groups: list[list[int]]) -> list[Fault]:
    """The faults of copies of an image that have another patient or another label."""
    faults: list[Fault] = []
    rows = images.select("row", "image", "label", "patient_id").rows()
    for first, *others in groups:
        row, image, label, patient = rows[first]
        for place in others:
            at, copy, its_label, its_patient = rows[place]
            message = f"row {at}: image {shown(copy)} is a copy of {shown(image)} in row {row}"
            if its_patient != patient:
                message += f", but of patient {shown(its_patient)}, not {shown(patient)}"
                faults.append((at, f"{message}; remove one of them, or give both the same patient_id"))
            elif its_label != label:
                faults.append((at, f"{message}, but has another label; correct one of them"))
    return faults


def of_labels(images: pl.DataFrame, per: Literal["patient", "eye"]) -> list[Fault]:
    """The faults of images of one patient, or of one eye, that have different labels.

    Args:
        images: row, image, label, patient_id, eye, visit. With labels per eye, images of different visits, and images
            without an eye, may differ.
    """
    by = ["patient_id"] if per == "patient" else ["patient_id", "eye", "visit"]
    known = images if per == "patient" else images.drop_nulls("eye")
    fix = "correct one of them" + (
        "" if per == "eye" else ", or add --set cohort.labels=eye if each eye has its own label"
    )
    faults: list[Fault] = []
    for _, group in known.group_by(*by, maintain_order=True):
        row, image, label, patient, eye = group.select("row", "image", "label", "patient_id", "eye").row(0)
        for at, its_image, its_label in group.select("row", "image", "label").rows():
            if its_label != label:
                whose = f"patient {shown(patient)}" if per == "patient" else f"{eye} eye of patient {shown(patient)}"
                message = f"{_place(at, its_image)}: {whose} has label {its_label} here but {label} in "
                faults.append((at, f"{message}{_place(row, image)}; {fix}"))
                break
    return faults


def _place(row: Any, image: str) -> str:
    """The row of a table with its image; a folder has no rows."""
    return f"row {row} ({shown(image)})" if isinstance(row, int) else shown(image)


def _empty(table: pl.DataFrame) -> list[Fault]:
    faults = []
    for column in REQUIRED:
        for row, image in table.filter(pl.col(column).is_null()).select("row", "image").iter_rows():
            tag = ", and so is PatientID in the file" if column == "patient_id" and is_named_dicom(image) else ""
            faults.append((row, f"row {row}: {column} is empty{tag}"))
    return faults


def _nothing(table: pl.DataFrame) -> list[Fault]:
    """The faults of texts that stand for a missing value, or that a spreadsheet has damaged."""
    given = "give every image the id of its patient"
    checks = [
        ("image", means_nothing, "which stands for a missing value: name its file"),
        ("patient_id", means_nothing, f"which stands for a missing value: {given}"),
        ("patient_id", is_rounded, "a number that has lost its last digits: save the column as text"),
        *((column, is_sheet_error, "a spreadsheet error: correct it or leave it empty") for column in OPTIONAL),
    ]
    return [
        (row, f"row {row}: {column} is {shown(text)!r}, {rule}")
        for column, test, rule in checks
        for row, text in table.filter(pl.col(column).is_in(list(those(table[column], test))))["row", column].iter_rows()
    ]


def _line_breaks(table: pl.DataFrame) -> list[Fault]:
    return [
        (row, f'row {row}: {column} contains a line break: close or move the quote (") in that row')
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
    return [(row, f"row {row}: split is empty, but other rows have one; fill every row or none")]


def _in_two_splits(table: pl.DataFrame) -> list[Fault]:
    faults = []
    first: dict[str, tuple[int, str]] = {}
    for row, patient, split in table.select("row", "patient_id", "split").drop_nulls().iter_rows():
        other_row, other_split = first.setdefault(patient, (row, split))
        if split != other_split:
            message = f"row {row}: patient {shown(patient)} is in {split} here but in {other_split} in row {other_row}"
            faults.append((row, f"{message}; put all images of a patient into one split"))
    return faults
