"""Read and write tables; a path always means the file of that name, and a text is never read as a formula.

Polars treats a path as a pattern (`cohort[1].csv` would be read from `cohort1.csv`), and a spreadsheet treats a cell
that begins with `=` as a formula. To prevent both, no other module calls the readers and writers of Polars.
"""

from pathlib import Path
from typing import Any

import polars as pl

# A spreadsheet evaluates such cells as formulas (OWASP, "CSV injection"); a leading quote makes them text.
_FORMULA = r"^('*[=+\-@\t\r])"
_QUOTED = r"^'('*[=+\-@\t\r])"


def read_parquet(path: Path) -> pl.DataFrame:
    """Read the file of exactly this name."""
    return pl.read_parquet(path, glob=False)


def read_csv(path: Path, **options: Any) -> pl.DataFrame:
    """Read a CSV written by `csv_text` from the file of exactly this name; texts come back unchanged."""
    return pl.read_csv(path, glob=False, **options).with_columns(pl.col(pl.String).str.replace(_QUOTED, "$1"))


def csv_text(frame: pl.DataFrame) -> str:
    """The table as CSV. A text that a spreadsheet would evaluate gets a leading quote, which makes it text there."""
    return frame.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1")).write_csv()
