"""Panels of one trial: its training epoch by epoch, and its scores by label."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from benchmark.report.charts import spans
from benchmark.report.charts.drawing import CELL, QUIET, TOOLTIP, Chart, Margins, draw, rows
from benchmark.report.charts.spans import Span
from benchmark.report.charts.styles import COLOURS
from benchmark.report.charts.tooltips import with_tooltips

_PLOT = 200  # pixels, height
_BINS = 20  # of the scores from 0 to 1
_MARGINS = Margins(top=32, right=10, bottom=36, left=46)


def kept_epoch(history: pl.DataFrame) -> int:
    """The epoch whose weights are kept: the highest validation AUC, of equal ones the lowest loss."""
    return int(history.sort("val_auc", "val_loss", descending=[True, False])["epoch"][0])


def learning_curves(history: pl.DataFrame, trial: str) -> list[Chart]:
    """Loss of training and validation, and validation AUC, by epoch.

    Args:
        history: epoch, train_loss, val_loss, val_auc; one row per epoch.
        trial: the trial's full name.
    """
    loss = history.unpivot(["train_loss", "val_loss"], index="epoch", variable_name="split", value_name="y")
    loss = loss.with_columns(pl.col("split").replace({"train_loss": "training", "val_loss": "validation"}))
    auc = history.select("epoch", split=pl.lit("validation"), y="val_auc")
    epochs = spans.linear([1, float(history["epoch"].to_numpy().max())], step=1)
    panels = (
        ("Loss", loss, spans.linear([0, *_finite(loss)], step=0.1)),
        ("Validation AUC", auc, spans.linear([0.5, 1, *_finite(auc)], step=0.1)),
    )
    return [
        _by_epoch(title, points.with_columns(pl.lit(trial).alias(CELL)), epochs, span, kept_epoch(history))
        for title, points, span in panels
    ]


def _by_epoch(title: str, points: pl.DataFrame, epochs: Span, span: Span, kept_at: int) -> Chart:
    """One line per split; points: epoch, split, y and `CELL`."""
    x, y = epochs.along(alt.X, "epoch", "Epoch", tickMinStep=1), span.along(alt.Y, "y", title)
    names = points["split"].unique(maintain_order=True).to_list()
    ends = {name: _stated(points.filter(split=name)["y"]) for name in names}
    legend = alt.Legend(symbolType="stroke", symbolSize=400)
    colour = alt.Color("split:N", scale=alt.Scale(domain=names, range=COLOURS[: len(names)]), legend=legend)
    measure = "AUC" if title.endswith("AUC") else title.lower()

    def of_line(row: Mapping[str, Any]) -> str:
        return f"{row['split']} {measure}: {ends[row['split']]} of {points['epoch'].n_unique()} epochs"

    def of_point(row: Mapping[str, Any]) -> str:
        value = "not a number" if row["y"] is None else f"{row['y']:.3f}"
        return f"{row['split']} {measure} {value} after epoch {row['epoch']}"

    kept = with_tooltips(
        points.head(1).with_columns(epoch=kept_at), lambda row: f"the weights of epoch {kept_at} are kept"
    )
    layers = [
        rows(kept.select("epoch", CELL, TOOLTIP)).mark_rule(strokeDash=[1, 3], color=QUIET).encode(x=x),
        rows(with_tooltips(points, of_line)).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour),
        rows(with_tooltips(points, of_point)).mark_point(size=14).encode(x=x, y=y, color=colour),
    ]
    stated = ", ".join(f"{name} {of_both}" for name, of_both in ends.items())
    text = f"{title} by epoch: {stated}. The dotted line marks epoch {kept_at}, whose weights are kept."
    return draw(layers, _MARGINS, _PLOT, title, text)


def score_histogram(labels: np.ndarray, scores: np.ndarray, threshold: float, trial: str) -> Chart:
    """How often each score occurs, by label, as a share of the images of that label.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) in 0..1.
        threshold: at and above which an image is predicted positive; marked by a dotted line where it is finite.
        trial: the trial's full name.
    """
    edges = np.linspace(0, 1, _BINS + 1)
    parts = []
    for label in (0, 1):
        counts = np.histogram(scores[labels == label], edges)[0]
        of = int(counts.sum())
        shares = {"share": counts / max(1, of), "n": counts, "of": of, "label": f"label {label}"}
        parts.append(pl.DataFrame({"low": edges[:-1], "high": edges[1:], **shares}))
    bars = with_tooltips(pl.concat(parts).with_columns(pl.lit(trial).alias(CELL)), _bar_in_words)
    x = spans.linear([0, 1], step=0.2).along(alt.X, "low", "Score")
    y = spans.linear([0, float(bars["share"].to_numpy().max())], step=0.05).along(alt.Y, "share", "Share of the images")
    colour = alt.Color(
        "label:N", scale=alt.Scale(domain=["label 0", "label 1"], range=COLOURS[:2]), legend=alt.Legend()
    )
    layers = [rows(bars).mark_rect(opacity=0.55).encode(x=x, x2="high:Q", y=y, y2=alt.value(_PLOT), color=colour)]
    if np.isfinite(threshold):
        says = f"{trial}: scores of {threshold:.3f} and above are predicted positive"
        mark = rows(pl.DataFrame({"low": [threshold], CELL: trial, TOOLTIP: says}))
        layers.append(mark.mark_rule(strokeDash=[1, 3], color=QUIET).encode(x=x))
    medians = " and ".join(
        f"{np.median(scores[labels == label]):.2f} of label {label}" for label in (0, 1) if (labels == label).any()
    )
    text = (
        f"Histogram of the scores by label; the median is {medians}. The dotted line is the threshold {threshold:.3f}."
    )
    return draw(layers, _MARGINS, _PLOT, "Scores by label", text)


def _bar_in_words(row: Mapping[str, Any]) -> str:
    found = f"{100 * row['share']:.1f} % of the images of {row['label']}, n = {row['n']:,} of {row['of']:,}"
    return f"score {row['low']:.2f} to {row['high']:.2f}: {found}"


def _finite(points: pl.DataFrame) -> list[float]:
    """The values that an axis can include: the loss of a training that diverges is not finite."""
    return points.filter(pl.col("y").is_finite())["y"].to_list()


def _stated(values: pl.Series) -> str:
    return f"{values[0]:.3f} in the first and {values[-1]:.3f} in the last"
