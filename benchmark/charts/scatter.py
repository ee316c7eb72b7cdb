"""Does what predicts better look at vessels more? Every cell by its AUC and its vessel ratio."""

from typing import Any

import altair as alt
import numpy as np
import polars as pl

from benchmark.charts import spans
from benchmark.charts.drawing import FAINT, PAPER, QUIET, WIDTH, Chart, Margins, draw, pixels, rows
from benchmark.charts.labels import RADIUS, place_labels
from benchmark.charts.names import cell_names
from benchmark.charts.spans import Span
from benchmark.charts.styles import Styles

_TOP, _RIGHT, _AXIS, _LEFT = 8, 10, 50, 46  # pixels around the plot
_SIDE = WIDTH - _LEFT - _RIGHT  # pixels of the plot, both ways
_DIGIT = np.array([6.2, 9.0])  # pixels
_KEY_ROW = 16  # pixels
_LETTERS = 45  # of a name in the key
_POINT, _HOLLOW = 55, 40  # square pixels
_PUBLISHED = "hollow: the published study, same shapes"
_CALLED = {"vessel_ratio": "vessel ratio", "vessel_ratio_fov": "vessel ratio inside the field of view"}


def scatter(
    leaderboard: pl.DataFrame, ratio: str = "vessel_ratio", published: pl.DataFrame | None = None
) -> Chart | None:
    """A point and two intervals a cell, numbered by its row on the leaderboard; a key below says which is which.

    Args:
        leaderboard: columns as `leaderboard.csv`.
        ratio: "vessel_ratio" or "vessel_ratio_fov".
        published: cells to compare with, hollow and without a number; columns strategy, and AUC and ratio with bounds.

    Returns:
        None where no cell has both measures.
    """
    named = leaderboard.with_columns(name=pl.Series(cell_names(leaderboard, _LETTERS), dtype=pl.String))
    cells = _points(named.with_row_index("number", offset=1), ratio)
    if cells.is_empty():
        return None
    others = cells.clear() if published is None else _points(published, ratio)
    every = pl.concat([cells, others], how="diagonal_relaxed")
    across = spans.linear([0.5, *_bounds(every, "x")], step=0.05)
    up = spans.of_ratios(_bounds(every, "y"))
    on_scale = pl.col("y").is_between(up.low, up.high)
    cells = cells.with_columns(pl.when(on_scale).then("name").otherwise(pl.col("name") + " (off the scale)"))
    cells, others = (frame.with_columns(pl.col("^y.*$").clip(up.low, up.high)) for frame in (cells, others))

    channels = Styles(every["strategy"].unique()).of_points(with_legend=False)
    layers = [
        alt.layer(*_measured(cells, others, across, up, _CALLED[ratio].capitalize(), channels)),
        alt.layer(*_written(cells, others, across, up, channels)),
    ]
    lines = cells.height + (not others.is_empty())
    margins = Margins(_TOP, _RIGHT, _AXIS + _KEY_ROW * lines, _LEFT)
    told = f"{_CALLED[ratio].capitalize()} against AUC: {cells.height} numbered points with both intervals."
    independent = alt.Resolve(scale={"x": "independent", "y": "independent"})
    return draw(layers, margins, _SIDE, f"AUC and {_CALLED[ratio]}", told, independent)


def _measured(
    cells: pl.DataFrame, others: pl.DataFrame, across: Span, up: Span, title: str, channels: dict[str, Any]
) -> list[alt.Chart]:
    """What lies along the axes."""
    x, x_low = (across.along(alt.X, field, "AUC") for field in ("x", "x_low"))
    y, y_low = (up.along(alt.Y, field, title) for field in ("y", "y_low"))

    def bars(points: pl.DataFrame, colour: Any) -> list[alt.Chart]:
        horizontal, vertical = (rows(points.drop_nulls(f"{axis}_low")).mark_rule(opacity=FAINT) for axis in "xy")
        return [
            horizontal.encode(x=x_low, x2="x_high:Q", y=y, color=colour),
            vertical.encode(x=x, y=y_low, y2="y_high:Q", color=colour),
        ]

    return [
        rows(pl.DataFrame({"x": [0.5]})).mark_rule(strokeDash=[2, 2], color=QUIET).encode(x=x),
        rows(pl.DataFrame({"y": [1.0]})).mark_rule(strokeDash=[2, 2], color=QUIET).encode(y=y),
        *bars(others, alt.value(QUIET)),
        *bars(cells, channels["color"]),
        rows(others).mark_point(filled=False, size=_HOLLOW, color=QUIET).encode(x=x, y=y, shape=channels["shape"]),
        rows(cells).mark_point(size=_POINT).encode(x=x, y=y, **channels),
    ]


