"""The leaderboard as a table on the terminal, and the parts that terminal tables share."""

import re
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from benchmark.analysis.cross_validation import CrossValidation
from benchmark.analysis.leaderboard import OK, Leaderboard
from benchmark.report.readable import NOTHING, p_stated
from benchmark.storage.rundir import RunDirectory

LEAST_WIDTH = 80  # columns; every table fits into a terminal of this width without a cut
_COLUMNS = {"AUC": "auc", "F1": "f1", "artery": "artery_ratio", "vein": "vein_ratio", "vessel": "vessel_ratio"}


def print_board(board: Leaderboard | CrossValidation, out: Path, confidence: float, console: Console) -> int:
    """Print what a run has found; return how many trials failed."""
    if isinstance(board, CrossValidation):
        return print_cross_validation(board, out, confidence, console)
    return print_leaderboard(board, out, confidence, console)


def print_leaderboard(leaderboard: Leaderboard, out: Path, confidence: float, console: Console) -> int:
    """Print the trials, the correlation and the path of the page; return how many trials failed."""
    several_seeds = leaderboard.trials["seed"].n_unique() > 1
    done = leaderboard.trials.filter(status=OK)
    counts = ""
    if len(done):
        row = done.row(0, named=True)
        counts = (
            f"{row['n_images']} test images of {row['n_patients']} patients: {row['n_positive_patients']} with a "
            f"positive image, {row['n_negative_patients']} with a negative one."
        )
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"Below each number is its {100 * confidence:g} % interval over patients. Artery, vein, vessel: mean "
        f"saliency inside divided by the mean outside all vessels. {counts}".strip(),
        caption_justify="left",
    )
    table.add_column("trial")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    failed = 0
    for row in leaderboard.trials.iter_rows(named=True):
        name = Names(row["backbone"], row["strategy"] + (f" s{row['seed']}" if several_seeds else ""))
        if row["status"] == OK:
            table.add_row(
                name, *(estimate(row[key], row[f"{key}_low"], row[f"{key}_high"]) for key in _COLUMNS.values())
            )
        else:
            failed += 1
            table.add_row(name, "[red]failed")
    print_table(table, console)
    for row in leaderboard.trials.filter(pl.col("status") != OK).iter_rows(named=True):
        console.print(f"[red]✗[/] {escape(_called(row))}: {escape(row['status'])}")
    without = leaderboard.trials.filter((pl.col("status") == OK) & pl.col("vessel_ratio").is_null())
    for row in without.iter_rows(named=True):
        console.print(
            f"– {escape(_called(row))}: no ratio, because no test image has both vessels and a map that is not all zero"
        )
    done = leaderboard.trials.filter(status=OK)
    unable = done.filter(~pl.col("predicts")).height
    if unable:
        which = f"{unable} of {len(done)} trials {'is' if unable == 1 else 'are'}"
        console.print(
            f"– {which} not shown to predict better than chance: "
            "ratios are then hard to interpret, because an untrained model can also highlight vessels"
        )
    if len(done) and (of_patients := _per_patient(done.row(0, named=True))):
        console.print(of_patients)
    first = leaderboard.correlation.row(0, named=True)
    if first["estimate"] is not None:
        console.print(_correlation(first))
    console.print(f"Page: [bold]{escape(str(RunDirectory(out).leaderboard('html')))}", soft_wrap=True)
    return failed


def _per_patient(row: dict[str, Any]) -> str:
    """The AUC of patients of a trial; empty if every patient has one image, or if there is no AUC."""
    if row["auc_patient"] is None or row["n_images"] == row["n_patients"]:
        return ""
    bounds = (row["auc_patient_low"], row["auc_patient_high"])
    interval = "" if None in bounds else f" ({_range(*bounds)})"
    return (
        f"Per patient, the mean score of the images: AUC {row['auc_patient']:.3f}{interval} of {escape(_called(row))}, "
        f"{row['n_patients']} patients; the page has all trials"
    )


def print_cross_validation(board: CrossValidation, out: Path, confidence: float, console: Console) -> int:
    """Print the averages over folds and the path of the page; return how many trials failed in a fold."""
    several_seeds = board.cross_validated["seed"].n_unique() > 1
    done = board.cross_validated.filter(status=OK)
    counts = ""
    if len(done):
        row = done.row(0, named=True)
        counts = (
            f"{row['n_folds']} folds, {row['n_images']} images of {row['n_patients']} patients, "
            f"{row['n_positive_patients']} with a positive image."
        )
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"Means over folds; below each number is its {100 * confidence:g} % interval over patients. {counts}",
        caption_justify="left",
    )
    table.add_column("trial")
    columns = {"AUC": "auc", "sensitivity": "sensitivity", "specificity": "specificity", "vessel": "vessel_ratio"}
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in board.cross_validated.iter_rows(named=True):
        name = Names(row["backbone"], row["strategy"] + (f" s{row['seed']}" if several_seeds else ""))
        numbers = [estimate(row[key], row[f"{key}_low"], row[f"{key}_high"]) for key in columns.values()]
        table.add_row(name, *(numbers if row["status"] == OK else ["[red]failed"]))
    print_table(table, console)
    failed = board.cross_validated.filter(pl.col("status") != OK)
    for row in failed.iter_rows(named=True):
        console.print(f"[red]✗[/] {escape(_called(row))}: {escape(row['status'])}")
    console.print(f"Page: [bold]{escape(str(RunDirectory(out).leaderboard('html')))}", soft_wrap=True)
    return len(failed)


def _correlation(row: dict[str, Any]) -> str:
    """The correlation in a sentence, with the population that each number refers to."""
    patients = ""
    if row["patients_low"] is not None:
        patients = f" ({_range(row['patients_low'], row['patients_high'])} in other patients)"
    text = f"AUC and vessel ratio over these {row['n_cells']} cells: Spearman {row['estimate']:.2f}{patients}. "
    if row["low"] is None:
        text += f"Other cells: not known ({row['not_known']})"
    else:
        other = f"{row['corrected']:.2f} ({_range(row['low'], row['high'])})"
        text += f"Other cells, corrected for measurement error: {other}"
    test = row["method"] if row["p_value"] is None else f"p {p_stated(row['p_value'])} ({row['method']})"
    return f"{text}; {test}"


def _range(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


def print_table(table: Table, console: Console) -> None:
    """Print a table at least 80 columns wide; a narrower terminal wraps its lines, so no name or number is cut."""
    options = console.options.update(max_width=max(console.width, LEAST_WIDTH))
    console.print(Segments(console.render(table, options)), crop=False)


def _called(row: dict[str, Any]) -> str:
    return f"{row['backbone']} {row['strategy']} seed {row['seed']}"


def estimate(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval below it."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f}\n[dim]{low:.2f}–{high:.2f}[/]"


class Names:
    """Names below each other, as text without markup; a name that is too long is broken after punctuation.

    rich itself breaks only at spaces, and at any place in a text without spaces.
    """

    def __init__(self, *names: str) -> None:
        self._names = [re.findall(r".+?(?:[-_.:/ ]|$)", name) for name in names]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        parts = [len(part) for name in self._names for part in name]
        return Measurement(max(parts), max(sum(map(len, name)) for name in self._names))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = []
        for name in self._names:
            lines.append("")
            for part in name:
                if lines[-1] and len(lines[-1] + part.rstrip()) > options.max_width:
                    lines.append("")
                lines[-1] += part
        yield Text("\n".join(line.rstrip() for line in lines), overflow="fold")
