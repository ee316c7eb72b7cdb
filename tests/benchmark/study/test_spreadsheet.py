"""Text tables as programs write them, and files of arbitrary bytes."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.study.manifest import open_manifest
from benchmark.study.spreadsheet import NotATableError, read_spreadsheet

WANTED = ("image", "label", "patient_id")
cell = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(
    st.lists(st.tuples(cell, cell, cell), max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_was_written_is_read(tmp_path_factory, rows, separator, encoding, line_end):
    """Every text, quoted where necessary, comes back with the number of its row."""
    written = io.StringIO()
    writer = csv.writer(written, delimiter=separator, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([WANTED, *rows])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(written.getvalue().encode(encoding))
    sheet = read_spreadsheet(path, WANTED)
    kept = [(number, list(row)) for number, row in enumerate(rows, 2) if any(text.strip() for text in row)]
    assert sheet.header == list(WANTED)
    assert list(zip(sheet.numbers, sheet.rows, strict=True)) == kept


@given(st.binary(max_size=60), st.sampled_from([b"", b"image,label,patient_id\n", b"\xff\xfe", b"PK\x03\x04", b"sep="]))
def test_any_bytes_are_a_table_or_one_printable_line_each(tmp_path_factory, content, before):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(before + content)
    try:
        open_manifest(path)
    except UserError as error:
        assert all(line.isprintable() for line in str(error).splitlines())


def test_a_huge_cell_is_an_open_quote(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('image,label,patient_id\n"' + "a,0,1\n" * 100_000)
    with pytest.raises(NotATableError, match=r'^row 2: a quote \("\) is opened and never closed'):
        read_spreadsheet(path, WANTED)