def _written(
    cells: pl.DataFrame, others: pl.DataFrame, across: Span, up: Span, channels: dict[str, Any]
) -> list[alt.Chart]:
    """Numbers and the key: they lie at pixels, whatever the axes."""
    at = {"x": pixels(alt.X, "left", _SIDE), "y": pixels(alt.Y, "top", _SIDE)}
    numbers = _numbers(cells, others, across, up)
    places = _SIDE + _AXIS + _KEY_ROW * pl.int_range(pl.len())
    key = cells.select("number", "strategy", "name", left=0, top=places)
    layers = [
        rows(numbers).mark_rule(strokeWidth=0.75, color=QUIET).encode(**at, x2="point_left:Q", y2="point_top:Q"),
        rows(numbers).mark_text(stroke=PAPER, strokeWidth=3).encode(**at, text="number:N"),
        rows(key).mark_text(align="right", dx=-18).encode(**at, text="number:N"),
        rows(key).mark_point(size=_POINT, xOffset=-9).encode(**at, **channels),
        rows(key).mark_text(align="left").encode(**at, text="name:N"),
    ]
    if not others.is_empty():
        last = pl.DataFrame({"left": 0, "top": _SIDE + _AXIS + _KEY_ROW * cells.height, "name": _PUBLISHED})
        layers.append(rows(last).mark_text(align="left").encode(**at, text="name:N"))
        layers.append(rows(last).mark_point(filled=False, size=_HOLLOW, color=QUIET, xOffset=-9).encode(**at))
    return layers


def _numbers(cells: pl.DataFrame, others: pl.DataFrame, across: Span, up: Span) -> pl.DataFrame:
    """Each number with its place in pixels, clear of the rest where it can be, and where a line to its point ends."""
    every = pl.concat([cells, others], how="diagonal_relaxed")
    x, x_low, x_high = (_SIDE * across.places(every[name].to_numpy()) for name in ("x", "x_low", "x_high"))
    y, y_low, y_high = (_SIDE * (1 - up.places(every[name].to_numpy())) for name in ("y", "y_low", "y_high"))
    bars = np.vstack([np.column_stack([x_low, y - 1, x_high, y + 1]), np.column_stack([x - 1, y_high, x + 1, y_low])])
    points, numbers = np.column_stack([x, y]), [str(number) for number in cells["number"]]
    sizes = np.array([_DIGIT * (len(number), 1) for number in numbers])
    places = place_labels(points, sizes, np.nan_to_num(bars), (_SIDE, _SIDE))
    towards = places - points[: len(places)]
    ends = points[: len(places)] + RADIUS * towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "number": numbers,
            **dict(zip(("left", "top"), places.T, strict=True)),
            **dict(zip(("point_left", "point_top"), ends.T, strict=True)),
        }
    )


def _points(frame: pl.DataFrame, ratio: str) -> pl.DataFrame:
    """Rows with both measures, which become x and y."""
    called = [
        pl.col(f"{measure}{end}").alias(f"{axis}{end}")
        for axis, measure in (("x", "auc"), ("y", ratio))
        for end in ("", "_low", "_high")
    ]
    kept = [name for name in ("number", "name", "strategy") if name in frame.columns]
    return frame.fill_nan(None).drop_nulls(["auc", ratio]).select(*kept, *called)


def _bounds(points: pl.DataFrame, axis: str) -> pl.Series:
    return points.select(axis, f"{axis}_low", f"{axis}_high").unpivot()["value"]
