"""The section “Internal and external” of the page of an external cohort, and its first sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.external import CARRIED_OVER, ExternalValidation
from benchmark.report.charts.curve_panels import calibration_curves
from benchmark.report.charts.drawing import Chart
from benchmark.report.charts.forest import cohorts_forest

SIDES = ("own test patients", "external cohort")
_SHIFTS = {
    "sharpness": "Sharpness (log₁₀ of the variance of the Laplacian)",
    "brightness": "Brightness (mean luminance)",
    "contrast": "Contrast (standard deviation of the luminance)",
    "redness": "Share of red",
    "artery": "Share of the field of view that is artery",
    "vein": "Share that is vein",
    "vessel": "Share that is vessel",
    "fov": "Field of view, share of the square",
    "on_vessels": "Correlation of the masks with dark lines",
    "disagreement": "Disagreement of the segmenting networks",
}
METHODS = {
    (CARRIED_OVER, ""): "Carried over from the run",
    ("logistic", "validation"): "Logistic, fitted on the run’s validation images",
    ("isotonic", "validation"): "Isotonic, fitted on the run’s validation images",
    ("logistic", "external"): "Logistic, fitted on external patients",
    ("isotonic", "external"): "Isotonic, fitted on external patients",
}


@dataclass(frozen=True)
class ExternalContent:
    """What the page of an external cohort shows of the run that trained its models.

    Attributes:
        run: the name of that run's study.
        page: the address of its page.
        trained_patients: patients on whom the models were trained.
        internal_patients: its test patients.
        tables: the comparison.
        own_curves: `curves.csv` of that run; empty if it has none.
    """

    run: str
    page: str
    trained_patients: int
    internal_patients: int
    tables: ExternalValidation
    own_curves: pl.DataFrame


def external_sentences(content: ExternalContent) -> list[str]:
    """What a reader must know first: that these patients are others, and what the change costs."""
    found = content.tables.external.filter(measure="auc").drop_nulls("difference")
    if found.is_empty():
        return []
    drops = found.sort("difference")
    worst = drops.row(0, named=True)
    significant = int((found.filter(pl.col("difference") < 0)["p_holm"] < 0.05).sum())
    alike = "trial" if len(found) == 1 else f"{len(found)} trials"
    change = (
        f"Compared with {content.internal_patients} test patients of that run, the AUC changed by "
        f"{_signed(drops['difference'][0])} to {_signed(drops['difference'][-1])} "
        f"(mean {_signed(float(found['difference'].to_numpy().mean()))})"
        if len(found) > 1
        else f"Compared with {content.internal_patients} test patients of that run, the AUC changed by "
        f"{_signed(worst['difference'])}"
    )
    tested = (
        f"it is significantly lower in {significant} of {alike} (adjusted for all trials)."
        if significant
        else f"no fall is significant in these {alike}, with intervals as wide as "
        f"{_signed(worst['difference_low'])} to {_signed(worst['difference_high'])}."
        if worst["difference_low"] is not None
        else "its interval is not known."
    )
    slopes = content.tables.external.filter(measure="calibration_slope")["external"].drop_nulls()
    extreme = int((slopes < 1).sum())
    return [
        f"External validation: the models were trained on {content.trained_patients} patients of “{content.run}”, and "
        "nothing was fitted to the patients of this page.",
        f"{change}; {tested}",
        *(
            [f"Predicted risks are too extreme here (calibration slope below 1) in {extreme} of {len(slopes)} trials."]
            if extreme
            else []
        ),
    ]


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def external_view(content: ExternalContent, curves: pl.DataFrame, order: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """The values of the template.

    Args:
        curves: `curves.csv` of the external cohort.
        order: trials in the order of the leaderboard.
    """
    place = {key: number for number, key in enumerate(order)}

    def ordered(table: pl.DataFrame) -> list[dict[str, Any]]:
        rows = table.fill_nan(None).to_dicts()
        return sorted(rows, key=lambda row: place.get(tuple(row[name] for name in TRIAL), len(place)))

    table = content.tables.external
    whole = [row for row in ordered(table) if row["point"] is None]
    trials: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in whole:
        key = tuple(row[name] for name in TRIAL)
        trials.setdefault(key, dict(zip(TRIAL, key, strict=True)))[row["measure"]] = row
    return {
        "content": content,
        "trials": list(trials.values()),
        "points": _points(ordered(table.drop_nulls("point"))),
        "recalibration": [
            row | {"called": METHODS[row["method"], row["fitted_on"]]} for row in ordered(content.tables.recalibration)
        ],
        "shifts": [
            row | {"called": _SHIFTS.get(row["measure"], row["measure"])}
            for about in ("images", "vessels", "scores")
            for row in ordered(content.tables.shifts.filter(about=about))
        ],
        "charts": _charts(content, curves, list(trials)),
    }


def _points(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per trial and operating point, with sensitivity and specificity."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (*(row[name] for name in TRIAL), row["point"])
        own = {name: row[name] for name in (*TRIAL, "point", "threshold")}
        found.setdefault(key, own)[row["measure"]] = row
    return list(found.values())


def _charts(content: ExternalContent, curves: pl.DataFrame, order: Sequence[tuple[Any, ...]]) -> dict[str, list[Chart]]:
    aucs = content.tables.external.filter(measure="auc")
    columns = {
        f"{name}_{place}{end}": f"{side}{end}"
        for place, side in enumerate(("internal", "external"))
        for name in ("auc",)
        for end in ("", "_low", "_high")
    }
    cells = aucs.select(
        *TRIAL,
        *(pl.col(column).alias(name) for name, column in columns.items()),
        n_0="n_internal",
        n_1="n_external",
    )
    places = pl.DataFrame([dict(zip(TRIAL, key, strict=True)) for key in order], schema=TRIAL)
    cells = places.join(cells, on=list(TRIAL), how="inner", maintain_order="left")
    forest = cohorts_forest(cells, SIDES)
    both = [
        places.join(own.filter(curve="calibration"), on=list(TRIAL), how="inner", maintain_order="left").with_columns(
            backbone=pl.format("{}, {}, seed {}", "backbone", "strategy", "seed"), strategy=pl.lit(side), seed=pl.lit(0)
        )
        for own, side in zip((content.own_curves, curves), SIDES, strict=True)
        if len(own)
    ]
    joined = pl.concat(both, how="diagonal_relaxed") if both else pl.DataFrame()
    return {
        "forest": [forest] if forest else [],
        "calibration": calibration_curves(joined) if len(joined) else [],
    }
