"""A page over several runs, such as several cohorts or labs, from their results.json alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from markupsafe import Markup, escape

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.leaderboard import OK
from benchmark.errors import UserError
from benchmark.report.charts.forest import auc_forest
from benchmark.report.page import Measure, auc_measure, embedded, ratio_axis, template
from benchmark.report.readable import NOTHING
from benchmark.report.results import Results, read_results
from benchmark.report.sections import with_links
from benchmark.storage.rundir import RunDirectory
from benchmark.tables import csv_text
from xai.controls.null import TESTED_RATIOS

SHOWN = ("auc", "f1", "vessel_ratio", "vessel_ratio_fov")
COUNTS = ("n_images", "n_patients", "n_positive_patients", "n_negative_patients")
CELLS_SCHEMA: dict[str, type[pl.DataType]] = {
    "run": pl.String,
    "cohort": pl.String,
    **TRIAL,
    **dict.fromkeys(COUNTS, pl.Int64),
    "predicts": pl.Boolean,
    **{column: pl.Float64 for name in SHOWN for column in (name, f"{name}_low", f"{name}_high")},
    **{f"{name}_null": pl.Float64 for name in TESTED_RATIOS},
    "status": pl.String,
}


def write_overview(paths: Sequence[Path], out: Path) -> Path:
    """Write `overview.html`, `cells.csv` and `models.csv` into a folder; return the path of the page.

    Raises:
        UserError: as in `read_runs`.
        OSError: the folder or a file in it cannot be written.
    """
    runs = read_runs(paths)
    cells = cells_of_runs(runs)
    models = over_runs(cells)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (("cells", cells), ("models", models)):
        (out / f"{name}.csv").write_text(csv_text(table), encoding="utf-8", newline="")
    page = out / "overview.html"
    page.write_text(render(runs, cells, models, pages_of_runs(runs, paths, out)), encoding="utf-8")
    return page


def pages_of_runs(runs: dict[str, Results], paths: Sequence[Path], out: Path) -> dict[str, str]:
    """Name of a run -> address of its page from the folder `out`, for runs whose page lies next to their results."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    files = {name: RunDirectory(folder).leaderboard("html") for name, folder in zip(runs, folders, strict=True)}
    return {
        name: quote(Path(os.path.relpath(file.resolve(), out.resolve())).as_posix())
        for name, file in files.items()
        if file.is_file()
    }


