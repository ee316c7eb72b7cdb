"""The section "Covariates and subgroups" of leaderboard.html: tables as rows, and what it concludes in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.covariate_tables import CovariateTables
from benchmark.analysis.image_adds import SEPARATOR
from benchmark.analysis.leaderboard import Leaderboard
from benchmark.report.charts.drawing import Chart
from benchmark.report.charts.forest import added_forest
from benchmark.report.charts.subgroups import subgroup_forests

GROUPS = {
    "train": "Training",
    "val": "Validation",
    "test": "Test",
    "positive": "Positive",
    "negative": "Negative",
}
MEASURES = {"spearman": "rank correlation", "r_squared": "R squared", "auc": "AUC"}


def shown(board: Leaderboard) -> dict[str, Any] | None:
    """What the template of the section needs; None if the study has no covariates."""
    tables = board.of_covariates
    if tables is None:
        return None
    return {
        "groups": _groups(tables.covariates),
        "baseline": _baseline(tables.covariates),
        "adds": tables.image_adds.to_dicts(),
        "predicts": [row | {"called": MEASURES[row["measure"]]} for row in tables.score_predicts.to_dicts()],
        "subgroups": _wide(tables.subgroups, "subgroup"),
        "tests": _tests(tables),
        "names": listed(tables.covariates["covariate"].unique(maintain_order=True).to_list()),
        "charts": charts(board, tables),
    }


def charts(board: Leaderboard, tables: CovariateTables) -> dict[str, list[Chart]]:
    """The AUCs with and without covariates, and those of the first trial in every subgroup."""
    added = added_forest(tables.image_adds)
    return {"added": [added] if added else [], "subgroups": subgroup_forests(tables.subgroups, board.trials)}


def _groups(baseline: pl.DataFrame) -> list[dict[str, Any]]:
    """The groups of patients of Table 1, with their numbers."""
    counts = dict(baseline.select("patients", "n_patients").iter_rows())
    return [{"name": name, "called": called, "n": counts[name]} for name, called in GROUPS.items() if name in counts]


def _baseline(baseline: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per covariate, followed by one per category.

    `of`: group -> its row of covariates.csv; `digits`: decimals of the numbers of the covariate.
    """
    rows: dict[tuple[str, str | None], dict[str, Any]] = {}
    for row in baseline.to_dicts():
        key = (row["covariate"], row["category"])
        named = {name: row[name] for name in ("covariate", "category", "kind")}
        rows.setdefault(key, named | {"of": {}, "digits": 0})["of"][row["patients"]] = row
        if row["sd"]:
            rows[key]["digits"] = max(rows[key]["digits"], _digits(row["sd"]))
    in_order = {name: place for place, name in enumerate(dict.fromkeys(baseline["covariate"]))}
    return sorted(rows.values(), key=lambda row: in_order[row["covariate"]])


def _digits(sd: float) -> int:
    """Decimals that show two digits of a standard deviation; at most four."""
    return min(max(1 - math.floor(math.log10(sd)), 0), 4)


def _wide(subgroups: pl.DataFrame, name: str) -> list[dict[str, Any]]:
    """One row per trial, covariate and subgroup, with the value and the bounds of each measure as columns."""
    keys = (*TRIAL, "covariate", name)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in subgroups.to_dicts():
        found = rows.setdefault(tuple(row[key] for key in keys), {key: row[key] for key in keys})
        measure = row["measure"]
        found |= {measure: row["value"], f"{measure}_low": row["low"], f"{measure}_high": row["high"]}
        if measure == "auc":
            found |= {count: row[count] for count in ("n_images", "n_patients", "n_positive")}
    return list(rows.values())


