"""Every table that is read or written, here and nowhere else: a path is a file's name, a text is a text.

Polars takes a path for a pattern (`cohort[1].csv` would be read from `cohort1.csv`), and a spreadsheet takes a cell
that begins with `=` for a formula. Neither may happen to a study: no other module calls Polars' readers and writers.
"""

from pathlib import Path
from typing import Any

import polars as pl

# What makes a spreadsheet compute a cell (OWASP, "CSV injection"); a leading quote makes it a text there.
_FORMULA = r"^('*[=+\-@\t\r])"
_QUOTED = r"^'('*[=+\-@\t\r])"


def read_parquet(path: Path) -> pl.DataFrame:
    """The file of exactly that name."""
    return pl.read_parquet(path, glob=False)


def read_csv(path: Path, **options: Any) -> pl.DataFrame:
    """A CSV that `csv_text` wrote, from the file of exactly that name; texts come back as they were."""
    return pl.read_csv(path, glob=False, **options).with_columns(pl.col(pl.String).str.replace(_QUOTED, "$1"))


def csv_text(frame: pl.DataFrame) -> str:
    """The table as CSV. A text that a spreadsheet would compute gets a leading quote, which makes it a text there."""
    return frame.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1")).write_csv()
