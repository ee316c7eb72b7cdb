"""Panels of one trial: its training epoch by epoch, and its scores by label."""

import altair as alt
import numpy as np
import polars as pl

from benchmark.report.charts import spans
from benchmark.report.charts.drawing import QUIET, Chart, Margins, draw, rows
from benchmark.report.charts.styles import COLOURS

_PLOT = 200  # pixels, height
_BINS = 20  # of the scores from 0 to 1
_MARGINS = Margins(top=32, right=10, bottom=36, left=46)


def kept_epoch(history: pl.DataFrame) -> int:
    """The epoch whose weights are kept: the highest validation AUC, of equal ones the lowest loss."""
    return int(history.sort("val_auc", "val_loss", descending=[True, False])["epoch"][0])


def learning_curves(history: pl.DataFrame) -> list[Chart]:
    """Loss of training and validation, and validation AUC, by epoch.

    Args:
        history: epoch, train_loss, val_loss, val_auc; one row per epoch.
    """
    kept_at = kept_epoch(history)
    loss = history.unpivot(["train_loss", "val_loss"], index="epoch", variable_name="split", value_name="y")
    loss = loss.with_columns(pl.col("split").replace({"train_loss": "training", "val_loss": "validation"}))
    auc = history.select("epoch", split=pl.lit("validation"), y="val_auc")
    epochs = spans.linear([1, float(history["epoch"].to_numpy().max())], step=1)
    panels = (("Loss", loss, spans.linear([0, *_finite(loss)], step=0.1)), ("Validation AUC", auc, _auc_span(auc)))
    charts = []
    for title, points, span in panels:
        x = epochs.along(alt.X, "epoch", "Epoch", tickMinStep=1)
        y = span.along(alt.Y, "y", title)
        names = points["split"].unique(maintain_order=True).to_list()
        legend = alt.Legend(symbolType="stroke", symbolSize=400)
        colour = alt.Color("split:N", scale=alt.Scale(domain=names, range=COLOURS[: len(names)]), legend=legend)
        kept = rows(pl.DataFrame({"epoch": [kept_at]})).mark_rule(strokeDash=[1, 3], color=QUIET).encode(x=x)
        lines = rows(points).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
        marks = rows(points).mark_point(size=14).encode(x=x, y=y, color=colour)
        ends = ", ".join(f"{name} {_stated(points.filter(split=name)['y'])}" for name in names)
        text = f"{title} by epoch: {ends}. The dotted line marks epoch {kept_at}, whose weights are kept."
        charts.append(draw([kept, lines, marks], _MARGINS, _PLOT, title, text))
    return charts


def score_histogram(labels: np.ndarray, scores: np.ndarray, threshold: float) -> Chart:
    """How often each score occurs, by label, as a share of the images of that label.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) in 0..1.
        threshold: at and above which an image is predicted positive; marked by a dotted line where it is finite.
    """
    edges = np.linspace(0, 1, _BINS + 1)
    parts = []
    for label in (0, 1):
        counts = np.histogram(scores[labels == label], edges)[0]
        shares = counts / max(1, counts.sum())
        parts.append(pl.DataFrame({"low": edges[:-1], "high": edges[1:], "share": shares, "label": f"label {label}"}))
    bars = pl.concat(parts)
    x = spans.linear([0, 1], step=1).along(alt.X, "low", "Score")
    y = spans.linear([0, float(bars["share"].to_numpy().max())], step=0.05).along(alt.Y, "share", "Share of the images")
    colour = alt.Color(
        "label:N", scale=alt.Scale(domain=["label 0", "label 1"], range=COLOURS[:2]), legend=alt.Legend()
    )
    layers = [rows(bars).mark_rect(opacity=0.55).encode(x=x, x2="high:Q", y=y, y2=alt.value(_PLOT), color=colour)]
    if np.isfinite(threshold):
        mark = rows(pl.DataFrame({"low": [threshold]})).mark_rule(strokeDash=[1, 3], color=QUIET).encode(x=x)
        layers.append(mark)
    medians = " and ".join(
        f"{np.median(scores[labels == label]):.2f} of label {label}" for label in (0, 1) if (labels == label).any()
    )
    text = (
        f"Histogram of the scores by label; the median is {medians}. The dotted line is the threshold {threshold:.3f}."
    )
    return draw(layers, _MARGINS, _PLOT, "Scores by label", text)


def _auc_span(auc: pl.DataFrame) -> spans.Span:
    return spans.linear([0.5, 1, *_finite(auc)], step=0.1)


def _finite(points: pl.DataFrame) -> list[float]:
    return points["y"].fill_nan(None).drop_nulls().to_list()


def _stated(values: pl.Series) -> str:
    return f"{values[0]:.3f} in the first and {values[-1]:.3f} in the last"