def _tests(tables: CovariateTables) -> list[dict[str, Any]]:
    """One row per trial and covariate: the adjusted P value of every measure, and the AUC within subgroups."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in tables.heterogeneity.to_dicts():
        key = tuple(row[name] for name in (*TRIAL, "covariate"))
        found = rows.setdefault(key, {name: row[name] for name in (*TRIAL, "covariate", "n_missing")})
        found[f"{row['measure']}_p"] = row["p_holm"]
        if row["measure"] == "auc":
            found |= {name: row[name] for name in ("within", "within_low", "within_high")}
    return list(rows.values())


def explained(board: Leaderboard) -> list[str]:
    """The sentence that names the trials which covariates may explain, if there are any.

    It comes first on the page, because it changes what all other numbers mean.
    """
    if board.of_covariates is None:
        return []
    rows = board.of_covariates.image_adds.filter("explained").to_dicts()
    if not rows:
        return []
    followed = listed(dict.fromkeys(name for row in rows for name in row["predicts_covariates"].split(SEPARATOR)))
    covariates = _said(rows[0]["covariates"])
    which = _trial(rows[0], board) if len(rows) == 1 else _of_predicting(len(rows), board)
    highest = max(rows, key=lambda row: row["adjusted_auc"])
    if len(rows) > 1:
        what, claim = "predictions", "their scores follow {}, are"
        of_equal, these = "the highest of their AUCs", "these predictions"
    else:
        what, claim = "prediction", "its score follows {}, is"
        of_equal, these = "its AUC", "this prediction"
    return [
        f"{_capital(followed)} may explain the {what} of {which}: {claim.format(followed)} not shown to add "
        f"to {covariates}, and among patients of equal {covariates}, {of_equal} is {_auc(highest)}. Do not interpret "
        f"{these} as a sign of the disease in the image."
    ]


def added(board: Leaderboard) -> str:
    """Which trials are shown to add to the covariates."""
    if board.of_covariates is None:
        return ""
    known = board.of_covariates.image_adds.drop_nulls("adds")
    if known.is_empty():
        return ""
    rows, covariates = known.filter("adds").to_dicts(), _said(known["covariates"][0])
    tested = f"likelihood ratio, adjusted for {len(known)} trials" if len(known) > 1 else "likelihood ratio"
    if not rows and known["explained"].any():
        return ""  # said by `explained`
    if not rows:
        which = "The trial is" if len(known) == 1 else f"None of the {len(known)} trials is"
        return f"{which} shown to add to {covariates} ({tested})."
    best = max(rows, key=lambda row: row["auc_gain"])
    gain = f"from {best['auc_covariates']:.3f} to {best['auc_both']:.3f}"
    if len(rows) == 1:
        return f"{_capital(_trial(best, board))} is shown to add to {covariates}: the AUC rises {gain} ({tested})."
    count = f"All {len(rows)}" if len(rows) == len(known) else f"{len(rows)} of {len(known)}"
    return (
        f"{count} trials are shown to add to {covariates} ({tested}); with "
        f"{_trial(best, board)}, the AUC rises most, {gain}."
    )


def differing(board: Leaderboard) -> str:
    """Between the subgroups of which covariates the AUC differs."""
    if board.of_covariates is None:
        return ""
    tests = board.of_covariates.heterogeneity.filter("differs", measure="auc")
    if tests.is_empty():
        return ""
    parts = []
    for name in tests["covariate"].unique(maintain_order=True):
        rows = tests.filter(covariate=name).to_dicts()
        count = f"{len(rows)} trials" if len(rows) > 1 else _trial(rows[0], board)
        parts.append(f"{name} ({count})")
    return f"The AUC differs between subgroups of {listed(parts)}; adjusted for all covariates and trials."


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Names as in a sentence: "age, sex and camera"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _said(covariates: str) -> str:
    return listed(covariates.split(SEPARATOR))


def _trial(row: Mapping[str, Any], board: Leaderboard) -> str:
    seeds = board.trials["seed"].n_unique() > 1
    return f"{row['backbone']} {row['strategy']}" + (f" seed {row['seed']}" if seeds else "")


def _of_predicting(count: int, board: Leaderboard) -> str:
    predicting = board.trials.filter("predicts").height
    return f"all {count} trials that predict" if count == predicting else f"{count} of {predicting} trials that predict"


def _auc(row: Mapping[str, Any]) -> str:
    low, high = row["adjusted_auc_low"], row["adjusted_auc_high"]
    bounds = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return f"{row['adjusted_auc']:.3f}{bounds}"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
