"""The published study's nine cells, and what its printed tables say about performance against explainability.

The figures lie in `reference_data/`, whose README names their source. They are printed to two decimals, so equal
figures may hide either order; different figures cannot, since rounding never turns two numbers round. The orders that
the unrounded numbers can have are thus all ways to order each group of equal figures, ties included: few enough to try
every one, which makes the range of a rank correlation exact.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmark.tables import read_csv
from stats.correlation import fisher_interval, spearman, spearman_resampled

PERFORMANCE = {"auc": "AUC", "f1": "F1"}
EXPLAINABILITY = {"vessel_ratio": "vessel ratio", "artery_ratio": "artery ratio", "vein_ratio": "vein ratio"}
PUBLISHED_FIGURE = 0.343

_DATA = Path(__file__).resolve().parent / "reference_data"


def _bounded(*names: str) -> dict[str, type[pl.DataType]]:
    return {column: pl.Float64 for name in names for column in (name, f"{name}_low", f"{name}_high")}


PERFORMANCE_SCHEMA: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "architecture": pl.String,
    "pretrained_domain": pl.String,
    "strategy": pl.String,
    **_bounded("auc", "f1"),
}
EXPLAINABILITY_SCHEMA: dict[str, type[pl.DataType]] = {
    "model": pl.String,
    "strategy": pl.String,
    **_bounded("artery_ratio", "vein_ratio", "vessel_ratio"),
}
RECOMPUTED_SCHEMA: dict[str, type[pl.DataType]] = {
    "performance": pl.String,
    "explainability": pl.String,
    "rho": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "rho_lowest": pl.Float64,
    "rho_highest": pl.Float64,
    "p_lowest": pl.Float64,
    "n_cells": pl.Int64,
}


def performance() -> pl.DataFrame:
    """AUC and F1 of the nine cells with their 95 % bounds, columns `PERFORMANCE_SCHEMA`."""
    return read_csv(_DATA / "snuh_2025_performance.csv", schema=PERFORMANCE_SCHEMA)


def explainability() -> pl.DataFrame:
    """Ratios of the nine cells with their 95 % bounds, columns `EXPLAINABILITY_SCHEMA`."""
    # The file calls a ratio by its region alone; on the leaderboard that would be the mean inside it.
    names = {name.replace("_ratio", ""): name for name in EXPLAINABILITY_SCHEMA}
    schema = {printed: EXPLAINABILITY_SCHEMA[name] for printed, name in names.items()}
    return read_csv(_DATA / "snuh_2025_explainability.csv", schema=schema).rename(names)


def cells() -> pl.DataFrame:
    """Both tables in one, nine rows in the published order."""
    return performance().join(explainability(), on=["model", "strategy"], validate="1:1", maintain_order="left")


def recomputed() -> pl.DataFrame:
    """Spearman's rho of each measure of performance with each ratio over the nine cells, columns `RECOMPUTED_SCHEMA`.

    rho, low, high, p_value: of the printed figures; the interval is Fisher's (Bonett & Wright 2000), for other cells, p
    exact over all orders with ties. How patients and trainings make the figures err together is not printed, so their
    error is not taken out, as `stats.error_in_cells` would: rho is nearer 0 than that of the true values. rho_lowest,
    rho_highest: the least and the greatest of any numbers that round to those printed. p_lowest: p_value at the one of
    the two further from 0.
    """
    return pl.DataFrame(
        [_recompute(cells(), measure, ratio) for measure, ratio in product(PERFORMANCE, EXPLAINABILITY)],
        schema=RECOMPUTED_SCHEMA,
    )


def summary() -> list[str]:
    """What can be recomputed from the printed tables and what cannot, line by line."""
    found, table = recomputed(), cells()
    of_auc, of_artery = pl.col("performance") == "auc", pl.col("explainability") == "artery_ratio"
    pearson = np.corrcoef(table["auc"].to_numpy(), table["vessel_ratio"].to_numpy())[0, 1]
    return [
        "The published study (Seoul National University, 2025): do cells that predict better look at vessels more?",
        "",
        "Spearman's rho over its nine cells (model x strategy), recomputed from the two printed tables, and the exact",
        "permutation p-value. In brackets the least and the greatest rho of any numbers that round to those printed,",
        "and the p-value of the one further from 0.",
        "",
        *(_line(row) for row in found.iter_rows(named=True)),
        "",
        "For other cells (backbones, strategies) the 95 % interval of rho, by Fisher's transformation of the printed",
        f"figures (Bonett & Wright 2000), is {_interval(found)} for AUC with the vessel ratio. It takes the figures as",
        "exact: how patients and trainings make them err together is not printed. Such error brings rho towards 0, so",
        "the interval is about a weakened relation. The p-values, too, are about other cells, none about patients.",
        "",
        "What comes out: no significant relation. With all that rounding can hide,",
        f"{_possible(found)}: the study's conclusion stands.",
        "Nine cells can show little, though: p < 0.05 takes a rho of 0.70 or more, of either sign (without ties).",
        "",
        "What does not: the one figure printed for the relation, \"Spearman's rank test, correlation coefficient",
        f'p = {PUBLISHED_FIGURE}". No pair of printed columns gives it, as rho or as p, and rounding hardly can:',
        f"- AUC with any ratio: {_possible(found.filter(of_auc))}.",
        f"- F1 with the vessel or the vein ratio: {_possible(found.filter(~of_auc, ~of_artery))}.",
        f"- F1 with the artery ratio: {_possible(found.filter(~of_auc, of_artery))}.",
        f"  A rho of {PUBLISHED_FIGURE} needs two unrounded F1 that are exactly equal; next to it are 0.333 and 0.35.",
        "Pearson's correlation of AUC with the vessel ratio, another statistic,",
        f"is {pearson:.3f} as printed and can be {PUBLISHED_FIGURE} within rounding.",
        "The figure may come from there; the tables cannot tell.",
    ]


def orders_behind(printed: np.ndarray) -> np.ndarray:
    """Every order, ties included, of numbers that round to those printed (n,): ranks (orders, n), whole numbers.

    There are 1, 3, 13, 75, … ways to order a group of 1, 2, 3, 4, … equal figures, and every way of one group goes with
    every way of the others: meant for few ties.
    """
    levels = np.unique(printed, return_inverse=True)[1]
    groups = [np.flatnonzero(levels == level) for level in range(levels.max() + 1)]
    orders = []
    for places_of_groups in product(*(_weak_orders(len(group)) for group in groups)):
        ranks = levels * len(levels)  # leaves room for the places within each group
        for group, places in zip(groups, places_of_groups, strict=True):
            ranks[group] += places
        orders.append(ranks)
    return np.array(orders)


def _weak_orders(size: int) -> list[tuple[int, ...]]:
    """Every way to rank so many items with ties: the places 0, 1, … that each takes, with none left empty."""
    return [places for places in product(range(size), repeat=size) if len(set(places)) == max(places) + 1]


def _recompute(table: pl.DataFrame, measure: str, ratio: str) -> dict[str, Any]:
    x, y = table[measure].to_numpy(), table[ratio].to_numpy()
    printed = spearman(x, y)
    x_orders, y_orders = orders_behind(x), orders_behind(y)
    each_x, each_y = np.repeat(x_orders, len(y_orders), axis=0), np.tile(y_orders, (len(x_orders), 1))
    possible = spearman_resampled(each_x, each_y)
    furthest = np.argmax(np.abs(possible))
    return {
        "performance": measure,
        "explainability": ratio,
        "rho": printed.coefficient,
        **dict(zip(("low", "high"), fisher_interval(printed.coefficient, printed.n), strict=True)),
        "p_value": printed.p_value,
        "rho_lowest": possible.min(),
        "rho_highest": possible.max(),
        "p_lowest": spearman(each_x[furthest], each_y[furthest]).p_value,
        "n_cells": printed.n,
    }


def _line(row: dict[str, Any]) -> str:
    pair = f"{PERFORMANCE[row['performance']]} with {EXPLAINABILITY[row['explainability']]}"
    possible = f"[{row['rho_lowest']:6.3f}, {row['rho_highest']:5.3f}]"
    return f"  {pair:<22}{row['rho']:6.3f}   p = {row['p_value']:.3f}   {possible}   p = {row['p_lowest']:.3f}"


def _interval(rows: pl.DataFrame) -> str:
    low, high = rows.filter(performance="auc", explainability="vessel_ratio").select("low", "high").row(0)
    return f"{low:.2f} to {high:.2f}"


def _possible(rows: pl.DataFrame) -> str:
    low, high, p_value = rows.select(pl.min("rho_lowest"), pl.max("rho_highest"), pl.min("p_lowest")).row(0)
    return f"rho is between {low:.3f} and {high:.3f}, p at least {p_value:.3f}"
