"""Scatter plot of AUC and vessel ratio: do trials that predict better look at vessels more?"""

from collections.abc import Callable, Iterable, Mapping
from string import ascii_lowercase
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from benchmark.report.charts import spans
from benchmark.report.charts.drawing import (
    CELL,
    FAINT,
    PAPER,
    QUIET,
    TOOLTIP,
    WIDTH,
    Chart,
    Margins,
    draw,
    pixels,
    rows,
)
from benchmark.report.charts.labels import RADIUS, place_labels
from benchmark.report.charts.names import cell_names
from benchmark.report.charts.spans import Span
from benchmark.report.charts.styles import Styles
from benchmark.report.charts.tooltips import counted, estimate, named, with_tooltips

_TOP, _RIGHT, _AXIS, _LEFT = 8, 10, 50, 46  # pixels around the plot
_SIDE = WIDTH - _LEFT - _RIGHT  # pixels of the plot, width and height
_DIGIT = np.array([6.2, 9.0])  # pixels
_KEY_ROW = 16  # pixels
_LETTERS = 45  # of a name in the key
_POINT = 55  # square pixels
_HOLLOW: dict[str, Any] = {"filled": False, "size": 40, "strokeWidth": 1.25}
_AT = {"x": pixels(alt.X, "left", _SIDE), "y": pixels(alt.Y, "top", _SIDE)}
_PUBLISHED = "hollow: the published study, same shapes"
_CALLED = {"vessel_ratio": "vessel ratio", "vessel_ratio_fov": "vessel ratio inside the field of view"}


def scatter(
    leaderboard: pl.DataFrame, ratio: str = "vessel_ratio", published: pl.DataFrame | None = None
) -> Chart | None:
    """One point with two intervals per trial, numbered by its row on the leaderboard; a key below names the trials.

    Args:
        leaderboard: columns as `leaderboard.csv`.
        ratio: "vessel_ratio" or "vessel_ratio_fov".
        published: up to 26 cells of a published study, drawn hollow with letters in their order; columns model,
            strategy, and AUC and ratio with bounds.

    Returns:
        None if no trial has both measures.
    """
    numbers = map(str, range(1, len(leaderboard) + 1))
    cells = _points(_called(named(leaderboard), numbers), ratio, lambda row: _says(row, ratio))
    if cells.is_empty():
        return None
    others = cells.clear()
    if published is not None:
        one_seed = published.select(pl.exclude("model"), backbone="model", seed=0)
        no_trial = one_seed.with_columns(pl.lit(None, pl.String).alias(CELL))
        others = _points(
            _called(no_trial, ascii_lowercase[: len(published)]),
            ratio,
            lambda row: f"{row['name']} of the published study: {_says(row, ratio)}",
        )
    every = pl.concat([cells, others])
    across = spans.linear([0.5, *_bounds(every, "x")], step=0.05)
    up = spans.of_ratios(_bounds(every, "y"))
    cells, others = (_on_scale(points, up) for points in (cells, others))

    channels = Styles(every["strategy"].unique()).of_points(with_legend=False)
    layers = [
        alt.layer(*_measured(cells, others, across, up, _CALLED[ratio].capitalize(), channels)),
        alt.layer(*_written(cells, others, across, up, channels)),
    ]
    lines = len(cells) + (len(others) + 1 if len(others) else 0)
    margins = Margins(_TOP, _RIGHT, _AXIS + _KEY_ROW * lines, _LEFT)
    alt_text = f"{_CALLED[ratio].capitalize()} against AUC: {len(cells)} numbered points with both intervals."
    if len(others):
        alt_text += f" In addition, {len(others)} hollow points of the published study, with letters."
    independent = alt.Resolve(scale={"x": "independent", "y": "independent"})
    return draw(layers, margins, _SIDE, f"AUC and {_CALLED[ratio]}", alt_text, independent)


def _measured(
    cells: pl.DataFrame, others: pl.DataFrame, across: Span, up: Span, title: str, channels: dict[str, Any]
) -> list[alt.Chart]:
    """The layers whose positions follow the axes: reference lines, intervals and points."""
    x, x_low = (across.along(alt.X, field, "AUC") for field in ("x", "x_low"))
    y, y_low = (up.along(alt.Y, field, title) for field in ("y", "y_low"))

    def bars(points: pl.DataFrame, colour: Any) -> list[alt.Chart]:
        horizontal, vertical = (rows(points.drop_nulls(f"{axis}_low")).mark_rule(opacity=FAINT) for axis in "xy")
        return [
            horizontal.encode(x=x_low, x2="x_high:Q", y=y, color=colour),
            vertical.encode(x=x, y=y_low, y2="y_high:Q", color=colour),
        ]

    return [
        rows(pl.DataFrame({"x": [0.5], TOOLTIP: "AUC 0.5 is chance"}))
        .mark_rule(strokeDash=[2, 2], color=QUIET)
        .encode(x=x),
        rows(pl.DataFrame({"y": [1.0], TOOLTIP: "ratio 1 is no preference"}))
        .mark_rule(strokeDash=[2, 2], color=QUIET)
        .encode(y=y),
        *bars(others, alt.value(QUIET)),
        *bars(cells, channels["color"]),
        rows(others).mark_point(color=QUIET, **_HOLLOW).encode(x=x, y=y, shape=channels["shape"]),
        rows(cells).mark_point(size=_POINT).encode(x=x, y=y, **channels),
    ]


