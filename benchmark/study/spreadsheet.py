"""Read a text table that a spreadsheet or a script wrote: its header, and its rows of text.

The encoding and the separator are detected, and for a file of another kind the error names the kind. Rows are numbered
as a spreadsheet shows them: the first line is row 1, a line break inside quotes does not start a row, and `sep=;` is
not a row.
"""

import csv
import io
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

SEPARATORS = ",;\t|"
_SAVE = "save it as CSV UTF-8 (comma delimited)"
_BOMS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": f"is an Excel workbook (.xls): open it and {_SAVE}",
    b"PAR1": "is a Parquet file: give its name the ending .parquet",
    b"\x1f\x8b": "is compressed (gzip): unpack it first",
    b"BZh": "is compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "is compressed (xz): unpack it first",
    b"7z\xbc\xaf": "is a 7z archive: unpack it first",
    b"Rar!": "is a RAR archive: unpack it first",
    b"ARROW1": "is an Arrow (Feather) file: save it as Parquet or CSV",
    b"\x89HDF": "is an HDF5 file: save it as Parquet or CSV",
    b"SQLite format 3": "is an SQLite database: export the table as CSV",
    b"%PDF": "is a PDF: export the table as CSV",
    b"{\\rtf": "is rich text (RTF): save it as plain text, UTF-8",
}
_MARKUP = re.compile(rb"\s*<(!doctype|html|\?xml|table|head|meta)\b", re.IGNORECASE)
_SEP_LINE = re.compile(r'"?sep=(.)"?(\r\n|\r|\n)', re.IGNORECASE)


class NotATableError(ValueError):
    """The file is not a text table; the message names the kind of file or the faulty row, and the fix."""


@dataclass(frozen=True)
class Spreadsheet:
    """A header and the rows below it.

    Attributes:
        header: column names without surrounding spaces, including duplicates.
        rows: the texts of each row, unchanged, and as many as the header has.
        numbers: the number of each row, as a spreadsheet shows it.
    """

    header: list[str]
    rows: list[list[str]]
    numbers: list[int]


def read_spreadsheet(path: Path, wanted: Collection[str]) -> Spreadsheet:
    """Read a text table; blank rows are left out.

    Args:
        wanted: the expected column names; the separator with which most of them are found is used.

    Raises:
        NotATableError: the file is not a text table.
        OSError: the file cannot be read.
    """
    refuse_foreign(path)
    content = path.read_bytes()
    text = _decoded(content)
    separator = _SEP_LINE.match(text)
    if separator:
        text = text[separator.end() :]
    _refuse_nul(text)
    found = separator[1] if separator else _separator(text, wanted)
    records = _filled(text, found)
    number, header = next(records, (0, []))
    if not header:
        raise NotATableError(f"is empty; it needs a header with {', '.join(wanted)} and one row per image")
    rows, numbers = [], []
    for number, record in records:
        rows.append(_fitted(record, len(header), number, found))
        numbers.append(number)
    return Spreadsheet([name.strip() for name in header], rows, numbers)


def refuse_foreign(path: Path) -> None:
    """Raise NotATableError if the content is that of another kind of file."""
    with path.open("rb") as file:
        head = file.read(200)
    if head.startswith(b"PK\x03\x04"):
        raise NotATableError(_archive(path))
    for magic, message in _FOREIGN.items():
        if head.startswith(magic):
            raise NotATableError(message)
    if _MARKUP.match(head.removeprefix(b"\xef\xbb\xbf")):
        raise NotATableError(f"is a web page (HTML or XML), not a table: open it in a spreadsheet and {_SAVE}")


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        names = []
    if any(name.startswith("xl/") for name in names):
        return f"is an Excel workbook (.xlsx): open it and {_SAVE}"
    if "content.xml" in names:
        return f"is an OpenDocument spreadsheet (.ods): open it and {_SAVE}"
    return f"is a ZIP archive or a workbook: unpack it, or open it and {_SAVE}"


def _decoded(content: bytes) -> str:
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return _as(encoding, content[len(mark) :])
    for encoding, zeros, letters in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):  # without a byte-order mark
        if 2 * content[zeros:1000:2].count(0) > len(content[:1000:2]) > 2 and not content[letters:1000:2].count(0):
            return _as(encoding, content)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        try:
            return content.decode("cp1252")  # what spreadsheets in Western languages write as plain "CSV"
        except UnicodeDecodeError:
            line = len(re.findall(rb"\r\n|\r|\n", content[: error.start])) + 1
            raise NotATableError(f"line {line} is neither UTF-8 nor Windows-1252 text: {_SAVE}") from error


def _as(encoding: str, content: bytes) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotATableError(
            f"begins like {encoding.upper()} text but is damaged at byte {error.start}: {_SAVE}"
        ) from error


def _refuse_nul(text: str) -> None:
    place = text.find("\0")
    if place >= 0:
        line = len(re.findall(r"\r\n|\r|\n", text[:place])) + 1
        raise NotATableError(f"line {line} contains NUL bytes: the file is damaged or not text; {_SAVE}")


def _separator(text: str, wanted: Collection[str]) -> str:
    """The separator that gives most of the wanted columns; if equal, most columns; if still equal, the comma."""

    def found(separator: str) -> tuple[int, int]:
        try:
            _, header = next(_filled(text, separator), (0, []))
        except NotATableError:
            return 0, 0
        return len({name.strip().casefold() for name in header} & set(wanted)), len(header)

    return max(SEPARATORS, key=found)


def _filled(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The number and fields of each row that is not blank. Line ends may be those of Unix, Windows or old Macs."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    number = 0
    while True:
        number += 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            never_closed = "end of data" in str(error) or "field limit" in str(error)
            what = "is opened and never closed" if never_closed else "is closed before the end of a field"
            raise NotATableError(f'row {number}: a quote (") {what}; {_quoting(separator)}') from error
        if any(field and not field.isspace() for field in record):
            yield number, record


def _fitted(record: list[str], columns: int, number: int, separator: str) -> list[str]:
    if len(record) > columns:
        if any(field.strip() for field in record[columns:]):
            fields = f"row {number} has {len(record)} fields, but the header {columns}"
            raise NotATableError(f"{fields}; {_quoting(separator)}")
        return record[:columns]
    return record + [""] * (columns - len(record))  # spreadsheets omit empty cells at the end of a row


def _quoting(separator: str) -> str:
    name = {",": "commas", ";": "semicolons", "\t": "tabs"}.get(separator, f"{separator!r}")
    return f'put names with {name} in quotes ("a, b"), and double a quote inside them'
