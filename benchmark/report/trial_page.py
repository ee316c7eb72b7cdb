"""trials/<name>/index.html: one trial in detail, with a browser of all test images where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from benchmark.report.charts.colour_bar import colour_ramp
from benchmark.report.charts.curve_panels import calibration_curves
from benchmark.report.charts.trial_panels import kept_epoch, learning_curves, score_histogram
from benchmark.report.image_browser import Column
from benchmark.report.page import LEVEL_NAMES, template


@dataclass(frozen=True)
class ImageBrowser:
    """What the page says of the images whose data lie in `browser.js`.

    Attributes:
        data_file: from the page to the script that `benchmark.report.image_browser.write_data` wrote.
        sortable: values that the images can be sorted by.
        flags: flag of the vessel masks -> how many images have it.
        flagged: how many images have any.
        grid_exact: whether maps are shown on their own grid.
    """

    data_file: str
    sortable: Sequence[Column]
    flags: Mapping[str, int]
    flagged: int
    grid_exact: bool


@dataclass(frozen=True)
class TrialContent:
    """Everything that the page of a trial shows.

    Attributes:
        study: its name.
        row: the trial's row of the leaderboard.
        notices: what a reader must know before any number.
        leaderboard: from this page to the leaderboard's.
        history: epoch, train_loss, val_loss, val_auc.
        tested: label (0, 1) and score of the test images.
        threshold: chosen on the validation images; scores at or above it are predicted positive.
        curves: of this trial, as in `curves.csv`.
        levels: of this trial, as in `patients.csv`.
        method: what made the maps, as it is called in a sentence.
        mean_panel: from this page to the figure of the mean maps, and what it shows in words; None without it.
        classes: names of the classes by label, "0" and "1", where they have names.
        browser: None where images are left out.
    """

    study: str
    row: Mapping[str, Any]
    notices: Sequence[str]
    leaderboard: str
    history: pl.DataFrame
    tested: pl.DataFrame
    threshold: float
    curves: pl.DataFrame
    levels: pl.DataFrame
    method: str
    mean_panel: tuple[str, str] | None = None
    classes: Mapping[str, str] | None = None
    browser: ImageBrowser | None = None


def render_trial(content: TrialContent) -> str:
    """The page as HTML text; it loads nothing but files of the run."""
    labels, scores = content.tested["label"].to_numpy(), content.tested["score"].to_numpy()
    browser = content.browser
    name = "{backbone}, {strategy}, seed {seed}".format(**content.row)
    return template("trial.html.j2").render(
        study=content.study,
        trial=content.row,
        notices=content.notices,
        leaderboard=content.leaderboard,
        numbers=_numbers(content.row),
        learning=learning_curves(content.history, name) if len(content.history) else [],
        best_epoch=kept_epoch(content.history) if len(content.history) else None,
        histogram=[score_histogram(labels, scores, content.threshold, name)],
        calibration=[replace(chart, title="Calibration") for chart in calibration_curves(content.curves)],
        threshold=content.threshold,
        confusion={
            f"{label}{f' ({content.classes[str(label)]})' if content.classes else ''}": [
                int(((labels == label) & ((scores >= content.threshold) == called)).sum()) for called in (False, True)
            ]
            for label in (0, 1)
        },
        levels=content.levels.to_dicts(),
        level_names=LEVEL_NAMES,
        mean_panel=content.mean_panel and content.mean_panel[0],
        mean_alt=content.mean_panel and content.mean_panel[1],
        method=content.method,
        classes=content.classes,
        colour_ramp=colour_ramp(),
        images=browser is not None,
        data_file=browser and browser.data_file,
        sortable=[(column.name, column.title) for column in browser.sortable] if browser else [],
        flags=sorted(browser.flags.items()) if browser else [],
        flagged=browser.flagged if browser else 0,
        grid_exact=browser is None or browser.grid_exact,
    )


def _numbers(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The trial's main numbers with their intervals, as text."""
    named = (
        ("AUC", "auc", 3),
        ("F1", "f1", 3),
        ("Sensitivity", "sensitivity", 2),
        ("Specificity", "specificity", 2),
        ("AUC lost without vessels", "auc_drop_erased", 3),
        ("Vessel ratio, field of view", "vessel_ratio_fov", 2),
    )
    found = []
    for title, name, digits in named:
        value, low, high = row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")
        if value is not None:
            interval = "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"
            found.append((title, f"{value:.{digits}f}{interval}"))
    counts = f"{row['n_images']} of {row['n_patients']} patients, {row['n_positive']} positive"
    return [*found, ("Test images", counts)]
