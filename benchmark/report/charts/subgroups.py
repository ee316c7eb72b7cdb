"""The AUC of one trial in every subgroup: one panel per covariate."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from benchmark.report.charts import spans
from benchmark.report.charts.drawing import CELL, FAINT, PAPER, QUIET, TOOLTIP, Chart, Margins, draw, pixels, rows
from benchmark.report.charts.names import shortened
from benchmark.report.charts.spans import Span
from benchmark.report.charts.tooltips import estimate, named, with_tooltips

_MARGINS = Margins(top=4, right=10, bottom=22, left=10)
_ROW = 36  # pixels of a subgroup
_NAME, _POINT_AT = 10, 24  # pixels from the top of a subgroup to its name and its interval
_POINT = 30  # square pixels
_LETTERS = 38  # of a name
_COLOUR = "var(--prediction)"


def subgroup_forests(subgroups: pl.DataFrame, trials: pl.DataFrame) -> list[Chart]:
    """The AUC in every subgroup of every covariate, with that of all test images as a dashed line.

    Args:
        subgroups: columns as `subgroups.csv`.
        trials: columns as `leaderboard.csv`; the first one is shown.

    Returns:
        One panel per covariate with an AUC, all with the same axis; none without a finished trial.
    """
    done = trials.filter(pl.col("auc").is_not_null()).head(1)
    keys = ["backbone", "strategy", "seed"]
    found = named(subgroups.filter(measure="auc").join(done.select(*keys, every="auc"), on=keys)).drop_nulls("value")
    if found.is_empty():
        return []
    bounds = [bound for name in ("value", "low", "high", "every") for bound in found[name]]
    span = spans.linear([0.5, *bounds], step=0.05)
    return [
        _panel(found.filter(covariate=name), str(name), span) for name in found["covariate"].unique(maintain_order=True)
    ]


def _panel(found: pl.DataFrame, covariate: str, span: Span) -> Chart:
    placed = with_tooltips(found.with_row_index("place"), _says)
    height = placed.height * _ROW
    points = placed.select(CELL, TOOLTIP, "value", "low", "high", y=pl.col("place") * _ROW + _POINT_AT)
    called = [
        f"{shortened(name, _LETTERS)}, {patients:,} patients"
        for name, patients in placed.select("subgroup", "n_patients").iter_rows()
    ]
    labels = placed.select(CELL, TOOLTIP, y=pl.col("place") * _ROW + _NAME).with_columns(
        called=pl.Series(called, dtype=pl.String)
    )
    every = float(placed["every"][0])
    line = pl.DataFrame(
        {"every": [every], "y": [0.0], "y2": [float(height)], TOOLTIP: [f"all test images: {every:.3f}"]}
    )
    y = pixels(alt.Y, "y", height)
    layers = [
        rows(line)
        .mark_rule(strokeDash=[2, 2], color=QUIET)
        .encode(x=span.along(alt.X, "every", orient="bottom"), y=y, y2="y2:Q"),
        rows(points.drop_nulls("low"))
        .mark_rule(strokeWidth=3, opacity=FAINT, color=_COLOUR)
        .encode(x=alt.X("low:Q", axis=None), x2="high:Q", y=y),
        rows(points).mark_point(size=_POINT, shape="square", color=_COLOUR).encode(x=alt.X("value:Q", axis=None), y=y),
        rows(labels).mark_text(align="left", stroke=PAPER, strokeWidth=3).encode(x=alt.value(0), y=y, text="called:N"),
    ]
    alt_text = (
        f"AUC of {placed[CELL][0]} by {covariate}, {placed.height} subgroups with intervals; the dashed line is the "
        f"AUC of all test images, {every:.3f}."
    )
    return draw(layers, _MARGINS, height, covariate, alt_text, alt.Resolve(axis={"x": "independent"}))


def _says(row: Mapping[str, Any]) -> str:
    found = estimate(row["value"], row["low"], row["high"], 3)
    return f"{row['covariate']} {row['subgroup']}: AUC {found}, {row['n_patients']:,} patients"
