"""The published study's nine cells, and the relation of performance to explainability in its printed tables.

The figures are in `reference_data/`; its README names their source. They are printed to two decimals. The unrounded
numbers behind equal figures can have either order; those behind different figures cannot, because rounding never
reverses an order. The possible orders of the unrounded numbers are thus all ways to order each group of equal figures,
including ties. There are few enough to try all of them, so the range of a rank correlation is exact.
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
    # The file names a ratio by its region alone, which on the leaderboard would be the mean inside that region.
    names = {name.replace("_ratio", ""): name for name in EXPLAINABILITY_SCHEMA}
    schema = {printed: EXPLAINABILITY_SCHEMA[name] for printed, name in names.items()}
    return read_csv(_DATA / "snuh_2025_explainability.csv", schema=schema).rename(names)


def cells() -> pl.DataFrame:
    """Both tables joined, nine rows in the published order."""
    return performance().join(explainability(), on=["model", "strategy"], validate="1:1", maintain_order="left")


def recomputed() -> pl.DataFrame:
    """Spearman's rho of each measure of performance with each ratio over the nine cells, columns `RECOMPUTED_SCHEMA`.

    rho, low, high, p_value: from the printed figures. The interval is Fisher's (Bonett & Wright 2000), for other cells;
    p is exact over all orders with ties. The joint error of the figures over patients and trainings is not printed, so
    it is not removed as `stats.error_in_cells` would do: rho is nearer 0 than that of the true values. rho_lowest,
    rho_highest: the range over all numbers that round to those printed. p_lowest: p_value at the end of this range that
    is further from 0.
    """
    return pl.DataFrame(
        [_recompute(cells(), measure, ratio) for measure, ratio in product(PERFORMANCE, EXPLAINABILITY)],
        schema=RECOMPUTED_SCHEMA,
    )


def summary() -> list[str]:
    """The lines of text about what can be recomputed from the printed tables and what cannot."""
    found, table = recomputed(), cells()
    of_auc, of_artery = pl.col("performance") == "auc", pl.col("explainability") == "artery_ratio"
    pearson = np.corrcoef(table["auc"].to_numpy(), table["vessel_ratio"].to_numpy())[0, 1]
    return [
        "The published study (Seoul National University, 2025): do cells that predict better highlight vessels more?",
        "",
        "Spearman's rho over its nine cells (model x strategy), recomputed from the two printed tables, with the exact",
        "permutation p-value. Brackets: the lowest and the highest rho of all numbers that round to those printed, and",
        "the p-value of the one that is further from 0.",
        "",
        *(_line(row) for row in found.iter_rows(named=True)),
        "",
        "For other cells (backbones, strategies) the 95 % interval of rho, by Fisher's transformation of the printed",
        f"figures (Bonett & Wright 2000), is {_interval(found)} for AUC with the vessel ratio. It treats the figures",
        "as exact, because their joint error over patients and trainings is not printed. Such error moves rho towards",
        "0, so the interval is for a weakened relation. The p-values also generalise to other cells, not to patients.",
        "",
        "What comes out: no significant relation. For all numbers that round to those printed,",
        f"{_possible(found)}: this confirms the study's conclusion.",
        "However, nine cells have little power: p < 0.05 needs a rho of 0.70 or more, of either sign (without ties).",
        "",
        "What does not come out: the figure printed for the relation, \"Spearman's rank test, correlation coefficient",
        f'p = {PUBLISHED_FIGURE}". No pair of printed columns gives it, as rho or as p, and rounding can hardly do so:',
        f"- AUC with any ratio: {_possible(found.filter(of_auc))}.",
        f"- F1 with the vessel or the vein ratio: {_possible(found.filter(~of_auc, ~of_artery))}.",
        f"- F1 with the artery ratio: {_possible(found.filter(~of_auc, of_artery))}.",
        f"  A rho of {PUBLISHED_FIGURE} needs two exactly equal unrounded F1; otherwise 0.333 and 0.35 are nearest.",
        "Pearson's correlation of AUC with the vessel ratio, another statistic,",
        f"is {pearson:.3f} as printed and can be {PUBLISHED_FIGURE} within rounding.",
        "This may be the origin of the figure; the tables do not show whether it is.",
    ]


def orders_behind(printed: np.ndarray) -> np.ndarray:
    """Every order, including ties, of numbers that round to those printed (n,): ranks (orders, n), whole numbers.

    There are 1, 3, 13, 75, … ways to order a group of 1, 2, 3, 4, … equal figures, and the groups combine freely, so
    this is only for few ties.
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
    """Every way to rank `size` items with ties: the places 0, 1, … of the items, with no place left empty."""
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
