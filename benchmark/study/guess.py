"""Guess from a user's table which of its columns a study needs, where the images are, and which classes are positive.

Every guess carries its reason, and whether the user should check it. Nothing is decoded.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from benchmark.errors import UserError
from benchmark.study.classes import in_order, of_no_disease, with_positive
from benchmark.study.covariates import typed
from benchmark.study.faults import EYES
from benchmark.study.folder import SPLITS
from benchmark.study.images import IMAGE_SUFFIXES
from benchmark.study.listing import ALSO_CALLED, FILES, plain_name
from benchmark.study.spellings import means_nothing, shown, spelling_of

_MOST_CLASSES = 20
_SAMPLE = 200  # images that are looked up in each folder
_FOLDERS = 200  # folders below the table's that are searched for images
_CLEAR = 0.9  # share of the values that a guess must fit
_CALLED = ALSO_CALLED | {
    "eye": "laterality side eye_side image_side",
    "visit": "visit_date exam_date examination_date date_of_visit date visit_id visit_number session",
    "split": "set subset partition fold",
}
_WORDS = {
    "image": {"image", "file", "filename", "photo", "img", "path"},
    "label": {"label", "class", "diagnosis", "grade", "target", "outcome", "severity"},
    "patient_id": {"patient", "subject", "participant", "person", "mrn"},
}
# Words of columns that are compared with the results; a column of a disease may be the label in other words.
_COVARIATES = {
    "age",
    "sex",
    "gender",
    "camera",
    "device",
    "site",
    "centre",
    "center",
    "hospital",
    "clinic",
    "ethnicity",
}
_COVARIATES |= {"race", "bmi", "smoking", "smoker"}
_QUALITY = {"quality", "gradable", "gradability", "usable", "focus"}
# The end of a file's name that tells the eyes of one patient apart: 7_left.jpg, P12-OD_2.png.
EYE_IN_NAME = r"(?i)^(.+?)[ _-](left|right|od|os|l|r)(?![a-z])"
ONE_IMAGE_EACH = r"^(.+)$"

Table = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Guess:
    """A guessed value of the configuration.

    Attributes:
        value: the name of a column, a pattern, or the names of classes.
        why: the reason, one sentence without a full stop.
        sure: False if the user should check it.
    """

    value: str | list[str]
    why: str
    sure: bool = True


@dataclass(frozen=True)
class Guesses:
    """What a table seems to hold.

    Attributes:
        columns: column of a manifest -> the column of the table that seems to be it.
        image_dir: the folder that the names of images start from; None for the table's own folder, or if not found.
        patient_pattern: how patients are found in the names of images; None if the table has a column for them.
        positive: the positive classes; None if labels are 0 and 1.
        covariates: columns whose names are those of covariates, such as age; None if there are none.
        remarks: what the user should know, one sentence each.
    """

    columns: dict[str, Guess]
    image_dir: Guess | None = None
    patient_pattern: Guess | None = None
    positive: Guess | None = None
    covariates: Guess | None = None
    remarks: list[str] = field(default_factory=list)


def guess(table: Table, manifest: Path, image_dir: Path | None, positive: list[str] | None) -> Guesses:
    """Guess the role of each column.

    Args:
        image_dir: the folder of images, if the user has named it.
        positive: the positive classes, if the user has named them.

    Raises:
        UserError: no column can be the images or the labels; one line.
    """
    if not table or not any(map(len, table.values())):
        raise UserError(f"{manifest}: has no row below its header; list one image per row")
    columns: dict[str, Guess] = {}
    for column, find in (("image", _image), ("label", _label), ("patient_id", _patient)):
        rest = {name: values for name, values in table.items() if name not in {each.value for each in columns.values()}}
        if (found := find(rest)) is not None:
            columns[column] = found
        elif column != "patient_id":
            there = ", ".join(map(shown, list(table)[:_MOST_CLASSES]))
            what = {"image": "names image files", "label": f"has 2 to {_MOST_CLASSES} different labels"}[column]
            raise UserError(f"{manifest}: no column {what}; name it {column} (the header has {there})")
    columns |= _optional(table, {str(each.value) for each in columns.values()})
    if positive:
        _require_classes(table[str(columns["label"].value)], positive)
    images, labels = (table[str(columns[column].value)] for column in ("image", "label"))
    return Guesses(
        columns,
        image_dir=None if image_dir else _folder(images, manifest.parent),
        patient_pattern=None if "patient_id" in columns else patient_pattern(images),
        positive=None if positive else positive_classes(labels),
        covariates=_covariates(table, {str(each.value) for each in columns.values()}),
        remarks=list(_remarks(table, columns)),
    )


def _require_classes(labels: Sequence[str], positive: list[str]) -> None:
    names = {spelling_of(text): text for text in reversed(labels) if text and not means_nothing(text)}
    try:
        with_positive(names.values(), positive)
    except ValueError as error:
        raise UserError(str(error)) from error


def positive_classes(labels: Sequence[str]) -> Guess | None:
    """Which classes are positive; None if labels are 0 and 1."""
    names = {spelling_of(text): text for text in reversed(labels) if text and not means_nothing(text)}
    if set(names) <= {"0", "1"}:
        return None
    ordered = in_order(names.values())
    healthy = [name for name in ordered if of_no_disease(name)]
    ill = [name for name in ordered if name not in healthy]
    if healthy and ill:
        called = " and ".join(map(shown, healthy))
        return Guess(ill, f"{called} is read as the class without the disease", sure=len(ill) == 1)
    if all(re.fullmatch(r"[+-]?\d+([.,]\d+)?", name) for name in ordered):
        return Guess(ordered[1:], f"every number above {shown(ordered[0])}", sure=False)
    return Guess(ordered[-1:], "the last by name, because no name means that there is no disease", sure=False)


def patient_pattern(images: Sequence[str]) -> Guess:
    """How patients are found in the names of images."""
    names = [Path(image).name for image in images if image]
    fitting = sum(re.match(EYE_IN_NAME, name) is not None for name in names)
    if names and fitting == len(names):
        return Guess(EYE_IN_NAME, "the name of each image begins with the patient, followed by the eye")
    why = "no column names patients, so every image counts as another patient; wrong if patients have several images"
    return Guess(ONE_IMAGE_EACH, why, sure=False)


def _image(table: Table) -> Guess | None:
    def endings(values: Sequence[str]) -> int:
        return sum(Path(value).suffix.lower() in IMAGE_SUFFIXES for value in values)

    best = max(table, key=lambda name: endings(table[name]), default=None)
    called = _called("image", table)
    if best is not None and endings(table[best]) >= _CLEAR * len(table[best]):
        alike = [name for name in table if name != best and endings(table[name]) == endings(table[best])]
        if called is not None and called in alike:  # several columns of files: masks next to images
            best = called
        return Guess(best, f"{endings(table[best])} of {len(table[best])} values are names of image files")
    if called is None:
        return None
    return Guess(called, "its name; its values do not end as names of image files do", sure=False)


def _label(table: Table) -> Guess | None:
    def classes(name: str) -> int:
        return len({spelling_of(value) for value in table[name] if value and not means_nothing(value)})

    possible = {name: classes(name) for name in table if 2 <= classes(name) <= _MOST_CLASSES}
    if (called := _called("label", possible)) is not None:
        return Guess(called, f"its name; it has {possible[called]} different values")
    binary = [name for name in possible if {spelling_of(value) for value in table[name] if value} == {"0", "1"}]
    if len(binary) == 1:
        return Guess(binary[0], "the only column of 0 and 1", sure=False)
    return None


def _patient(table: Table) -> Guess | None:
    called = _called("patient_id", table)
    if called is None:
        return None
    patients = len({value for value in table[called] if value})
    return Guess(called, f"its name; it has {patients} different values")


def _optional(table: Table, taken: set[str]) -> dict[str, Guess]:
    found = {}
    for column, allowed in (("eye", set(EYES)), ("split", set(SPLITS))):
        called = _called(column, {name: values for name, values in table.items() if name not in taken})
        values = {value.lower() for value in table[called] if value} if called else set()
        if called and values and values <= allowed:
            found[column] = Guess(called, f"its name; its values are {', '.join(sorted(map(shown, values)))}")
    visit = _called("visit", {name: values for name, values in table.items() if name not in taken})
    if visit:
        found["visit"] = Guess(visit, "its name")
    for name in table:
        if plain_name(name) in FILES and name not in taken:
            found[plain_name(name)] = Guess(name, "its name")
    return found


def _covariates(table: Table, taken: set[str]) -> Guess | None:
    """Columns with the name of a covariate that can be read as numbers or as categories."""

    def readable(name: str) -> bool:
        rows = pl.DataFrame({"row": range(len(table[name])), "image": "", "": pl.Series(table[name], dtype=pl.String)})
        (values, faults) = typed(rows.with_columns(pl.col("").replace("", None)), {"": "auto"})
        return not faults and values[""].n_unique() > 1

    named = [name for name in table if name not in taken and _COVARIATES & set(plain_name(name).split("_"))]
    found = [name for name in named if readable(name)]
    return Guess(found, "their names; the report compares the results with them") if found else None


def _called(column: str, table: Mapping[str, object]) -> str | None:
    """The column whose name means this, or contains a word that does."""
    plain = {plain_name(name): name for name in reversed(list(table))}
    for name in (column, *_CALLED[column].split()):
        if name in plain:
            return plain[name]
    for name, written in plain.items():
        if _WORDS.get(column, set()) & set(re.split(r"[^a-z0-9]+", name)):
            return written
    return None


def _folder(images: Sequence[str], base: Path) -> Guess | None:
    """The folder in or below `base` that contains most of the first images."""
    names = [image for image in images if image][:_SAMPLE]
    there = {folder: sum((folder / name).is_file() for name in names) for folder in _folders(base)}
    best = max(there, key=lambda folder: there[folder])
    if best == base or not there[best]:
        return None
    return Guess(str(best), f"it contains {there[best]} of the first {len(names)} images")


def _folders(base: Path) -> Iterator[Path]:
    """`base`, the folders in it, and those in them; at most `_FOLDERS`."""
    yield base
    level, count = [base], 0
    for _ in range(2):
        below = []
        for folder in level:
            try:
                below += sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
            except OSError:  # a folder that may not be read has no images for this user
                continue
        for folder in below:
            count += 1
            if count > _FOLDERS:
                return
            yield folder
        level = below


def _remarks(table: Table, columns: Mapping[str, Guess]) -> Iterator[str]:
    used = {str(each.value) for each in columns.values()}
    for column in ("eye", "split"):
        called = _called(column, {name: values for name, values in table.items() if name not in used})
        if called and column not in columns:
            counts = Counter(table[called]).most_common(3)
            values = ", ".join(shown(value or "(empty)") for value, _ in counts)
            allowed = {"eye": "left and right, or OD and OS", "split": "train, val and test"}[column]
            yield f"Column {shown(called)} is not read as {column}: its values are {values}, not {allowed}."
    for name in table:
        if name not in used and _QUALITY & set(plain_name(name).split("_")):
            yield f"Column {shown(name)} is not used: to leave out images of low quality, remove their rows."
