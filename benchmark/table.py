"""The leaderboard as a table on the terminal."""

from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.leaderboard import OK, Leaderboard
from benchmark.rundir import RunDirectory

_COLUMNS = {"AUC": "auc", "F1": "f1", "artery": "artery_ratio", "vein": "vein_ratio", "vessel": "vessel_ratio"}


def print_leaderboard(leaderboard: Leaderboard, out: Path, confidence: float, console: Console) -> int:
    """Print the cells, the correlation and where the page is; returns how many cells failed."""
    several_seeds = leaderboard.cells["seed"].n_unique() > 1
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"Below each number its {100 * confidence:g} % interval over people. "
        "Artery, vein, vessel: mean saliency inside over that outside all vessels.",
        caption_justify="left",
    )
    table.add_column("cell", overflow="fold")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    failed = 0
    for row in leaderboard.cells.iter_rows(named=True):
        seed = f" s{row['seed']}" if several_seeds else ""
        name = f"{row['backbone']}\n{row['strategy']}{seed}"
        if row["status"] == OK:
            table.add_row(name, *(_estimate(row, key) for key in _COLUMNS.values()))
        else:
            failed += 1
            table.add_row(name, "[red]failed")
    console.print(table)
    for row in leaderboard.cells.filter(pl.col("status") != OK).iter_rows(named=True):
        console.print(f"[red]✗[/] {row['backbone']} {row['strategy']} seed {row['seed']}: {escape(row['status'])}")
    without = leaderboard.cells.filter((pl.col("status") == OK) & pl.col("vessel_ratio").is_null())
    for row in without.iter_rows(named=True):
        console.print(
            f"– {row['backbone']} {row['strategy']} seed {row['seed']}: no ratio, since no test image has both vessels "
            "and a map that is not all zero"
        )
    first = leaderboard.correlation.row(0, named=True)
    if first["estimate"] is not None:
        interval = f" [{first['low']:.2f}, {first['high']:.2f}]" if first["low"] is not None else ""
        console.print(
            f"AUC against vessel ratio over {first['n_cells']} cells: Spearman {first['estimate']:.2f}{interval}, "
            f"p = {first['p_value']:.3f} ({first['method']})"
        )
    console.print(f"Page: [bold]{escape(str(RunDirectory(out).leaderboard('html')))}", soft_wrap=True)
    return failed


def _estimate(row: dict[str, Any], key: str) -> str:
    if row[key] is None:
        return "–"
    if row[f"{key}_low"] is None:
        return f"{row[key]:.3f}"
    return f"{row[key]:.3f}\n[dim]{row[f'{key}_low']:.2f}–{row[f'{key}_high']:.2f}[/]"
