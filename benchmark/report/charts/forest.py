"""Forest plots: the estimate and interval of every trial, in the order of the leaderboard."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import altair as alt
import polars as pl

from benchmark.report.charts import spans
from benchmark.report.charts.drawing import (
    CELL,
    FAINT,
    INK,
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
from benchmark.report.charts.names import cell_names, printable
from benchmark.report.charts.spans import Span
from benchmark.report.charts.styles import COLOURS, SHAPES
from benchmark.report.charts.tooltips import counted, estimate, named, with_tooltips

_MARGINS = Margins(top=44, right=10, bottom=22, left=10)
_CELL, _FITTING = 46, 3  # pixels of a trial, and the number of intervals that fit into them
_NAME, _FIRST, _NEXT = 12, 24, 8  # pixels from the top of a trial to its name and first interval, and between intervals
_POINT = 30  # square pixels
_TICK = 9  # pixels: height of the mark of the ratio by chance
_SHORT, _LEGEND_ROW = 10, 15  # letters of a name that shares a row of the legend; pixels of a row
_LETTERS = 50  # of a name that fit above the intervals


class _Measure(NamedTuple):
    column: str
    name: str  # in the legend
    said: str  # in a sentence
    digits: int
    counted: str  # the column with the number of images
    colour: str
    shape: str

    @property
    def by_chance(self) -> str:
        """The column of the value by chance, which not every leaderboard has."""
        return f"{self.column}_null"

    def says(self, row: Mapping[str, Any]) -> str:
        """An estimate in words: value, low, high, null and n."""
        chance = "" if row["null"] is None else f"; {row['null']:.{self.digits}f} on other patients' vessels"
        found = estimate(row["value"], row["low"], row["high"], self.digits)
        return f"{self.said} {found}{chance}{counted(row['n'])}"


class _Scale(NamedTuple):
    span: Span
    reference: float
    meaning: str

    @property
    def says(self) -> str:
        return f"{self.reference} is {self.meaning}"


_AUC = [_Measure("auc", "AUC", "AUC", 3, "n_images", "var(--prediction)", "square")]
_REGIONS = {"vessel": "diamond", "artery": "circle", "vein": "square"}
_RATIO_TITLES = {"": "Ratio to everything that is not vessel", "_fov": "Ratio inside the field of view"}
_RATIOS = {
    suffix: [
        _Measure(
            f"{region}_ratio{suffix}", region, f"{region} {title.lower()}", 2, "n_ratio", f"var(--{region})", shape
        )
        for region, shape in _REGIONS.items()
    ]
    for suffix, title in _RATIO_TITLES.items()
}

_ADDED = [
    _Measure("auc_both", "both", "AUC of covariates and score", 3, "", "var(--prediction)", "square"),
    _Measure("auc_covariates", "covariates", "AUC of covariates", 3, "", "var(--series-2)", "circle"),
    _Measure("auc_score", "score", "AUC of the score", 3, "", "var(--series-3)", "diamond"),
]


def auc_forest(leaderboard: pl.DataFrame, along: pl.DataFrame | None = None) -> Chart | None:
    """AUC of every trial, with the line of chance; columns as `leaderboard.csv`; None if no trial has an AUC.

    `along`: all trials that the axis must include, so that forests side by side share one axis.
    """
    bounds = _bounds(leaderboard if along is None else along, _AUC)
    span = spans.linear([0.5, *bounds], step=0.05)
    return _forest(leaderboard, _AUC, "AUC", _Scale(span, 0.5, "chance"))


def cohorts_forest(cells: pl.DataFrame, cohorts: Sequence[str]) -> Chart | None:
    """AUC of every trial in several cohorts, the run's own test images first; None if no trial has an AUC.

    Args:
        cells: backbone, strategy, seed, and for the place p of each cohort auc_p, auc_p_low, auc_p_high and n_p.
        cohorts: their names.
    """
    measures = [
        _Measure(f"auc_{place}", printable(name), f"AUC in {name}", 3, f"n_{place}", colour, shape)
        for place, (name, colour, shape) in enumerate(zip(cohorts, cycle(COLOURS), cycle(SHAPES), strict=False))
    ]
    span = spans.linear([0.5, *_bounds(cells, measures)], step=0.05)
    return _forest(cells, measures, "AUC in each cohort", _Scale(span, 0.5, "chance"))


def ratio_forest(leaderboard: pl.DataFrame, suffix: str = "") -> Chart | None:
    """Vessel, artery and vein ratio of every trial, to all non-vessel or to that in the field of view ("_fov").

    Both charts have the same scale; a value beyond it is an arrow at its end. If the same maps were compared with other
    patients' vessels, a tick marks their ratio there, and the line at 1 is not drawn for that ratio. None if no trial
    has a ratio.
    """
    bounds = [bound for measures in _RATIOS.values() for bound in _bounds(leaderboard, measures)]
    scale = _Scale(spans.of_ratios(bounds), 1, "no preference")
    return _forest(leaderboard, _RATIOS[suffix], _RATIO_TITLES[suffix], scale)


def added_forest(image_adds: pl.DataFrame) -> Chart | None:
    """AUCs of the logistic models of every trial; columns as `image_adds.csv`; None if no trial has one."""
    span = spans.linear([0.5, *_bounds(image_adds, _ADDED)], step=0.05)
    return _forest(image_adds, _ADDED, "AUC of covariates, score, and both", _Scale(span, 0.5, "chance"))


def _forest(leaderboard: pl.DataFrame, measures: Sequence[_Measure], title: str, scale: _Scale) -> Chart | None:
    called = named(leaderboard).with_columns(cell=pl.Series(cell_names(leaderboard, _LETTERS), dtype=pl.String))
    columns = [measure.column for measure in measures]
    cells = called.fill_nan(None).filter(pl.any_horizontal(pl.col(columns).is_not_null())).with_row_index("place")
    if cells.is_empty():
        return None
    tall = _CELL + _NEXT * max(0, len(measures) - _FITTING)
    span, height = scale.span, cells.height * tall
    estimates = _estimates(cells, measures, tall)
    shown = estimates.filter(pl.col("value").is_between(span.low, span.high))
    intervals = estimates.filter(pl.col("high") >= span.low, pl.col("low") <= span.high)
    intervals = intervals.with_columns(pl.col("low", "high").clip(span.low, span.high))
    first = estimates.unique(CELL, keep="first", maintain_order=True).select(CELL, TOOLTIP)
    labels = cells.select(CELL, "cell", y=pl.col("place") * tall + _NAME).join(first, on=CELL, maintain_order="left")
    chance = estimates.filter(pl.col("null").is_between(span.low, span.high)).select(
        CELL, TOOLTIP, "null", y=pl.col("y") - _TICK / 2, y2=pl.col("y") + _TICK / 2
    )
    references = with_tooltips(_references(estimates, height), lambda _: scale.says).with_columns(
        reference=pl.lit(scale.reference, pl.Float64)
    )

    channels, y = _channels(measures), pixels(alt.Y, "y", height)
    layers = [
        rows(intervals)
        .mark_rule(strokeWidth=3, opacity=FAINT)
        .encode(x=span.along(alt.X, "low", orient="top"), x2="high:Q", y=y, color=channels["color"]),
        rows(references)
        .mark_rule(strokeDash=[2, 2], color=QUIET)
        .encode(x=span.along(alt.X, "reference", orient="bottom", grid=False), y=y, y2="y2:Q"),
        rows(chance).mark_rule(strokeWidth=2, color=INK).encode(x=alt.X("null:Q", axis=None), y=y, y2="y2:Q"),
        rows(shown).mark_point(size=_POINT).encode(x=alt.X("value:Q", axis=None), y=y, **channels),
        *(
            rows(estimates.filter(off_scale))
            .mark_point(size=_POINT, shape=f"triangle-{side}")
            .encode(x=alt.X(datum=end, axis=None), y=y, color=channels["color"])
            for side, end, off_scale in (
                ("left", span.low, pl.min_horizontal("value", "low") < span.low),
                ("right", span.high, pl.max_horizontal("value", "high") > span.high),
            )
        ),
        rows(labels).mark_text(align="left", stroke=PAPER, strokeWidth=3).encode(x=alt.value(0), y=y, text="cell:N"),
    ]
    ranked = cells.drop_nulls(columns[0]).sort(columns[0], descending=True)["cell"]
    extremes = f" Highest {measures[0].name}: {ranked[0]}; lowest: {ranked[-1]}." if len(ranked) > 1 else ""
    dashed = f"the dashed line at {scale.says}"
    if len(chance):
        dashed += f", the vertical tick on a {measures[0].name} line is the ratio on other patients' vessels"
    trials = f"{cells.height} {'trial' if cells.height == 1 else 'trials'}"
    alt_text = f"{title}, {trials} with intervals; {dashed}.{extremes}"
    margins = _MARGINS._replace(top=_MARGINS.top + _LEGEND_ROW * (_legend_rows(measures) - 1))
    return draw(layers, margins, height, title, alt_text, alt.Resolve(axis={"x": "independent"}))


def _estimates(cells: pl.DataFrame, measures: Sequence[_Measure], tall: int) -> pl.DataFrame:
    """One row per estimate: `CELL`, measure, value, low, high, null (by chance), y in pixels, and `TOOLTIP`."""
    parts = []
    for line, measure in enumerate(measures):
        part = cells.select(
            CELL,
            measure=pl.lit(measure.name),
            value=measure.column,
            low=f"{measure.column}_low",
            high=f"{measure.column}_high",
            null=measure.by_chance if measure.by_chance in cells.columns else pl.lit(None, pl.Float64),
            n=measure.counted if measure.counted in cells.columns else pl.lit(None, pl.Int64),
            y=pl.col("place") * tall + _FIRST + _NEXT * line,
        )
        parts.append(with_tooltips(part.drop_nulls("value"), measure.says))
    return pl.concat(parts)


def _references(estimates: pl.DataFrame, height: int) -> pl.DataFrame:
    """Start and end in pixels of the reference line: it passes every estimate without a value by chance.

    Where some have one, the parts of the line belong to the trials of the others (`CELL`).
    """
    without = estimates.filter(pl.col("null").is_null())
    if len(without) == len(estimates):
        return pl.DataFrame({"y": [0.0], "y2": [float(height)]})
    return without.select(CELL, y=pl.col("y") - _NEXT / 2, y2=pl.col("y") + _NEXT / 2)


def _legend_rows(measures: Sequence[_Measure]) -> int:
    """Short names share a row; longer ones have one each."""
    short = all(len(measure.name) <= _SHORT for measure in measures)
    return 1 if short and len(measures) <= _FITTING else len(measures)


def _channels(measures: Sequence[_Measure]) -> dict[str, Any]:
    """Colour and shape, with a legend if there is more than one measure."""
    names = [measure.name for measure in measures]
    legend = None
    if len(names) > 1:
        legend = alt.Legend(columns=-(-len(names) // _legend_rows(measures)), symbolSize=50, labelLimit=WIDTH)
    colours = alt.Scale(domain=names, range=[measure.colour for measure in measures])
    shapes = alt.Scale(domain=names, range=[measure.shape for measure in measures])
    return {
        "color": alt.Color("measure:N", scale=colours, legend=legend),
        "shape": alt.Shape("measure:N", scale=shapes, legend=legend),
    }


def _bounds(leaderboard: pl.DataFrame, measures: Sequence[_Measure]) -> list[float | None]:
    columns = [f"{measure.column}{end}" for measure in measures for end in ("", "_low", "_high")]
    columns += [measure.by_chance for measure in measures if measure.by_chance in leaderboard.columns]
    return leaderboard.fill_nan(None).select(columns).unpivot()["value"].to_list()
