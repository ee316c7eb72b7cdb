"""Reading a user's table of photographs: CSV, Parquet, or a folder laid out `train|val|test/<class>/`."""

import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from benchmark.errors import UserError
from benchmark.tables import read_parquet

REQUIRED = ("image", "label", "patient_id")
FILES = ("artery_mask", "vein_mask", "disc_mask", "fov_mask")
OPTIONAL = ("eye", "split", *FILES)
SPLITS = ("train", "val", "test")
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"}
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
_SHOWN = 10


def read_manifest(manifest: Path, image_dir: Path | None = None, patient_pattern: str | None = None) -> pl.DataFrame:
    """The table, checked, one row a photograph.

    Args:
        manifest: `.csv`, `.parquet`, or a folder. In a folder the class folders, sorted by name, are label 0 and 1.
        image_dir: what relative paths resolve against; by default the manifest's folder.
        patient_pattern: for a folder: a regular expression whose first group, found in a file's name, is the
            patient id. By default every file is a person of its own.

    Returns:
        Columns image (as given), path (absolute), label (Int8), patient_id, eye (`left`, `right` or null), split
        (or null), and an absolute path or null for each mask column.

    Raises:
        UserError: one line per fault, naming row and column.
    """
    if manifest.is_dir():
        return _from_folder(manifest, patient_pattern)
    table = _read_table(manifest)
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        raise UserError(
            f"{manifest}: no column {', '.join(missing)}; needed are {', '.join(REQUIRED)}, "
            f"and it has {', '.join(table.columns)}"
        )
    columns = (*REQUIRED, *OPTIONAL)
    first_row = 1 if manifest.suffix.lower() == ".parquet" else 2  # a CSV's header is its line 1
    text = (
        table.select(
            pl.col(column).str.strip_chars().replace("", None)
            if column in table.columns
            else pl.lit(None, pl.String).alias(column)
            for column in columns
        )
        .with_row_index("row", first_row)
        .filter(pl.any_horizontal(pl.col(columns).is_not_null()))  # spreadsheets leave blank lines behind
        .with_columns(pl.col("eye", "split").str.to_lowercase())
    )
    if text.is_empty():
        raise UserError(f"{manifest}: has no row below its header; list one photograph a row")
    _refuse(manifest, _faults(text))

    base = (image_dir or manifest.parent).resolve()
    return text.select(
        "image",
        _absolute("image", base).alias("path"),
        pl.col("label").replace_strict(_LABELS, return_dtype=pl.Int8),
        "patient_id",
        pl.col("eye").replace({"l": "left", "r": "right", "os": "left", "od": "right"}),
        "split",
        *(_absolute(column, base) for column in FILES),
    )


def _read_table(manifest: Path) -> pl.DataFrame:
    """The file's columns; those of a manifest are text."""
    kind = manifest.suffix.lower()
    if not manifest.exists():
        raise UserError(f"{manifest}: no such file; name a CSV, a Parquet file, or a folder of classes")
    if kind not in (".csv", ".parquet"):
        raise UserError(f"{manifest}: a manifest is a .csv, a .parquet, or a folder laid out train|val|test/<class>/")
    try:
        if kind == ".parquet":
            table = read_parquet(manifest)
            return table.cast({column: pl.String for column in (*REQUIRED, *OPTIONAL) if column in table.columns})
        return pl.read_csv(manifest, glob=False, infer_schema=False, separator=_separator(manifest)).rename(str.strip)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        mend = "write it anew" if kind == ".parquet" else "save it as comma-separated text in UTF-8"
        raise UserError(f"{manifest}: cannot be read as a table ({reason}); {mend}") from error


def _separator(manifest: Path) -> str:
    """Comma, or what a spreadsheet writes where the comma is the decimal point."""
    with manifest.open(encoding="utf-8", errors="replace") as file:
        return max(",;\t", key=file.readline().count)


