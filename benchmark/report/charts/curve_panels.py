"""ROC, calibration and decision curves: one panel per backbone, one line per strategy and seed.

Frames have the columns of `curves.csv`: backbone, strategy, seed, curve (as in `benchmark.analysis.curves`), x, y, low,
high, n. Panels have the order in which the backbones appear on the leaderboard, or in the frame if there is none, and
share the same axes; without data there is no panel.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from benchmark.analysis.curves import TREAT_ALL
from benchmark.report.charts import spans
from benchmark.report.charts.drawing import CELL, FAINT, QUIET, TOOLTIP, Chart, Margins, draw, rows
from benchmark.report.charts.spans import Span
from benchmark.report.charts.styles import WIDTH, Styles
from benchmark.report.charts.tooltips import counted, estimate, named, with_tooltips

TREAT_NONE = "treat none"

_TRIAL = ["backbone", "strategy", "seed"]
_PLOT = 264  # pixels, width and height
_ROC_STEPS = 400  # of each axis: finer than the eye sees; thousands of images become hundreds of points
_NOTHING = 1e-12  # net benefit: a smaller difference is rounding error
_PALE = 0.18  # opacity of a band; several bands overlap
_FINE = 0.9  # pixels, width of a line among many
_LEAST = 0.01  # net benefit that the axis always includes
_DEPTH = 0.3  # how far below 0 the axis of decision curves reaches, as a share of the highest net benefit


def roc_curves(curves: pl.DataFrame, leaderboard: pl.DataFrame | None = None) -> list[Chart]:
    """Sensitivity against 1 - specificity, with the diagonal of chance."""
    points = _summed(_points(curves, "roc", leaderboard), _roc_in_words)
    rounded = (pl.col("x", "y") * _ROC_STEPS).round() / _ROC_STEPS
    points = points.with_columns(rounded).unique(maintain_order=True)
    span = spans.linear([0, 1], step=0.2)
    x, y = span.along(alt.X, "x", "1 − specificity"), span.along(alt.Y, "y", "Sensitivity")
    styles = Styles(points["strategy"].unique())
    charts = []
    for backbone, panel in _by_backbone(points):
        lines = _lines(panel).encode(x=x, y=y, **styles.of_lines(_width(points)))
        alt_text = f"ROC curves of {backbone}: {_strategies(panel)}. The dotted diagonal is chance."
        charts.append(_draw([_diagonal(span, x, y, "chance"), lines], styles, backbone, alt_text))
    return charts


def calibration_curves(curves: pl.DataFrame, leaderboard: pl.DataFrame | None = None) -> list[Chart]:
    """Observed share of positives against mean predicted probability; intervals only where there is one seed.

    Both axes have the same span, which is as narrow as the data allow.
    """
    points = _points(curves, "calibration", leaderboard)
    if points.is_empty():
        return []
    points = with_tooltips(named(points), _bin_in_words).rename({TOOLTIP: "bin"})
    points = _summed(points, _calibration_in_words)
    if _several_seeds(points):
        points = points.with_columns(low=None, high=None)
    span = spans.linear(points.select("x", "y", "low", "high").unpivot()["value"], step=0.05)
    x = span.along(alt.X, "x", "Predicted probability")
    y, low = (span.along(alt.Y, end, "Observed share") for end in ("y", "low"))
    styles = Styles(points["strategy"].unique())
    channels = styles.of_points()
    charts = []
    for backbone, panel in _by_backbone(points):
        bins = panel.drop(TOOLTIP).rename({"bin": TOOLTIP})
        bounded = bins.drop_nulls(["low", "high"])
        layers = [
            _diagonal(span, x, y, "the predicted probability equals the observed share"),
            rows(bounded).mark_rule(opacity=FAINT).encode(x=x, y=low, y2="high:Q", color=channels["color"]),
            _lines(panel).encode(x=x, y=y, color=channels["color"], strokeWidth=alt.value(_FINE)),
            rows(bins).mark_point(size=36).encode(x=x, y=y, **channels),
        ]
        alt_text = f"Calibration of {backbone}: {_strategies(panel)}. On the dotted diagonal, both values are equal."
        charts.append(_draw(layers, styles, backbone, alt_text))
    return charts


def decision_curves(curves: pl.DataFrame, leaderboard: pl.DataFrame | None = None) -> list[Chart]:
    """Net benefit against threshold probability, with treating none, and with treating all if the frame has it.

    The line of a model that falls below the axis continues along the end of the axis.
    """
    points = _points(curves, "decision", leaderboard)
    models = points.filter(pl.col("backbone") != TREAT_ALL)
    if models.is_empty():
        return []
    # The axes end where every model treats none or does far worse.
    useful = models.filter(pl.col("y") != 0)
    last = float((models if useful.is_empty() else useful)["x"].to_numpy().max())
    top = max(float(models["y"].to_numpy().max()), _LEAST)
    across, up = spans.linear([0, last], step=0.05), spans.linear([-_DEPTH * top, top])
    points = _summed(points, _benefit_in_words)
    visible = points.filter(pl.col("x") <= last).with_columns(pl.col("y").clip(lower_bound=up.low))
    everyone = visible.filter(pl.col("backbone") == TREAT_ALL).unique("y", keep="first", maintain_order=True)
    # The line of treating all ends at the axis, because it only falls further.
    treat_all = everyone.select("x", "y", strategy=pl.lit(TREAT_ALL)).with_columns(pl.lit(TREAT_ALL).alias(TOOLTIP))
    treat_none = pl.DataFrame({"x": [0.0, last], "y": [0.0, 0.0], "strategy": TREAT_NONE, TOOLTIP: TREAT_NONE})
    references = pl.concat([treat_all, treat_none])
    names = references["strategy"].unique(maintain_order=True).to_list()
    styles = Styles(models["strategy"].unique(), names)
    x, y = across.along(alt.X, "x", "Threshold probability"), up.along(alt.Y, "y", "Net benefit")
    channels = {"x": x, "y": y, **styles.of_lines(_width(models))}
    charts = []
    for backbone, panel in _by_backbone(visible.filter(pl.col("backbone") != TREAT_ALL)):
        layers = [
            rows(references).mark_line().encode(**channels),
            _lines(panel).encode(**channels),
        ]
        compared = f"compared with {' and '.join(names)}"
        alt_text = f"Decision curves of {backbone}: net benefit of {_strategies(panel)}, {compared}."
        charts.append(_draw(layers, styles, backbone, alt_text))
    return charts


def benefit_gained(curves: pl.DataFrame, leaderboard: pl.DataFrame | None = None) -> list[Chart]:
    """Net benefit minus the better of treating everyone and treating no one, with its band if there is one seed.

    At each threshold the reference is the one with the higher net benefit on these images: treating everyone below the
    prevalence, treating no one above it. Only thresholds are drawn at which some model differs from the reference;
    values beyond the axis are drawn at its end.
    """
    key = [*_TRIAL, "x"]
    to_none, to_all = _points(curves, "decision", leaderboard), _points(curves, "decision_difference", leaderboard)
    points = pl.concat([to_none.join(to_all, on=key, how="semi"), to_all.join(to_none, on=key, how="semi")])
    if points.is_empty():
        return []
    points = points.sort("y", maintain_order=True).unique(key, keep="first", maintain_order=True).sort("x")
    points = to_none.select("backbone").unique(maintain_order=True).join(points, on="backbone", maintain_order="left")
    acting = points.filter(pl.col("y").abs() > _NOTHING)
    first, last = (float(end(acting["x"].to_numpy(), initial=start)) for end, start in ((np.min, 1), (np.max, 0)))
    if first > last:
        return []
    reach = 2 * max(float(points["y"].to_numpy().max()), _LEAST)
    span = spans.linear([-reach, reach])
    points = _summed(points.filter(pl.col("x").is_between(first, last)), _gain_in_words)
    points = points.with_columns(pl.col("y", "low", "high").clip(span.low, span.high))
    # Before its first threshold and after its last one, a model treats every image as the reference does.
    ends = acting.group_by(_TRIAL).agg(start=pl.col("x").min(), stop=pl.col("x").max())
    drawn = pl.col("x").is_between("start", "stop")
    points = points.join(ends, on=_TRIAL, how="left", maintain_order="left").with_columns(
        pl.when(drawn).then(pl.col("low", "high"))
    )
    if _several_seeds(points):
        points = points.with_columns(low=None, high=None)
    styles = Styles(points["strategy"].unique())
    x = spans.linear([first, last], step=0.05).along(alt.X, "x", "Threshold probability")
    y, low = (span.along(alt.Y, end, "Net benefit gained") for end in ("y", "low"))
    channels = styles.of_lines(_width(points))
    zero = pl.DataFrame({"x": [first, last], "y": [0.0, 0.0], TOOLTIP: "the better of treating all and treating none"})
    charts = []
    for backbone, panel in _by_backbone(points):
        layers = [
            rows(panel.drop_nulls(["low", "high"]))
            .mark_area(opacity=_PALE)
            .encode(x=x, y=low, y2="high:Q", color=channels["color"], detail="seed:N"),
            rows(zero).mark_line(strokeWidth=1, strokeDash=[1, 3], color=QUIET).encode(x=x, y=y),
            _lines(panel).encode(x=x, y=y, **channels),
        ]
        alt_text = (
            f"Net benefit gained of {backbone}: net benefit of {_strategies(panel)} minus the better of treating all "
            "and treating none, which is the dotted line at 0."
        )
        charts.append(_draw(layers, styles, backbone, alt_text))
    return charts


def _points(curves: pl.DataFrame, curve: str, leaderboard: pl.DataFrame | None) -> pl.DataFrame:
    """The points of one kind of curve, backbones in the order of their best trial on the leaderboard."""
    points = curves.filter(pl.col("curve") == curve).fill_nan(None).drop_nulls(["x", "y"])
    if leaderboard is None:
        return points
    known = leaderboard.select(*_TRIAL, "auc_low", "auc_high", "n_images").with_row_index("row")
    points = points.join(known, on=_TRIAL, how="left", maintain_order="left")
    return points.sort(pl.col("row").min().over("backbone"), nulls_last=True, maintain_order=True).drop("row")


def _by_backbone(points: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (backbone,), panel in points.group_by("backbone", maintain_order=True):
        yield str(backbone), panel


def _strategies(panel: pl.DataFrame) -> str:
    return ", ".join(panel["strategy"].unique(maintain_order=True))


def _several_seeds(points: pl.DataFrame) -> bool:
    return points["seed"].n_unique() > 1


def _width(points: pl.DataFrame) -> float:
    return _FINE if _several_seeds(points) else WIDTH


def _lines(panel: pl.DataFrame) -> alt.Chart:
    """One line per strategy and seed, through the points in their order."""
    return rows(panel.with_row_index("place")).mark_line().encode(detail="seed:N", order="place:Q")


def _diagonal(span: Span, x: alt.X, y: alt.Y, meaning: str) -> alt.Chart:
    ends = pl.DataFrame({"x": [span.low, span.high], "y": [span.low, span.high], TOOLTIP: meaning})
    return rows(ends).mark_line(strokeWidth=1, strokeDash=[1, 3], color=QUIET).encode(x=x, y=y)


def _summed(points: pl.DataFrame, says: Callable[[pl.DataFrame], str]) -> pl.DataFrame:
    """The points with `CELL`, and with what `says` makes of all points of one trial as the `TOOLTIP` of each."""
    trials = named(points)
    texts = [f"{cell}: {says(line)}" for (cell,), line in trials.group_by(CELL, maintain_order=True)]
    cells = trials[CELL].unique(maintain_order=True)
    return trials.join(pl.DataFrame({CELL: cells, TOOLTIP: texts}), on=CELL, how="left", maintain_order="left")


def _roc_in_words(line: pl.DataFrame) -> str:
    """The area under all points, by trapezoids, and what the curve reaches."""
    x, y = line["x"].to_numpy(), line["y"].to_numpy()
    reached = ", ".join(f"sensitivity {y[x <= 1 - at].max(initial=0):.2f} at specificity {at}" for at in (0.8, 0.9))
    known = {name: line[name][0] if name in line.columns else None for name in ("auc_low", "auc_high", "n_images")}
    auc = estimate(float(np.trapezoid(y, x)), known["auc_low"], known["auc_high"], 3)
    return f"AUC {auc}; {reached}{counted(known['n_images'])}"


def _calibration_in_words(line: pl.DataFrame) -> str:
    bins = f"{len(line)} {'bin' if len(line) == 1 else 'bins'}"
    return f"calibration in {bins}{counted(None if line['n'].has_nulls() else int(line['n'].sum()))}"


def _bin_in_words(row: Mapping[str, Any]) -> str:
    observed = estimate(row["y"], row["low"], row["high"], 2)
    return f"predicted probability {row['x']:.2f}, observed share {observed}{counted(row['n'])}"


def _benefit_in_words(line: pl.DataFrame) -> str:
    return "net benefit " + _at_thresholds(line)


def _gain_in_words(line: pl.DataFrame) -> str:
    return "net benefit gained " + _at_thresholds(line)


def _at_thresholds(line: pl.DataFrame) -> str:
    """The values at a quarter, half and three quarters of the thresholds of a line."""
    chosen = sorted({round(share * (len(line) - 1)) for share in (0.25, 0.5, 0.75)})
    parts = [
        f"{estimate(row['y'], row['low'], row['high'], 3)} at threshold {row['x']:.2f}"
        for row in line[chosen].iter_rows(named=True)
    ]
    return "; ".join(parts) + counted(line["n"][0])


def _draw(layers: Sequence[alt.Chart], styles: Styles, backbone: str, alt_text: str) -> Chart:
    margins = Margins(top=styles.legend_height + 12, right=10, bottom=36, left=46)
    return draw(layers, margins, _PLOT, backbone, alt_text)
