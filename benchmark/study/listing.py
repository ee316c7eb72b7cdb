"""Read a manifest table (CSV or Parquet) as text: the header is checked, and every cell is a text or null."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmark.errors import UserError
from benchmark.study import dicom
from benchmark.study.spellings import is_sheet_error, means_nothing, shown, spelling_of
from benchmark.study.spreadsheet import NotATableError, read_spreadsheet, refuse_foreign
from benchmark.tables import read_parquet

REQUIRED = ("image", "label", "patient_id")
FILES = ("artery_mask", "vein_mask", "disc_mask", "fov_mask")
OPTIONAL = ("eye", "visit", "split", *FILES)
COLUMNS = (*REQUIRED, *OPTIONAL)
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
# Names that these columns have in published data sets, best first.
ALSO_CALLED = {
    "image": "file filename file_name path filepath file_path image_path image_name image_id image_file img photo "
    "fundus id_code name id",
    "label": "labels class diagnosis target outcome y ground_truth gt disease level grade dr_grade retinopathy_grade "
    "severity status",
    "patient_id": "patient patientid pid subject subject_id person person_id participant participant_id mrn case_id "
    "patient_number id",
}
_SHOWN = 20  # column names in a message
_COVARIATE = "covariate:"  # before the name of a covariate, where columns of a manifest have their own names


@dataclass(frozen=True)
class Listing:
    """The rows of a manifest that are not blank.

    Attributes:
        rows: row (Int64, as a spreadsheet shows it; counted from 1 in a Parquet file) and `COLUMNS`, as text without
            surrounding spaces; null if a cell is empty, a column is absent, or an optional cell is NA or similar.
        unused: the names of the columns that a study does not read.
        covariates: row, image and the covariates, as text without surrounding spaces; null if a cell is empty.
    """

    rows: pl.DataFrame
    unused: list[str]
    covariates: pl.DataFrame


def read_listing(
    manifest: Path,
    named: Mapping[str, str] | None = None,
    *,
    patients: bool = True,
    covariates: Sequence[str] = (),
) -> Listing:
    """Read a manifest.

    Args:
        named: column of a manifest -> its name in this table, where that differs.
        patients: whether the column patient_id is required.
        covariates: further columns to read.

    Raises:
        UserError: the file is not a table, or lacks these columns; one line.
    """
    wanted = {column: (named or {}).get(column, column) for column in COLUMNS}
    wanted |= {f"{_COVARIATE}{name}": name for name in covariates}  # may also be a column of a manifest, such as eye
    needed = [column for column in REQUIRED if patients or column != "patient_id"]
    with _one_line(manifest):
        read = _parquet if _is_parquet(manifest) else _csv
        table, unused = read(manifest, wanted, needed)
    absent = [pl.lit(None, pl.String).alias(column) for column in COLUMNS if column not in table.columns]
    text = (
        table.with_columns(pl.exclude("row").str.strip_chars().replace("", None))
        .with_columns(*absent)
        .filter(pl.any_horizontal(pl.col(COLUMNS).is_not_null()))  # spreadsheets may add blank lines
    )
    of_covariates = text.select("row", "image", *(pl.col(f"{_COVARIATE}{name}").alias(name) for name in covariates))
    text = text.select("row", *COLUMNS).with_columns(_lower("eye"), _lower("split"))
    if text.is_empty():
        raise UserError(f"{manifest}: has no row below its header; list one image per row")
    rows = text.with_columns(_without(text[column], _is_left_empty) for column in OPTIONAL)
    return Listing(rows, unused, of_covariates)


def read_columns(manifest: Path) -> dict[str, list[str]]:
    """All columns of a table by name, as text without surrounding spaces; empty cells are empty texts.

    Raises:
        UserError: the file is not a table; one line.
    """
    with _one_line(manifest):
        if _is_parquet(manifest):
            table = _parquet_table(manifest)
            columns = {
                column.name.strip(): _texts(column).to_list() for column in table if not column.dtype.is_nested()
            }
            return {name: [(text or "").strip() for text in texts] for name, texts in columns.items()}
        sheet = read_spreadsheet(manifest, COLUMNS)
        named = [(place, name) for place, name in enumerate(sheet.header) if name]
        return {name: [row[place].strip() for row in sheet.rows] for place, name in named}


@contextmanager
def _one_line(manifest: Path) -> Iterator[None]:
    """Report a file that is not a table as a UserError."""
    try:
        yield
    except NotATableError as error:
        raise UserError(f"{manifest}: {error}") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = shown(" ".join(str(error).split()))
        fix = "write it again" if manifest.suffix.lower() == ".parquet" else "check the file and its permissions"
        raise UserError(f"{manifest}: cannot be read as a table ({reason}); {fix}") from error


def _is_parquet(manifest: Path) -> bool:
    """Whether the name of a file is that of a Parquet file, rather than of a text table; other files are refused."""
    if not manifest.exists():
        raise UserError(f"{manifest}: no such file; name a CSV, a Parquet file, or a folder of classes")
    kind = manifest.suffix.lower()
    if kind not in (".parquet", *_TEXT_SUFFIXES):
        refuse_foreign(manifest)
        raise NotATableError("a manifest is a .csv, a .parquet, or a folder laid out as train|val|test/<class>/")
    return kind == ".parquet"


def is_named_dicom(image: str | None) -> bool:
    """Whether a file's name has the ending of DICOM."""
    return (image or "").lower().endswith(tuple(dicom.SUFFIXES))


