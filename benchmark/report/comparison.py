"""A comparison of runs as a table on the terminal."""

from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.analysis.compare import SIDES
from benchmark.analysis.comparisons import TRIAL
from benchmark.report.readable import p_value
from benchmark.report.terminal import Names, estimate, print_table


def print_comparison(table: pl.DataFrame, confidence: float, console: Console) -> None:
    """Print AUC and vessel ratio of every trial in both runs; the other measures are in the file."""
    for (run_a, run_b), of_pair in table.group_by("run_a", "run_b", maintain_order=True):
        shown = Table(
            title=f"{escape(str(run_b))} (b) minus {escape(str(run_a))} (a), these trained models",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            caption=f"Below each number is its {100 * confidence:g} % interval over patients; p is Holm-adjusted.",
            caption_justify="left",
        )
        shown.add_column("trial")
        for heading in ("measure", *SIDES, "b - a", "p"):
            shown.add_column(heading, justify="left" if heading == "measure" else "right", no_wrap=True)
        for row in of_pair.filter(pl.col("measure").is_in(["auc", "vessel_ratio"])).sort(*TRIAL, "measure").to_dicts():
            shown.add_row(
                Names(row["backbone"], f"{row['strategy']} s{row['seed']}"),
                {"auc": "AUC", "vessel_ratio": "vessel\nratio"}[row["measure"]],
                *(estimate(row[side], row[f"{side}_low"], row[f"{side}_high"]) for side in SIDES),
                row["method"] if row["difference"] is None else _difference(row),
                p_value(row["p_holm"]),
            )
        print_table(shown, console)


def _difference(row: dict[str, Any]) -> str:
    text = f"{row['difference']:+.3f}"
    return text if row["low"] is None else f"{text}\n[dim]{row['low']:+.3f} to {row['high']:+.3f}[/]"
