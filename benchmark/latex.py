"""leaderboard.tex: the cells as a table for a paper (LaTeX with booktabs), best and tied with the best marked."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from benchmark.comparisons import tied_best
from benchmark.leaderboard import OK, Leaderboard

COLUMNS = {
    "auc": ("AUC", 3),
    "f1": ("F1", 3),
    "artery_ratio": ("Artery", 2),
    "vein_ratio": ("Vein", 2),
    "vessel_ratio": ("Vessel", 2),
}
_ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {character: f"{{{character}}}" for character in "[*"}  # at the start of a row, options of the line break before
)


def latex(leaderboard: Leaderboard, title: str, confidence: float) -> str:
    """A table environment; failed cells are left out and counted in the caption."""
    done = leaderboard.cells.filter(pl.col("status") == OK)
    several_seeds = done["seed"].n_unique() > 1
    marks = {measure: _marks(done, leaderboard.comparisons, measure, 1 - confidence) for measure in COLUMNS}
    names = ["Backbone", "Strategy", *(["Seed"] if several_seeds else []), *(label for label, _ in COLUMNS.values())]
    failed = len(leaderboard.cells) - len(done)
    caption = (
        f"{escape(title)}: prediction and saliency on the test images, with {100 * confidence:g}\\,\\% intervals over "
        "people. Artery, vein, vessel: mean saliency inside over that outside all vessels. Bold: highest; "
        "$\\dagger$: not distinguishable from it (Holm-adjusted)."
        + (f" {failed} failed cell{'s' if failed > 1 else ''} left out." if failed else "")
    )
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        rf"  \begin{{tabular}}{{{'l' * (len(names) - len(COLUMNS))}{'r' * len(COLUMNS)}}}",
        r"    \toprule",
        f"    {' & '.join(names)} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(_row(row, i, marks, several_seeds))} \\\\" for i, row in enumerate(done.to_dicts())),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Any text as LaTeX prints it, on one line."""
    return " ".join(text.split()).translate(_ESCAPED)


def _marks(done: pl.DataFrame, comparisons: pl.DataFrame, measure: str, alpha: float) -> Sequence[str]:
    """For each cell "best", "tied" or nothing."""
    best = done[measure].max()
    tied = tied_best(done, comparisons, measure, alpha)
    return [
        "best" if value is not None and value == best else "tied" if same else ""
        for value, same in zip(done[measure], tied, strict=True)
    ]


def _row(row: dict[str, Any], index: int, marks: dict[str, Sequence[str]], several_seeds: bool) -> list[str]:
    named = [escape(row["backbone"]), escape(row["strategy"]), *([str(row["seed"])] if several_seeds else [])]
    return named + [_number(row, name, digits, marks[name][index]) for name, (_, digits) in COLUMNS.items()]


def _number(row: dict[str, Any], name: str, digits: int, mark: str) -> str:
    if row[name] is None:
        return "--"
    value = f"{row[name]:.{digits}f}"
    value = rf"\textbf{{{value}}}" if mark == "best" else f"{value}$^\\dagger$" if mark == "tied" else value
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return value if low is None or high is None else f"{value} ({low:.{digits}f}--{high:.{digits}f})"
