"""leaderboard.tex: the trials as a table for a paper (LaTeX with booktabs), with marks for the best and its ties."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from benchmark.analysis.comparisons import tied_best
from benchmark.analysis.leaderboard import OK, Leaderboard

COLUMNS = {
    "auc": ("AUC", 3),
    "f1": ("F1", 3),
    "artery_ratio": ("Artery", 2),
    "vein_ratio": ("Vein", 2),
    "vessel_ratio": ("Vessel", 2),
}
PATIENT_COLUMN = {"auc_patient": ("Patient", 3)}  # after the AUC, if patients have several images
CHANCE_COLUMN = "vessel_ratio_null"
_ROOMY = 7  # columns that fit in the size of the text
_ESCAPED = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {character: f"{{{character}}}" for character in "[*"}  # as the first of a row: an option of the line break
)


def latex(leaderboard: Leaderboard, title: str, confidence: float) -> str:
    """A table environment, narrow enough for a page of 345 pt unless names are long.

    A trial takes two rows: backbone and values; strategy, seed where there are several, and intervals. Failed trials
    are left out and counted in the caption. If no trial is shown to predict better than chance, no AUC is marked.
    """
    done = leaderboard.trials.filter(pl.col("status") == OK)
    several_seeds, several_counts = (done[name].n_unique() > 1 for name in ("seed", "n_ratio"))
    chance = done[CHANCE_COLUMN].is_not_null().any()
    marks = {measure: _marks(done, leaderboard.comparisons, measure, 1 - confidence) for measure in COLUMNS}
    columns, per_patient = COLUMNS, done.filter(pl.col("n_images") > pl.col("n_patients"))["auc_patient"]
    if len(per_patient.drop_nulls()):
        columns = {"auc": COLUMNS["auc"], **PATIENT_COLUMN, **COLUMNS}
        marks |= {name: [""] * len(done) for name in PATIENT_COLUMN}
    sentences = [
        f"{escape(title)}: {_tested(done)}, with {100 * confidence:g}\\,\\% intervals over patients.",
        "Artery, vein, vessel: mean saliency inside divided by the mean outside all vessels" + _with_ratio(done) + ".",
        "Bold: highest of these trained models; $\\dagger$: trained models that do not differ significantly from it "
        "(Holm-adjusted).",
    ]
    if columns is not COLUMNS:
        sentences.append("Patient: AUC of patients, each with the mean score of the images; marks refer to the others.")
    if chance:
        sentences.append("Chance: the vessel ratio of the same maps on other patients' vessels, with a one-sided $p$.")
    if len(done) and not done["predicts"].any():
        marks["auc"] = [""] * len(done)
        if not done["predicts"].has_nulls():  # as of an AUC of 1
            sentences.append("No AUC is marked, because no trial is shown to predict better than chance.")
    failed = len(leaderboard.trials) - len(done)
    if failed:
        sentences.append(f"{failed} failed trial{'s are' if failed > 1 else ' is'} left out.")
    names = ["Backbone, strategy" + (", seed" if several_seeds else ""), *(label for label, _ in columns.values())]
    names += (["Chance"] if chance else []) + (["$n$"] if several_counts else [])
    rows = [
        _rows(row, i, columns, marks, several_seeds, several_counts, chance) for i, row in enumerate(done.to_dicts())
    ]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        r"  \footnotesize\setlength{\tabcolsep}{2pt}" if len(names) > _ROOMY else r"  \setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{' '.join(sentences)}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(names)} \\\\",
        r"    \midrule",
        *"\n    \\addlinespace\n".join(rows).splitlines(),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Escape any text so that LaTeX prints it, on one line."""
    return " ".join(text.split()).translate(_ESCAPED)


def _marks(done: pl.DataFrame, comparisons: pl.DataFrame, measure: str, alpha: float) -> Sequence[str]:
    """For each trial: "best", "tied" or an empty text."""
    best = done[measure].max()
    tied = tied_best(done, comparisons, measure, alpha)
    return [
        "best" if value is not None and value == best else "tied" if same else ""
        for value, same in zip(done[measure], tied, strict=True)
    ]


def _tested(done: pl.DataFrame) -> str:
    """What the numbers were computed on: the same test images for every trial."""
    if done.is_empty():
        return "prediction and saliency on the test images"
    counts = ("n_images", "n_positive", "n_patients", "n_positive_patients")
    images, positive, patients, with_positive = done.select(counts).row(0)
    return (
        f"prediction and saliency on {images:,} test images ({positive:,} positive) of {patients:,} patients "
        f"({with_positive:,} with a positive image)"
    )


def _with_ratio(done: pl.DataFrame) -> str:
    """How many images have a vessel ratio; empty if all have one."""
    counts = done["n_ratio"].unique()
    if len(counts) > 1:
        return "; $n$: images that have a vessel ratio"
    few = done.filter(pl.col("n_ratio") < pl.col("n_images"))
    return f"; {few['n_ratio'][0]:,} images have a vessel ratio" if len(few) else ""


def _rows(
    row: dict[str, Any],
    index: int,
    columns: Mapping[str, tuple[str, int]],
    marks: dict[str, Sequence[str]],
    several_seeds: bool,
    several_counts: bool,
    chance: bool,
) -> str:
    """The two rows of a trial."""
    values = [_value(row[name], digits, marks[name][index]) for name, (_, digits) in columns.items()]
    intervals = [_interval(row[f"{name}_low"], row[f"{name}_high"], digits) for name, (_, digits) in columns.items()]
    first, second = [escape(row["backbone"]), *values], [escape(row["strategy"]), *intervals]
    if several_seeds:
        second[0] += f", {row['seed']}"
    if chance:
        first.append(_value(row[CHANCE_COLUMN], 2, ""))
        second.append(_p_value(row[f"{CHANCE_COLUMN}_p"]))
    if several_counts:
        first, second = [*first, f"{row['n_ratio']:,}"], [*second, ""]
    return "\n".join(f"    {' & '.join(cells)} \\\\" for cells in (first, second))


def _value(value: float | None, digits: int, mark: str) -> str:
    if value is None:
        return "--"
    text = f"{value:.{digits}f}"
    return rf"\textbf{{{text}}}" if mark == "best" else rf"{text}\rlap{{$^\dagger$}}" if mark == "tied" else text


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "" if low is None or high is None else rf"\scriptsize {low:.{digits}f}--{high:.{digits}f}"


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return r"\scriptsize $p$ " + ("$<$0.001" if value < 0.001 else f"{value:.3f}")
