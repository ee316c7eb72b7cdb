"""The AUC of every trial in every fold, with the mean over folds and its interval."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from benchmark.report.charts import spans
from benchmark.report.charts.drawing import CELL, FAINT, INK, PAPER, QUIET, TOOLTIP, Chart, Margins, draw, pixels, rows
from benchmark.report.charts.names import cell_names
from benchmark.report.charts.tooltips import estimate, named, with_tooltips

_MARGINS = Margins(top=10, right=10, bottom=22, left=10)
_NAME, _MEAN, _FIRST, _NEXT, _LAST = 12, 24, 33, 6, 12  # pixels: name, interval, dots of the repeats, next trial
_POINT, _DOT = 30, 16  # square pixels
_LETTERS = 50  # of a name that fit above the intervals


def fold_dots(trials: pl.DataFrame, folds: pl.DataFrame) -> Chart | None:
    """One row of dots per repeat below the mean of each trial; None if no trial has results in every fold.

    Args:
        trials: columns as `cross_validated.csv`.
        folds: columns as `folds.csv`.
    """
    done = trials.drop_nulls("auc")
    if done.is_empty():
        return None
    places = {repeat: place for place, repeat in enumerate(sorted(folds["repeat"].unique()))}
    each = _FIRST + _NEXT * len(places) + _LAST
    means = (
        named(done).with_columns(cell=pl.Series(cell_names(done, _LETTERS), dtype=pl.String)).with_row_index("place")
    )
    means = with_tooltips(means.with_columns(y=pl.col("place") * each + _MEAN), _says_mean)
    of_folds = named(folds).drop_nulls("auc").join(means.select(CELL, "place"), on=CELL)
    below = pl.col("repeat").replace_strict(places, return_dtype=pl.Int64) * _NEXT
    of_folds = with_tooltips(of_folds.with_columns(y=pl.col("place") * each + _FIRST + below), _says_fold)
    span = spans.linear([0.5, *of_folds["auc"], *means["auc_low"], *means["auc_high"]], step=0.1)
    height, colour = means.height * each, alt.value("var(--prediction)")
    x, y = span.along(alt.X, "auc", grid=True), pixels(alt.Y, "y", height)
    chance = with_tooltips(pl.DataFrame({"auc": [0.5]}), lambda _: "0.5 is chance")
    layers = [
        rows(chance).mark_rule(strokeDash=[3, 3], stroke=QUIET).encode(x=x),
        rows(means.drop_nulls("auc_low").select(CELL, TOOLTIP, "y", auc="auc_low", high="auc_high"))
        .mark_rule(strokeWidth=2, opacity=FAINT)
        .encode(x=x, x2="high:Q", y=y, color=colour),
        rows(means.select(CELL, TOOLTIP, "y", "auc"))
        .mark_point(size=_POINT, shape="square")
        .encode(x=x, y=y, color=colour),
        rows(of_folds.select(CELL, TOOLTIP, "y", "auc"))
        .mark_point(size=_DOT, shape="circle", opacity=0.7)
        .encode(x=x, y=y, color=alt.value(QUIET)),
        rows(means.select(CELL, TOOLTIP, "cell", y=pl.col("place") * each + _NAME))
        .mark_text(align="left", stroke=PAPER, strokeWidth=3, fill=INK)
        .encode(x=alt.value(0), y=y, text="cell:N"),
    ]
    description = (
        f"AUC of {means.height} trials: the mean over folds with its interval, and below it one dot per fold, one "
        "row of dots per repeat; the dashed line at 0.5 is chance."
    )
    return draw(layers, _MARGINS, height, "AUC in every fold", description)


def _says_mean(row: Mapping[str, Any]) -> str:
    found = estimate(row["auc"], row["auc_low"], row["auc_high"], 3)
    return f"mean AUC over {row['n_folds']} folds {found}, n = {row['n_patients']:,} patients"


def _says_fold(row: Mapping[str, Any]) -> str:
    found = estimate(row["auc"], row["auc_low"], row["auc_high"], 3)
    return f"repeat {row['repeat']}, fold {row['fold']}: AUC {found}, n = {row['n_patients']:,} patients"
