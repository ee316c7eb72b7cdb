"""Many runs on one page: several cohorts, several labs, from their results.json alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.charts.forest import auc_forest
from benchmark.comparisons import CELL
from benchmark.errors import UserError
from benchmark.leaderboard import OK
from benchmark.page import NOTHING, Measure, auc_measure, embedded, ratio_axis, template
from benchmark.results import Results, read_results

SHOWN = ("auc", "f1", "vessel_ratio", "vessel_ratio_fov")
CELLS_SCHEMA: dict[str, type[pl.DataType]] = {
    "run": pl.String,
    "cohort": pl.String,
    **CELL,
    "n_images": pl.Int64,
    "n_people": pl.Int64,
    **{column: pl.Float64 for name in SHOWN for column in (name, f"{name}_low", f"{name}_high")},
    "status": pl.String,
}


def write_overview(paths: Sequence[Path], out: Path) -> Path:
    """Write `overview.html`, `cells.csv` and `models.csv` into a folder; returns the page.

    Raises:
        UserError: as `read_runs`.
        OSError: the folder or a file in it cannot be written.
    """
    runs = read_runs(paths)
    cells = cells_of_runs(runs)
    models = over_runs(cells)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (("cells", cells), ("models", models)):
        (out / f"{name}.csv").write_text(table.write_csv(), encoding="utf-8")
    page = out / "overview.html"
    page.write_text(render(runs, cells, models), encoding="utf-8")
    return page


def render(runs: dict[str, Results], cells: pl.DataFrame, models: pl.DataFrame) -> str:
    """The page as HTML text, like a run's own: nothing is loaded."""
    axis = ratio_axis(cells, ["vessel_ratio", "vessel_ratio_fov"])
    forests = {name: auc_forest(cells.filter(run=name, status=OK)) for name in runs}
    return template("overview.html.j2").render(
        runs=runs,
        cells=cells.sort("auc", descending=True, nulls_last=True).to_dicts(),
        models=models.to_dicts(),
        several_seeds=cells["seed"].n_unique() > 1,
        measures=[
            auc_measure(cells),
            Measure("vessel_ratio", "Vessel ratio", "vessel", 2, axis),
            Measure("vessel_ratio_fov", "In the field of view", "vessel", 2, axis),
        ],
        tables=embedded({"cells": cells, "models": models}),
        intervals={name: _intervals(results) for name, results in runs.items()},
        forests=[replace(chart, title=name) for name, chart in forests.items() if chart],
    )


def _intervals(results: Results) -> str:
    """How a run made those of its cells."""
    numbers = [cell.measures["auc"] for cell in results.cells if "auc" in cell.measures]
    method = results.methods.get(numbers[0].method or "") if numbers else None
    if method is None:
        return NOTHING
    share = "" if method.confidence is None else f"{100 * method.confidence:g} %, "
    resamples = "" if method.resamples is None else f", {method.resamples:,} resamples"
    return f"{share}{method.name}{resamples}"


def read_runs(paths: Sequence[Path]) -> dict[str, Results]:
    """Each run's results under a name of its own: the study's, numbered where two studies share one.

    Raises:
        UserError: a file that is no results.json of this version, or the same run twice.
    """
    runs: dict[str, Results] = {}
    for path in paths:
        results = read_results(path)
        if results in runs.values():
            raise UserError(f"{path}: the same run is named twice")
        name, number = results.study, 1
        while name in runs:
            number += 1
            name = f"{results.study} ({number})"
        runs[name] = results
    return runs


def cells_of_runs(runs: dict[str, Results]) -> pl.DataFrame:
    """One row a cell of a run, runs in their order and cells in theirs; columns as `CELLS_SCHEMA`."""
    rows = []
    for name, results in runs.items():
        for cell in results.cells:
            row: dict[str, Any] = {"run": name, "cohort": results.cohort.source, "status": cell.status}
            row |= {key: getattr(cell, key) for key in (*CELL, "n_images", "n_people")}
            for measure in SHOWN:
                if (number := cell.measures.get(measure)) is not None:
                    row |= {measure: number.value, f"{measure}_low": number.low, f"{measure}_high": number.high}
            rows.append(row)
    return pl.DataFrame(rows, schema=CELLS_SCHEMA)


def over_runs(cells: pl.DataFrame) -> pl.DataFrame:
    """Backbones and strategies over all runs that have them, best mean rank first.

    Columns: backbone, strategy, n_runs, mean_rank (by AUC within each run, over its seeds' means, 1 = best), mean_auc,
    lowest_auc, highest_auc, mean_vessel_ratio. A mean over cohorts has no interval: people of different cohorts are no
    sample of one population. Ranks of cells that not every run has are over fewer runs: read `n_runs` beside them.
    """
    names = ["backbone", "strategy"]
    by_run = (
        cells.filter(status=OK)
        .group_by("run", *names, maintain_order=True)
        .agg(pl.col("auc", "vessel_ratio").mean())
        .with_columns(pl.col("auc").rank(descending=True).over("run").alias("rank"))
    )
    return (
        by_run.group_by(names, maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("n_runs"),
            pl.col("rank").mean().alias("mean_rank"),
            pl.col("auc").mean().alias("mean_auc"),
            pl.col("auc").min().alias("lowest_auc"),
            pl.col("auc").max().alias("highest_auc"),
            pl.col("vessel_ratio").mean().alias("mean_vessel_ratio"),
        )
        .sort(["mean_rank", *names])
    )
