"""What the marks of a chart say: the trial that they belong to, and its numbers in words."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from benchmark.report.charts.drawing import CELL, TOOLTIP
from benchmark.report.charts.names import trial_names


def named(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the column `CELL`: the full name of each row's trial."""
    return frame.with_columns(trial_names(frame).alias(CELL))


def with_tooltips(frame: pl.DataFrame, says: Callable[[Mapping[str, Any]], str]) -> pl.DataFrame:
    """The frame with the column `TOOLTIP`: what `says` makes of each row, after the name of the trial if it has one."""
    rows = frame.fill_nan(None).iter_rows(named=True)
    texts = [says(row) if row.get(CELL) is None else f"{row[CELL]}: {says(row)}" for row in rows]
    return frame.with_columns(pl.Series(TOOLTIP, texts, dtype=pl.String))


def estimate(value: float, low: float | None, high: float | None, digits: int) -> str:
    """ "0.801 (interval 0.752 to 0.850)"; without bounds, the value alone."""
    bounds = "" if low is None or high is None else f" (interval {low:.{digits}f} to {high:.{digits}f})"
    return f"{value:.{digits}f}{bounds}"


def counted(n: int | None) -> str:
    """ ", n = 1,234 images"; empty if the number is not known."""
    return "" if n is None else f", n = {n:,} {'image' if n == 1 else 'images'}"