def _faults(text: pl.DataFrame) -> list[str]:
    faults = []
    for column in REQUIRED:
        faults += [
            (row, f"row {row}: {column} is empty") for row in text.filter(pl.col(column).is_null())["row"].to_list()
        ]
    checks = {
        "label": (list(_LABELS), "must be 0 or 1"),
        "eye": (["left", "right", "l", "r", "od", "os"], "must be left or right (or OD, OS)"),
        "split": (list(SPLITS), "must be train, val or test"),
    }
    for column, (allowed, rule) in checks.items():
        wrong = text.filter(pl.col(column).is_not_null() & ~pl.col(column).is_in(allowed))
        faults += [
            (row, f"row {row} ({image}): {column} is {value!r}, {rule}")
            for row, image, value in wrong.select("row", "image", column).iter_rows()
        ]
    if text["split"].null_count() not in (0, len(text)):
        row = text.filter(pl.col("split").is_null())["row"][0]
        faults.append((row, f"row {row}: split is empty here but given elsewhere; fill every row or none"))
    seen: dict[str, int] = {}
    for row, image in text.select("row", "image").drop_nulls().iter_rows():
        if image in seen:
            faults.append((row, f"row {row}: image {image} is listed in row {seen[image]} already"))
        seen.setdefault(image, row)
    first: dict[str, tuple[int, str]] = {}
    for row, patient, split in text.select("row", "patient_id", "split").drop_nulls().iter_rows():
        other_row, other_split = first.setdefault(patient, (row, split))
        if split != other_split:
            faults.append(
                (row, f"row {row}: person {patient} is in {split} here and in {other_split} in row {other_row}")
            )
    return [message for _, message in sorted(faults)]


def _refuse(manifest: Path, faults: list[str]) -> None:
    if faults:
        more = [f"{manifest}: and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise UserError("\n".join([f"{manifest}: {fault}" for fault in faults[:_SHOWN]] + more))


def _absolute(column: str, base: Path) -> pl.Expr:
    return pl.col(column).map_elements(lambda name: str(base / name), return_dtype=pl.String, skip_nulls=True)


def _from_folder(folder: Path, patient_pattern: str | None) -> pl.DataFrame:
    present = [split for split in SPLITS if (folder / split).is_dir()]
    if len(present) < len(SPLITS):
        absent = ", ".join(sorted(set(SPLITS) - set(present)))
        raise UserError(f"{folder}: no folder {absent}; a folder cohort is laid out train|val|test/<class>/")
    classes = sorted(
        {
            child.name
            for split in SPLITS
            for child in (folder / split).iterdir()
            if child.is_dir() and not child.name.startswith(".")
        }
    )
    if len(classes) != 2:
        raise UserError(f"{folder}: needs exactly two class folders, found {', '.join(classes) or 'none'}")
    files = [
        (split, label, file)
        for split in SPLITS
        for label, name in enumerate(classes)
        for file in _images(folder / split / name)
    ]
    if not files:
        raise UserError(f"{folder}: no image in the folders train|val|test/{'|'.join(classes)}/")
    rows = [
        {
            "image": str(file.relative_to(folder)),
            "path": str(file.resolve()),
            "label": label,
            "patient_id": _patient(file, patient_pattern) if patient_pattern else str(file.relative_to(folder)),
            "split": split,
        }
        for split, label, file in files
    ]
    table = pl.DataFrame(rows, schema_overrides={"label": pl.Int8})
    in_split = table.group_by("patient_id", "split", maintain_order=True).agg(pl.col("image").first())
    places = in_split.group_by("patient_id", maintain_order=True).agg(pl.format("{} ({})", "split", "image"))
    shared = places.filter(pl.col("split").list.len() > 1)
    _refuse(folder, [f"person {patient} is in {' and in '.join(where)}" for patient, where in shared.iter_rows()])
    return table.select(
        "image", "path", "label", "patient_id", pl.lit(None, pl.String).alias("eye"), "split",
        *(pl.lit(None, pl.String).alias(column) for column in FILES),
    )  # fmt: skip


def _images(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES and not file.name.startswith(".")
    )


def _patient(file: Path, pattern: str) -> str:
    found = re.search(pattern, file.name)
    if found is None or not found.group(1):
        raise UserError(f"{file}: cohort.patient_pattern {pattern!r} finds no patient id in the file's name")
    return found.group(1)
