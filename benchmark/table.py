"""The leaderboard as a table on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.leaderboard import OK, Leaderboard
from benchmark.rundir import RunDirectory

_COLUMNS = {
    "AUC": ("auc", 3),
    "F1": ("f1", 3),
    "artery": ("artery_ratio", 2),
    "vein": ("vein_ratio", 2),
    "vessel": ("vessel_ratio", 2),
}


def print_leaderboard(leaderboard: Leaderboard, out: Path, console: Console) -> int:
    """Print the cells, the correlation and where the page is; returns how many cells failed."""
    several_seeds = leaderboard.cells["seed"].n_unique() > 1
    table = Table(
        title="Leaderboard",
        caption="95 % intervals; ratios: mean Grad-CAM inside over outside the vessels",
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("backbone", "strategy", *(["seed"] if several_seeds else [])):
        table.add_column(heading, overflow="fold")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    failed = 0
    for row in leaderboard.cells.iter_rows(named=True):
        name = [row["backbone"], row["strategy"], *([str(row["seed"])] if several_seeds else [])]
        if row["status"] == OK:
            table.add_row(*name, *(_interval(row, key, digits) for key, digits in _COLUMNS.values()))
        else:
            failed += 1
            table.add_row(*name, "[red]failed", style="dim")
    console.print(table)
    for row in leaderboard.cells.filter(leaderboard.cells["status"] != OK).iter_rows(named=True):
        console.print(f"[red]✗[/] {row['backbone']} {row['strategy']} seed {row['seed']}: {escape(row['status'])}")
    first = leaderboard.correlation.row(0, named=True)
    if first["rho"] is not None:
        interval = f" [{first['rho_low']:.2f}, {first['rho_high']:.2f}]" if first["rho_low"] is not None else ""
        console.print(
            f"AUC against vessel ratio over {first['n_cells']} cells: Spearman {first['rho']:.2f}{interval}, "
            f"p = {first['p_value']:.3f} ({first['method']})"
        )
    console.print(f"Page: [bold]{escape(str(RunDirectory(out).leaderboard('html')))}", soft_wrap=True)
    return failed


def _interval(row: dict, key: str, digits: int) -> str:
    if row[key] is None:
        return "–"
    if row[f"{key}_low"] is None:
        return f"{row[key]:.{digits}f}"
    return f"{row[key]:.{digits}f} [dim]{row[f'{key}_low']:.{digits}f}–{row[f'{key}_high']:.{digits}f}[/]"
