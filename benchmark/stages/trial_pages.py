"""The pages of the trials: what a run directory holds of one trial, gathered for `benchmark.report.trial_page`."""

from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.leaderboard import OK, Leaderboard, read_saliency, read_thresholds
from benchmark.report.image_browser import FINEST, Column, write_data, write_pictures
from benchmark.report.trial_page import ImageBrowser, TrialContent, render_trial
from benchmark.stages.run import Run
from benchmark.storage.rundir import TrialDirectory, open_array, write_text
from benchmark.study.splits import of_split
from benchmark.tables import read_csv, read_parquet
from benchmark.trial.figures import method_name

_SHOWN = (
    Column("patient", "Patient"),
    Column("label", "Label", 0),
    Column("score", "Score", 3),
    Column("erased", "Score without vessels", 3),
    Column("ratio_fov", "Vessel ratio, field of view", 2),
    Column("ratio", "Vessel ratio, whole image", 2),
    Column("flags", "Vessel masks"),
)


def write_trial_pages(run: Run, leaderboard: Leaderboard, notices: list[str], classes: dict[str, str] | None) -> None:
    """Write `index.html` of every trial that has results; with images unless the study has no examples."""
    directory, with_images = run.directory, run.study.explain.examples > 0
    test = of_split(read_parquet(directory.cohort), "test")
    vessels = test.select("image").join(read_parquet(directory.vessels), on="image", how="left", maintain_order="left")
    masked = vessels["error"].is_null().to_numpy()
    if with_images:
        images, rows = open_array(directory.images), test["row"].to_numpy()
        write_pictures(directory.browser, images, rows, open_array(directory.regions), masked)
    done = {(row["backbone"], row["strategy"], row["seed"]): row for row in leaderboard.trials.to_dicts()}
    for trial in run.trials():
        row = done.get(trial.key)
        if row is None or row["status"] != OK:
            continue
        folder = directory.trial(trial)
        threshold = read_thresholds(folder)["best_f1"]
        table = _table(folder, test, vessels, masked)
        browser = _browser(run, folder, table, threshold) if with_images else None
        key = {name: row[name] for name in TRIAL}
        content = TrialContent(
            study=run.study.name,
            row=row,
            notices=notices,
            leaderboard="../../leaderboard.html",
            history=read_csv(directory.trained_in.trial(trial).history),
            tested=table.select("label", "score"),
            threshold=threshold,
            curves=leaderboard.curves.filter(**key),
            levels=leaderboard.patients.filter(**key),
            method=method_name(run.study.explain.method),
            mean_panel=_mean_panel(folder),
            classes=classes,
            browser=browser,
        )
        write_text(folder.page, render_trial(content))


def _table(folder: TrialDirectory, test: pl.DataFrame, vessels: pl.DataFrame, masked: np.ndarray) -> pl.DataFrame:
    """One row per test image: what the browser shows of it."""
    scores = of_split(read_parquet(folder.predictions), "test").select("image", "score")
    saliency = read_saliency(folder, test).select("image", ratio="vessel_ratio", ratio_fov="vessel_ratio_fov")
    table = test.select("image", pl.col("patient_id").alias("patient"), "label")
    for columns in (scores, saliency, _erased(folder)):
        table = table.join(columns, on="image", how="left", maintain_order="left")
    flags = vessels["flags"].fill_null("").str.replace_all(r"[;,]\s*", ", ").str.replace_all("_", " ")
    missing = pl.Series(np.where(masked, "", "no masks"))
    return table.with_columns(flags=pl.when(missing != "").then(missing).otherwise(flags), masked=pl.Series(masked))


def _erased(folder: TrialDirectory) -> pl.DataFrame:
    if folder.erasure.is_file():
        return read_parquet(folder.erasure).select("image", "erased")
    return pl.DataFrame(schema={"image": pl.String, "erased": pl.Float64})


def _browser(run: Run, folder: TrialDirectory, table: pl.DataFrame, threshold: float) -> ImageBrowser:
    cams = open_array(folder.cams)
    shown = [column for column in _SHOWN if table[column.name].null_count() < len(table)]
    scaling = run.study.explain.scaling
    write_data(folder.browser, table, cams, scaling, threshold, "../../browser", shown)
    flags: dict[str, Any] = {}
    for flag in table["flags"].filter(table["flags"] != "").str.split(", ").explode():
        flags[flag] = flags.get(flag, 0) + 1
    return ImageBrowser(
        data_file=folder.browser.name,
        sortable=[Column("image", "file"), *(column for column in shown if column.name != "flags")],
        flags=flags,
        flagged=int((table["flags"] != "").sum()),
        grid_exact=cams.shape[1] <= FINEST,
    )


def _mean_panel(folder: TrialDirectory) -> tuple[str, str] | None:
    """From the page to the figure of the mean maps, and what it shows."""
    if not folder.figures.is_file():
        return None
    mean = read_csv(folder.figures).filter(group="mean")
    return (f"figures/{mean['file'][0]}", mean["alt"][0]) if len(mean) else None