def render(
    runs: dict[str, Results], cells: pl.DataFrame, models: pl.DataFrame, pages: Mapping[str, str] | None = None
) -> str:
    """The page as HTML text; like the page of a run, it loads nothing.

    `pages`: name of a run -> address of its page, to which notices and the table of runs then lead.
    """
    pages = pages or {}
    axis = ratio_axis(cells, ["vessel_ratio", "vessel_ratio_fov"])
    forests = {name: auc_forest(cells.filter(run=name, status=OK), along=cells) for name in runs}
    return template("overview.html.j2").render(
        runs=runs,
        pages={name: pages.get(name) for name in runs},
        notices=notices(runs, pages),
        same_patients=[_listed(names) for names in same_patients(runs)],
        several_cohorts=len({results.cohort.test_sha256 for results in runs.values()}) > 1,
        untrained={name: untrained(results) for name, results in runs.items()},
        trials=cells.sort("auc", descending=True, nulls_last=True).to_dicts(),
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


def notices(runs: dict[str, Results], pages: Mapping[str, str] | None = None) -> list[tuple[str, Markup]]:
    """The notices at the top of the runs' own pages, each with the names of the runs that have it.

    A notice that names a section of a run's page leads to that section of the pages of its runs.
    """
    about: dict[str, list[str]] = {}
    for name, results in runs.items():
        for notice in results.notices:
            about.setdefault(notice, []).append(name)
    return [
        (_listed(names), with_links(notice, partial(_place, pages={name: (pages or {}).get(name) for name in names})))
        for notice, names in about.items()
    ]


def _place(section: str, heading: str, pages: Mapping[str, str | None]) -> Markup:
    """Where a section is: on the pages of these runs, and not on this page."""
    links = [
        Markup("<a href='{}#{}'>{}</a>").format(page, section, name) if page else escape(name)
        for name, page in pages.items()
    ]
    return Markup("“{}” on the page of {}").format(heading, Markup(" and ").join(links))


def untrained(results: Results) -> list[str]:
    """The backbones of a run that had no pretrained weights."""
    return [backbone for backbone, weights in results.weights.items() if weights is None]


def same_patients(runs: dict[str, Results]) -> list[list[str]]:
    """Groups of two or more runs that tested the same images of the same patients with the same labels, by name."""
    by_digest: dict[str, list[str]] = {}
    for name, results in runs.items():
        by_digest.setdefault(results.cohort.test_sha256, []).append(name)
    return [names for names in by_digest.values() if len(names) > 1]


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _intervals(results: Results) -> str:
    """How a run computed the intervals of its trials."""
    numbers = [cell.measures["auc"] for cell in results.trials if "auc" in cell.measures]
    method = results.methods.get(numbers[0].method or "") if numbers else None
    if method is None:
        return NOTHING
    share = "" if method.confidence is None else f"{100 * method.confidence:g} %, "
    resamples = "" if method.resamples is None else f", {method.resamples:,} resamples"
    return f"{share}{method.name}{resamples}"


def read_runs(paths: Sequence[Path]) -> dict[str, Results]:
    """The results of each run under a unique name.

    The name is that of the study. If several studies share a name, the name of the folder is added; if the folders
    share a name as well, the runs are numbered.

    Raises:
        UserError: a file is not a results.json of this version, or a run is named twice.
    """
    read: list[Results] = []
    for path in paths:
        results = read_results(path)
        if results in read:
            raise UserError(f"{path}: the same run is named twice")
        read.append(results)
    folders = [(path if path.is_dir() else path.parent).resolve().name for path in paths]
    return dict(zip(_names([results.study for results in read], folders), read, strict=True))


def _names(studies: Sequence[str], folders: Sequence[str]) -> list[str]:
    names: list[str] = []
    for study, folder in zip(studies, folders, strict=True):
        sharing = [other for name, other in zip(studies, folders, strict=True) if name == study]
        distinct = len(set(sharing)) == len(sharing) > 1
        name = unique = f"{study} ({folder})" if distinct else study
        number = 1
        while unique in names:
            number += 1
            unique = f"{name} ({number})"
        names.append(unique)
    return names


def cells_of_runs(runs: dict[str, Results]) -> pl.DataFrame:
    """One row per trial of each run, in the order of the runs and of their trials; columns as `CELLS_SCHEMA`."""
    rows = []
    for name, results in runs.items():
        for cell in results.trials:
            row: dict[str, Any] = {"run": name, "cohort": results.cohort.source, "status": cell.status}
            row |= {key: getattr(cell, key) for key in (*TRIAL, *COUNTS, "predicts")}
            for measure in SHOWN:
                if (number := cell.measures.get(measure)) is not None:
                    row |= {measure: number.value, f"{measure}_low": number.low, f"{measure}_high": number.high}
                if (null := cell.measures.get(f"{measure}_null")) is not None:
                    row[f"{measure}_null"] = null.value
            rows.append(row)
    return pl.DataFrame(rows, schema=CELLS_SCHEMA)


def over_runs(cells: pl.DataFrame) -> pl.DataFrame:
    """Cells over all runs that have them, sorted by the share of the other cells that they beat.

    Columns: backbone, strategy, n_runs (with an AUC), mean_beaten, mean_auc, lowest_auc, highest_auc, n_runs_ratio
    (with a vessel ratio), mean_vessel_ratio; the seeds of a run are averaged first. `mean_beaten` is a rank that does
    not depend on how many cells a run has: the share (0..1) of the other cells of the run that have a lower AUC, where
    a tie counts half, averaged over runs; null if no run has other cells. A mean over cohorts has no interval, because
    patients of different cohorts are not a sample of one population.
    """
    names = ["backbone", "strategy"]
    by_run = (
        cells.filter(status=OK)
        .group_by("run", *names, maintain_order=True)
        .agg(pl.col("auc", "vessel_ratio").mean())
        .with_columns(others=pl.col("auc").count().over("run") - 1.0, below=pl.col("auc").rank().over("run") - 1)
        .with_columns(beaten=(pl.col("below") / pl.col("others")).fill_nan(None))
    )
    return (
        by_run.group_by(names, maintain_order=True)
        .agg(
            pl.col("auc").count().cast(pl.Int64).alias("n_runs"),
            pl.col("beaten").mean().alias("mean_beaten"),
            pl.col("auc").mean().alias("mean_auc"),
            pl.col("auc").min().alias("lowest_auc"),
            pl.col("auc").max().alias("highest_auc"),
            pl.col("vessel_ratio").count().cast(pl.Int64).alias("n_runs_ratio"),
            pl.col("vessel_ratio").mean().alias("mean_vessel_ratio"),
        )
        .sort("mean_beaten", *names, descending=[True, False, False], nulls_last=True)
    )