def _written(
    cells: pl.DataFrame, others: pl.DataFrame, across: Span, up: Span, channels: dict[str, Any]
) -> list[alt.Chart]:
    """The labels and the key, which are positioned in pixels."""
    labels = _labels(pl.concat([cells, others]), across, up)
    layers = [
        rows(labels).mark_rule(strokeWidth=0.75, color=QUIET).encode(**_AT, x2="point_left:Q", y2="point_top:Q"),
        rows(labels[: len(cells)]).mark_text(stroke=PAPER, strokeWidth=3).encode(**_AT, text="label:N"),
        *_key(cells, 0, {"size": _POINT}, channels),
    ]
    if others.is_empty():
        return layers
    heading = pl.DataFrame(
        {"left": 0, "top": _SIDE + _AXIS + _KEY_ROW * len(cells), "name": _PUBLISHED, TOOLTIP: _PUBLISHED}
    )
    hollow = {"shape": channels["shape"], "color": alt.value(QUIET)}
    return [
        *layers,
        rows(labels[len(cells) :]).mark_text(stroke=PAPER, strokeWidth=3, color=QUIET).encode(**_AT, text="label:N"),
        rows(heading).mark_text(align="left").encode(**_AT, text="name:N"),
        *_key(others, len(cells) + 1, _HOLLOW, hollow),
    ]


def _key(points: pl.DataFrame, above: int, mark: dict[str, Any], look: dict[str, Any]) -> list[alt.Chart]:
    """One line of the key per point, after `above` other lines: its label and mark as in the plot, and its name."""
    top = _SIDE + _AXIS + _KEY_ROW * (above + pl.int_range(pl.len()))
    lines = rows(points.select("label", "strategy", "name", CELL, TOOLTIP, left=0, top=top))
    return [
        lines.mark_text(align="right", dx=-18).encode(**_AT, text="label:N"),
        lines.mark_point(xOffset=-9, **mark).encode(**_AT, **look),
        lines.mark_text(align="left").encode(**_AT, text="name:N"),
    ]


def _labels(points: pl.DataFrame, across: Span, up: Span) -> pl.DataFrame:
    """Each label with its position in pixels, and the end of the line from the label to its point."""
    x, x_low, x_high = (_SIDE * across.places(points[name].to_numpy()) for name in ("x", "x_low", "x_high"))
    y, y_low, y_high = (_SIDE * (1 - up.places(points[name].to_numpy())) for name in ("y", "y_low", "y_high"))
    bars = np.vstack([np.column_stack([x_low, y - 1, x_high, y + 1]), np.column_stack([x - 1, y_high, x + 1, y_low])])
    centres, labels = np.column_stack([x, y]), points["label"].to_list()
    sizes = np.array([_DIGIT * (len(label), 1) for label in labels])
    places = place_labels(centres, sizes, np.nan_to_num(bars), (_SIDE, _SIDE))
    towards = places - centres
    ends = centres + RADIUS * towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "label": labels,
            **points.select(CELL, TOOLTIP).to_dict(),
            **dict(zip(("left", "top"), places.T, strict=True)),
            **dict(zip(("point_left", "point_top"), ends.T, strict=True)),
        }
    )


def _called(frame: pl.DataFrame, labels: Iterable[str]) -> pl.DataFrame:
    """Add the columns `label` (in the plot) and `name` (in the key)."""
    names = pl.Series(cell_names(frame, _LETTERS), dtype=pl.String)
    return frame.with_columns(name=names, label=pl.Series(list(labels), dtype=pl.String))


def _says(row: Mapping[str, Any], ratio: str) -> str:
    auc, found = (
        estimate(row[axis], row[f"{axis}_low"], row[f"{axis}_high"], digits) for axis, digits in (("x", 3), ("y", 2))
    )
    return f"AUC {auc}, {_CALLED[ratio]} {found}{counted(row['n'])}"


def _points(frame: pl.DataFrame, ratio: str, says: Callable[[Mapping[str, Any]], str]) -> pl.DataFrame:
    """The rows with both measures, as columns x and y with their bounds, and with what `says` makes of them."""
    called = [
        pl.col(f"{measure}{end}").alias(f"{axis}{end}")
        for axis, measure in (("x", "auc"), ("y", ratio))
        for end in ("", "_low", "_high")
    ]
    n = pl.col("n_ratio") if "n_ratio" in frame.columns else pl.lit(None, pl.Int64)
    points = frame.fill_nan(None).drop_nulls(["auc", ratio])
    return with_tooltips(points.select(CELL, "label", "name", "strategy", *called, n.alias("n")), says)


def _on_scale(points: pl.DataFrame, up: Span) -> pl.DataFrame:
    """Move ratios beyond the span to its end, and note this in their names."""
    inside = pl.col("y").is_between(up.low, up.high)
    name = pl.when(inside).then("name").otherwise(pl.col("name") + " (off the scale)")
    return points.with_columns(name, pl.col("^y.*$").clip(up.low, up.high))


def _bounds(points: pl.DataFrame, axis: str) -> pl.Series:
    return points.select(axis, f"{axis}_low", f"{axis}_high").unpivot()["value"]