def those(column: pl.Series, test: Callable[[str], bool]) -> set[str]:
    """The distinct texts of a column that pass a test."""
    return {text for text in column.drop_nulls().unique() if test(text)}


Wanted = Mapping[str, str]  # column of a manifest -> the name that it has in the table


def _csv(manifest: Path, wanted: Wanted, needed: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    sheet = read_spreadsheet(manifest, [wanted[column] for column in needed])
    places = _places(sheet.header, wanted)
    _refuse_header(sheet.header, places, wanted, needed, lambda place: [row[place] for row in sheet.rows])
    columns = {name: pl.Series([row[place] for row in sheet.rows], dtype=pl.String) for name, place in places.items()}
    return pl.DataFrame({"row": pl.Series(sheet.numbers, dtype=pl.Int64)} | columns), _unused(sheet.header, places)


def _parquet_table(manifest: Path) -> pl.DataFrame:
    with manifest.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise NotATableError("is empty; write it again")
    if magic != b"PAR1":
        refuse_foreign(manifest)
        raise NotATableError("cannot be read as a table (it is not a Parquet file); if it is a CSV, name it .csv")
    return read_parquet(manifest)


def _parquet(manifest: Path, wanted: Wanted, needed: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    table = _parquet_table(manifest)
    header = table.columns
    places = _places(header, wanted)
    _refuse_header(header, places, wanted, needed, lambda place: table.to_series(place).cast(pl.String).to_list())
    texts = [_texts(table.to_series(place)).alias(column) for column, place in places.items()]
    rows = pl.DataFrame({"row": pl.Series(range(1, len(table) + 1), dtype=pl.Int64)}).with_columns(texts)
    return rows, _unused(header, places)


def _places(header: Sequence[str], wanted: Wanted) -> dict[str, int]:
    """The position of each column of a manifest that the table has."""
    names = [name.strip() for name in header]
    return {column: names.index(name) for column, name in wanted.items() if name in names}


def _unused(header: Sequence[str], places: Mapping[str, int]) -> list[str]:
    used = set(places.values())
    return [name.strip() for place, name in enumerate(header) if name.strip() and place not in used]


def _texts(column: pl.Series) -> pl.Series:
    """A Parquet column as text. Whole numbers that pandas converted to floats become whole numbers again."""
    if not column.dtype.is_float():
        return column.cast(pl.String)
    exact = 2**24 if column.dtype == pl.Float32 else 2**53  # above this, a whole number loses its last digits

    def text(value: float | None) -> str | None:
        if value is None or value != value:
            return None
        if abs(value) >= exact:
            return f"{value:.6e}"
        return str(int(value)) if value.is_integer() else repr(value)

    return pl.Series(column.name, [text(value) for value in column.to_list()], pl.String)


def _refuse_header(
    header: Sequence[str],
    places: Mapping[str, int],
    wanted: Wanted,
    needed: Sequence[str],
    values: Callable[[int], Sequence[str | None]],
) -> None:
    """Raise NotATableError if a column is missing, duplicated, or named almost like a column of a manifest.

    Args:
        values: the texts of the column at a position.
    """
    plain = [plain_name(name) for name in header]
    renamed = {place for column, place in places.items() if column in COLUMNS and wanted[column] != column}
    for column in COLUMNS:
        here = plain_name(wanted[column])
        alike = [place for place, name in enumerate(plain) if name == here and (place not in renamed or here != column)]
        if len(alike) > 1:
            numbers = " and ".join(str(place + 1) for place in alike)
            raise NotATableError(
                f"duplicate column {shown(wanted[column])} (columns {numbers}): keep one, and rename the other"
            )
        if alike and column not in places and column in OPTIONAL:
            raise NotATableError(
                f"column {shown(header[alike[0]])!r} looks like {column}: write {column}, or rename it"
            )
    has = ", ".join(shown(name) for name in header[:_SHOWN]) + (", …" if len(header) > _SHOWN else "")
    for column, called in wanted.items():
        if called != column and column not in places:
            key = "covariates" if column.startswith(_COVARIATE) else f"columns.{column}"
            raise NotATableError(f"no column {shown(called)} (cohort.{key}); the header has {has}")
    missing = [column for column in needed if column not in places]
    if missing == ["patient_id"] and "patient_id" not in plain and any(map(is_named_dicom, values(places["image"]))):
        return  # the files name their patients
    if missing:
        meant = [f"rename {shown(name)} to {column}" for column in missing if (name := _meant(column, header, plain))]
        raise NotATableError(
            f"no column {', '.join(missing)}; required are {', '.join(REQUIRED)}, but the header has {has}"
            + (f"; did you mean: {', '.join(meant)}?" if meant else "")
        )


def plain_name(name: str) -> str:
    """The name of a column in lower case, with underscores for spaces and hyphens."""
    return "_".join(re.split(r"[\s_-]+", spelling_of(name)))


def _meant(column: str, header: Sequence[str], plain: Sequence[str]) -> str | None:
    """The column name in a header that is probably meant for this column."""
    for other in (column, *ALSO_CALLED[column].split()):
        if other in plain:
            return header[plain.index(other)]
    return None


def _lower(column: str) -> pl.Expr:
    text = pl.col(column)
    return pl.when(text.str.starts_with("#")).then(text).otherwise(text.str.to_lowercase())  # spreadsheet errors stay


def _is_left_empty(text: str) -> bool:
    return means_nothing(text) and not is_sheet_error(text)


def _without(column: pl.Series, test: Callable[[str], bool]) -> pl.Series:
    found = list(those(column, test))
    return column.replace(found, [None] * len(found)) if found else column
