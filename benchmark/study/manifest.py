"""Read a user's images with labels and patients: a table (CSV, Parquet) or a folder of classes."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from benchmark.errors import UserError
from benchmark.study import faults
from benchmark.study.classes import Classes, advice, in_order, with_positive
from benchmark.study.copies import grouped, look_up
from benchmark.study.covariates import Kind, typed
from benchmark.study.folder import SPLITS, Folder, left_out_text, read_folder
from benchmark.study.images import IMAGE_SUFFIXES
from benchmark.study.listing import FILES, OPTIONAL, REQUIRED, is_named_dicom, read_listing, those
from benchmark.study.spellings import means_nothing, shown, spelling_of

__all__ = ["FILES", "OPTIONAL", "REQUIRED", "SPLITS", "Manifest", "open_manifest"]

_NAMED = 10  # columns in a remark
_CLASSES = 20  # with more different labels, they are not classes
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "0,0": 0, "1,0": 1}


@dataclass(frozen=True)
class Manifest:
    """A user's images, checked.

    Attributes:
        images: one row per image: image (as given), path (absolute), label (Int8), class (null if labels have no
            names), patient_id, eye (`left`, `right` or null), visit (or null), split (or null), and an absolute path or
            null for each mask column.
        classes: the names of the classes by label, if labels have names.
        left_out: for a folder, how many files are left out, by reason.
        copies: how many images are copies of another image of the same patient.
        unused: columns of the table that a study does not read.
        conflicts: one line per copy of an image with another split, label or patient, and per patient (or eye) whose
            images have different labels; a study then refuses to run.
        covariates: image and the covariates that were asked for; `benchmark.study.covariates.typed`.
        splits_given: whether the manifest gives the split of every image.
    """

    images: pl.DataFrame
    classes: Classes | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    copies: int = 0
    conflicts: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    covariates: pl.DataFrame = field(default_factory=pl.DataFrame)
    splits_given: bool = False

    def refuse_conflicts(self) -> None:
        """Raise a UserError if there are conflicts."""
        if self.conflicts:
            raise UserError("\n".join(self.conflicts))

    def remarks(self) -> list[str]:
        """What a user should know about the manifest before a run, one line each."""
        lines = []
        if self.classes is not None:
            others = shown(",".join(self.classes.negative))
            wrong = f"; if this is the wrong way round, add --positive {others}"
            lines.append(f"Classes: {self.classes}{wrong if self.classes.doubtful else ''}")
            if len(self.classes.names) > 2:
                counts = dict(self.images.group_by("class").len().iter_rows())
                lines.append(
                    "Images per class: "
                    + ", ".join(f"{shown(name)} {counts.get(name, 0)}" for name in self.classes.names)
                )
        if self.left_out:
            lines.append(f"Folders: {left_out_text(self.left_out)}")
        if self.unused:
            named = ", ".join(shown(name) for name in self.unused[:_NAMED])
            more = f" and {len(self.unused) - _NAMED} more" if len(self.unused) > _NAMED else ""
            lines.append(f"Columns that are not used: {named}{more}")
        if self.copies:
            lines.append(f"Copies of another image of the same patient: {self.copies}; they count as images")
        return lines


def open_manifest(
    manifest: Path,
    image_dir: Path | None = None,
    patient_pattern: str | None = None,
    positive: list[str] | None = None,
    columns: Mapping[str, str] | None = None,
    labels_per: Literal["patient", "eye"] = "patient",
    covariates: Mapping[str, Kind] | None = None,
) -> Manifest:
    """Read and check the images of a cohort. Their files are looked up, not decoded.

    Args:
        manifest: `.csv` (or `.tsv`, `.txt`), `.parquet`, or a folder. In a folder, two class folders are label 0 and 1
            in the order of their names.
        image_dir: the folder that relative paths start from; by default the manifest's folder.
        patient_pattern: a regular expression whose first group is the patient id in a file's name, for a folder, and
            for a table without the column patient_id. By default the patient id is the PatientID of a DICOM file; in a
            folder with splits, every other file counts as its own patient.
        positive: the classes that are label 1: names of class folders, or values in the column label. All others are
            label 0.
        columns: column of a manifest -> its name in this table, where that differs.
        labels_per: whether all images of a patient must have one label, or all images of an eye in one visit.
        covariates: further columns of the table, and how to read each.

    Raises:
        UserError: one line per fault, naming row and column.
    """
    if manifest.is_dir():
        if covariates:
            named = ", ".join(map(shown, covariates))
            raise UserError(f"{manifest}: a folder has no column {named} (cohort.covariates); list its images in a CSV")
        return _from_folder(manifest, patient_pattern, positive, labels_per)
    base = (image_dir or manifest.parent).resolve()
    listing = read_listing(manifest, columns, patients=patient_pattern is None, covariates=list(covariates or {}))
    table = _with_tags(listing.rows, base)
    if patient_pattern is not None and table["patient_id"].null_count() == len(table):
        table = _with_patients(table, manifest, patient_pattern)
    labels, names, classes, wrong_labels = _labels(table.select("row", "image", "label"), positive)
    images = table.with_columns(
        _absolute(table["image"], base).alias("path"), *(_absolute(table[column], base) for column in FILES)
    )
    files = [look_up(path) for path in images["path"].fill_null("")]
    of_covariates, wrong_covariates = typed(listing.covariates, covariates or {})
    wrong = [*wrong_labels, *faults.of_cells(table), *faults.of_shared_files(images, files), *wrong_covariates]
    faults.refuse(manifest, wrong)

    images = images.select(
        "row",
        "image",
        "path",
        pl.Series("label", labels, pl.Int8),
        pl.Series("class", names, pl.String),
        "patient_id",
        pl.col("eye").replace(faults.EYES),
        "visit",
        "split",
        *FILES,
    )
    groups = grouped(images["path"].to_list(), files)
    copied = faults.of_copies(images, groups)
    disagreeing = _unless(copied, faults.of_labels(images, labels_per))
    return Manifest(
        images.drop("row"),
        classes,
        copies=_extra(groups) - len(copied),
        conflicts=faults.lines(manifest, [*copied, *disagreeing]),
        unused=listing.unused,
        covariates=of_covariates,
    )


def _absolute(column: pl.Series, base: Path) -> pl.Series:
    root = str(base)

    def joined(name: str) -> str:
        if "./" in name or "//" in name:
            return str(base / name)
        return os.path.join(root, name)  # noqa: PTH118 - Path takes ten times as long, for each of 100,000 images

    return pl.Series(column.name, [None if name is None else joined(name) for name in column], pl.String)


def _unless(known: list[faults.Fault], further: list[faults.Fault]) -> list[faults.Fault]:
    """Further faults, except of rows that have one."""
    rows = {row for row, _ in known}
    return [fault for fault in further if fault[0] not in rows]


def _extra(groups: list[list[int]]) -> int:
    return sum(len(group) - 1 for group in groups)


def _with_tags(table: pl.DataFrame, base: Path) -> pl.DataFrame:
    """Fill in patient and eye from the tags of DICOM files if the table does not give them."""
    patients, eyes = table["patient_id"].to_list(), table["eye"].to_list()
    for place, image in enumerate(table["image"]):
        named = is_named_dicom(image)
        unnamed = image and not named and not patients[place] and Path(image).suffix.lower() not in IMAGE_SUFFIXES
        if (named and None in (patients[place], eyes[place])) or unnamed:
            patient, eye = _tags(base / image)
            patients[place], eyes[place] = patients[place] or patient, eyes[place] or eye
    return table.with_columns(pl.Series("patient_id", patients, pl.String), pl.Series("eye", eyes, pl.String))


def _with_patients(table: pl.DataFrame, manifest: Path, pattern: str) -> pl.DataFrame:
    """Fill in the patient that the pattern finds in the name of each image."""
    found = [image and re.search(pattern, Path(image).name) for image in table["image"]]
    absent = [
        (row, f"row {row}: cohort.patient_pattern {pattern!r} finds no patient id in {shown(image)}")
        for row, image, match in zip(table["row"], table["image"], found, strict=True)
        if image and not (match and match.group(1))
    ]
    faults.refuse(manifest, absent)
    return table.with_columns(pl.Series("patient_id", [match and match.group(1) for match in found], pl.String))


def _tags(path: Path) -> tuple[str | None, str | None]:
    """The patient and the eye that a DICOM file names; None for other files."""
    from benchmark.study import dicom  # imports pydicom, which most cohorts do not need

    if not dicom.is_dicom(path):
        return None, None
    return (dicom.patient_id(path) or "").strip() or None, dicom.eye(path)


_Labels = tuple[list[int], list[str | None], Classes | None, list[faults.Fault]]


def _labels(table: pl.DataFrame, positive: list[str] | None) -> _Labels:
    """The label of each row (0 or 1), its class and the classes if labels are names, and the faults of the labels."""
    if positive is not None:
        return _named_labels(table, positive)
    texts = in_order(table["label"].drop_nulls().unique())
    unnamed: list[str | None] = [None] * len(table)
    if len(texts) == 2 and not any(text in _LABELS or means_nothing(text) for text in texts):
        a, b = map(shown, texts)
        fault = f"labels are {a!r} and {b!r}: name the positive class with cohort.positive (or --positive {b!r})"
        return [0] * len(table), unnamed, None, [(0, fault)]
    return [_LABELS.get(text or "", 0) for text in table["label"]], unnamed, None, _not_binary(table, texts)


def _not_binary(table: pl.DataFrame, texts: list[str]) -> list[faults.Fault]:
    """One fault per value that is not 0 or 1; if the values may be classes, it names the option that divides them."""
    classes = {spelling_of(text): text for text in reversed(texts) if not means_nothing(text)}
    fix = ""
    if 1 < len(classes) <= _CLASSES:
        fix = f"; if these are classes, name the positive ones with cohort.positive, as in {advice(classes.values())}"
    found = []
    rows = table.drop_nulls("label").filter(~pl.col("label").is_in(list(_LABELS)))
    for _, of_value in rows.group_by("label", maintain_order=True):
        row, image, text = of_value.row(0)
        others = f" here and in {len(of_value) - 1} more" if len(of_value) > 1 else ""
        message = f"row {row} ({shown(image or '')}): label is {shown(text)!r}{others}, must be 0 or 1"
        found.append((row, message if means_nothing(text) else message + fix))
    return found


def _named_labels(table: pl.DataFrame, positive: list[str]) -> _Labels:
    nothing = those(table["label"], means_nothing)
    fix = "give every image a label"
    wrong: list[faults.Fault] = [
        (row, f"row {row} ({shown(image or '')}): label is {shown(text)!r}, which stands for a missing value; {fix}")
        for row, image, text in table.iter_rows()
        if text in nothing
    ]
    names: dict[str, str] = {}
    for text in table["label"].drop_nulls():
        if text not in nothing:
            names.setdefault(spelling_of(text), text)
    try:
        classes = with_positive(names.values(), positive)
    except ValueError as error:
        return [0] * len(table), [None] * len(table), None, [*wrong, (0, f"column label: {error}")]
    of_row = [None if text is None else names.get(spelling_of(text)) for text in table["label"]]
    return [classes.label(name or "") for name in of_row], of_row, classes, wrong


def _from_folder(
    folder: Path, patient_pattern: str | None, positive: list[str] | None, labels_per: Literal["patient", "eye"]
) -> Manifest:
    found = read_folder(folder, positive)
    table, known = _listed(folder, found, patient_pattern)
    if table["split"].null_count() and not known.all():
        raise UserError(
            f"{folder}: has no folders train, val and test, so patients are divided at random; set "
            "cohort.patient_pattern, a regular expression whose first group is the patient id in the name of a file, "
            "as in '^(.+)_(left|right)', or '^(.+)$' if every image is of another patient"
        )
    of_known = table.filter(known).select("image", "patient_id")
    faults.refuse(folder, faults.of_spelling((image, image, patient) for image, patient in of_known.iter_rows()))
    faults.refuse(folder, _in_two_folders(table))
    groups = grouped(table["path"].to_list(), [look_up(path) for path in table["path"]])
    copied = _copied(table, known, groups)
    disagreeing = _unless(copied, faults.of_labels(table.filter(known).with_columns(row="image"), labels_per))
    conflicts = faults.lines(folder, [*copied, *disagreeing])
    table = table if conflicts else _joined(table, groups)
    return Manifest(table, found.classes, found.left_out, _extra(groups) - len(copied), conflicts)


def _listed(folder: Path, found: Folder, patient_pattern: str | None) -> tuple[pl.DataFrame, pl.Series]:
    """The table of `Manifest.images`, and whether the patient of each row is known."""
    root = folder.resolve()
    images = [listed.image for listed in found.listed]
    tags = [_tags(root / image) if is_named_dicom(image) else (None, None) for image in images]
    patients: list[str | None] = [None if patient and means_nothing(patient) else patient for patient, _ in tags]
    if patient_pattern:
        patients = [_patient(folder / image, patient_pattern) for image in images]
    table = pl.DataFrame(
        {
            "image": images,
            "path": [f"{root}/{image}" for image in images],
            "label": pl.Series([listed.label for listed in found.listed], dtype=pl.Int8),
            "class": [listed.of_class for listed in found.listed],
            "patient_id": [patient or image for patient, image in zip(patients, images, strict=True)],
            "eye": pl.Series([eye for _, eye in tags], dtype=pl.String),
            "visit": pl.Series([None] * len(images), dtype=pl.String),
            "split": pl.Series([listed.split for listed in found.listed], dtype=pl.String),
            **{column: pl.Series([None] * len(images), dtype=pl.String) for column in FILES},
        }
    )
    return table, pl.Series([patient is not None for patient in patients])


def _patient(file: Path, pattern: str) -> str:
    found = re.search(pattern, file.name)
    if found is None or not found.group(1):
        raise UserError(f"{file}: cohort.patient_pattern {pattern!r} finds no patient id in the file's name")
    return found.group(1)


def _in_two_folders(table: pl.DataFrame) -> list[faults.Fault]:
    in_split = table.group_by("patient_id", "split", maintain_order=True).agg(pl.col("image").first())
    places = in_split.group_by("patient_id", maintain_order=True).agg(pl.format("{} ({})", "split", "image"))
    shared = places.filter(pl.col("split").list.len() > 1)
    fix = "put all images of a patient into one split"
    return [
        (patient, f"patient {shown(patient)} is in {' and in '.join(where)}; {fix}")
        for patient, where in shared.iter_rows()
    ]


def _copied(table: pl.DataFrame, known: pl.Series, groups: list[list[int]]) -> list[faults.Fault]:
    """The faults of copies of an image that are in two splits, in both classes, or of two known patients."""
    found: list[faults.Fault] = []
    rows = table.select("image", "label", "split", "patient_id").rows()
    for first, *others in groups:
        image, label, split, patient = rows[first]
        for place in others:
            copy, its_label, its_split, its_patient = rows[place]
            if split != its_split:
                what = "in another split"
            elif label != its_label:
                what = "in the other class"
            elif known[first] and known[place] and patient != its_patient:
                what = f"of patient {shown(patient)}, not {shown(its_patient)}"
            else:
                continue
            found.append((copy, f"{shown(copy)} is a copy of {shown(image)}, which is {what}; keep one of them"))
    return found


def _joined(table: pl.DataFrame, groups: list[list[int]]) -> pl.DataFrame:
    """Give all copies of an image one patient: a copy of a file without a patient id is not a second patient."""
    patients = table["patient_id"].to_list()
    for group in groups:
        for place in group:
            patients[place] = patients[group[0]]
    return table.with_columns(pl.Series("patient_id", patients))
