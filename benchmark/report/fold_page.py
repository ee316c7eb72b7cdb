"""leaderboard.html of a study with folds: the mean over folds, the folds, and where the variance comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from benchmark.analysis.cross_validation import CrossValidation
from benchmark.analysis.leaderboard import OK
from benchmark.report.charts import spans
from benchmark.report.charts.fold_dots import fold_dots
from benchmark.report.page import Axis, Measure, auc_measure, embedded, ratio_axis, template
from benchmark.study.folds import Fold

PAIRS_SHOWN = 50
_SOURCES = {
    "patients": "Patients",
    "seeds": "Seeds",
    "splits": "Divisions into folds",
    "rest": "Rest",
    "total": "One training",
}


@dataclass(frozen=True)
class FoldPageContent:
    """What the page shows.

    Attributes:
        title: the study's name.
        notices: what a reader must know before any number.
        board: the averages over folds.
        pages: the address of each fold's own page, from this one.
        classes: names of the classes by label, or None.
        facts: section -> key -> value.
        confidence: of all intervals, 0.95 for 95 %.
        finished: when the report was made, ISO 8601.
    """

    title: str
    notices: Sequence[str]
    board: CrossValidation
    pages: Mapping[Fold, str]
    classes: Mapping[str, str] | None
    facts: Mapping[str, str]
    confidence: float
    finished: str


def render_folds(content: FoldPageContent) -> str:
    """The page as HTML text; it loads nothing, and leads to the pages of the folds."""
    board = content.board
    trials = board.cross_validated
    done = trials.filter(status=OK)
    chart = fold_dots(done, board.folds)
    shares = Axis(spans.linear([0, 1], step=1))
    ratios = ("vessel_ratio_fov", "vessel_ratio")
    axis = ratio_axis(done, list(ratios))
    variance = _variance(board.variance)
    top = max([row["sd_high"] or 0 for row in variance["all"] if row["source"] != "total"] + [0.02], default=0.02)
    furthest = max([row["sd"] or 0 for row in variance["all"]] + [0.02])
    return template("cross_validation.html.j2").render(
        content=content,
        confidence=f"{100 * content.confidence:g}\N{NO-BREAK SPACE}%",
        several_seeds=trials["seed"].n_unique() > 1,
        done=done.to_dicts(),
        failed=trials.filter(pl.col("status") != OK).to_dicts(),
        measures=[
            auc_measure(done),
            Measure("sensitivity", "Sensitivity", "prediction", 2, shares),
            Measure("specificity", "Specificity", "prediction", 2, shares),
            Measure("brier", "Brier", "prediction", 3, Axis(spans.linear([0, 0.5], step=0.5))),
            Measure("vessel_ratio_fov", "Vessel ratio, field of view", "vessel", 2, axis),
        ],
        spread=Measure("sd", "SD of AUC", "prediction", 3, Axis(_span(min(top, 4 * furthest)))),
        variance=variance["all"],
        by_cell=variance["cells"],
        sources=_SOURCES,
        seeds=board.seeds.filter(measure="auc").to_dicts(),
        pairs=board.comparisons.filter(measure="auc").sort("p_value", nulls_last=True).to_dicts(),
        PAIRS_SHOWN=PAIRS_SHOWN,
        folds=_folds(board.folds, content.pages),
        charts=[chart] if chart else [],
        tables=embedded(board.tables()),
    )


def _span(top: float) -> spans.Span:
    return spans.linear([0, top], step=0.01)


def _variance(variance: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The sources of the variance of the AUC: pooled over cells, and one row per cell with each source's deviation."""
    of_auc = variance.filter(measure="auc")
    pooled = of_auc.filter(pl.col("backbone").is_null()).to_dicts()
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for row in of_auc.filter(pl.col("backbone").is_not_null()).to_dicts():
        found = cells.setdefault((row["backbone"], row["strategy"]), dict(row))
        found[row["source"]] = row["sd"]
    return {"all": pooled, "cells": list(cells.values())}


def _folds(folds: pl.DataFrame, pages: Mapping[Fold, str]) -> list[dict[str, Any]]:
    """One row per fold: its patients, the lowest and highest AUC of its trials, and the address of its page."""
    rows = []
    for (repeat, fold), group in folds.group_by("repeat", "fold", maintain_order=True):
        known, place = group.drop_nulls("auc"), Fold(int(str(repeat)), int(str(fold)))
        row: dict[str, Any] = {"name": place.name, "repeat": repeat, "fold": fold, "page": pages.get(place)}
        row |= {"trials": len(known), "all": len(group)}
        counts = ("n_images", "n_patients", "n_positive_patients", "n_negative_patients")
        row |= known.row(0, named=True) if len(known) else dict.fromkeys(counts)
        row |= {"lowest": known["auc"].min(), "highest": known["auc"].max()}
        rows.append(row)
    return rows
