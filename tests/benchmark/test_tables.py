"""A path is never read as a pattern, and a text is never read as a formula."""

import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.tables import csv_text, read_csv, read_parquet

# A download next to an older one (pola-rs/polars#10106), folders named `[id]` (pola-rs/polars#19801), shell patterns.
ODD_NAMES = ["cohort[1]", "r[1-9]", "what?", "all*", "{a,b}", "50 %", "a#b", "~", "$HOME", "file:x", "ö Ω"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_names_one_file(tmp_path, name):
    for sibling in ("cohort1", "r1", "whats", "all1", "a", "b"):
        pl.DataFrame({"a": ["wrong"]}).write_csv(tmp_path / f"{sibling}.csv")
        pl.DataFrame({"a": ["wrong"]}).write_parquet(tmp_path / f"{sibling}.parquet")
    right = pl.DataFrame({"a": ["right"]})
    (tmp_path / f"{name}.csv").write_text(csv_text(right))
    with (tmp_path / f"{name}.parquet").open("wb") as file:
        right.write_parquet(file)
    assert read_csv(tmp_path / f"{name}.csv").equals(right)
    assert read_parquet(tmp_path / f"{name}.parquet").equals(right)


def test_a_spreadsheet_computes_nothing():
    cells = ["=cmd.jpg", "+1", "-1", "@sum", "\tx", "\r=1", "=1+1;2", "'=x", "a=b", "1-2", "'quoted'", ""]
    written = [
        row["a"] for row in csv.DictReader(io.StringIO(csv_text(pl.DataFrame({"a": cells, "b": "x"})), newline=""))
    ]
    assert written[:7] == ["'" + cell for cell in cells[:7]]
    assert written[8:] == cells[8:]


def test_numbers_keep_their_sign():
    assert csv_text(pl.DataFrame({"a": [-1.5], "b": [-2]})) == "a,b\n-1.5,-2\n"


@given(st.lists(st.text(st.sampled_from("'=+-@\t\rab,\"\n ;"), max_size=6), min_size=1))
def test_texts_come_back_as_they_were(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "texts.csv"
    frame = pl.DataFrame({"a": texts, "b": "x"})
    path.write_text(csv_text(frame), newline="")
    assert read_csv(path, infer_schema=False).to_dicts() == [row | {"a": row["a"]} for row in frame.to_dicts()]
