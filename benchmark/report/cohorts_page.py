"""external/index.html: all external cohorts of a run on one page, with a random-effects summary."""

from collections.abc import Mapping

import polars as pl
from pydantic import BaseModel

from benchmark.analysis.cohorts import OWN
from benchmark.analysis.comparisons import TRIAL
from benchmark.report.charts.forest import cohorts_forest
from benchmark.report.page import embedded, template
from benchmark.report.results import Number

SUMMARY = "summary of external cohorts"


class CohortAuc(BaseModel):
    """The AUC of a trial in one cohort; its `n` is the number of images."""

    backbone: str
    strategy: str
    seed: int
    cohort: str
    n_patients: int
    n_positive_patients: int
    auc: Number


class PooledAuc(BaseModel):
    """The mean AUC over external cohorts; its `n` is their number. `new`: prediction interval of one new cohort."""

    backbone: str
    strategy: str
    seed: int
    auc: Number
    new: tuple[float | None, float | None]
    tau_squared: float | None
    i_squared: float | None
    heterogeneity_p: float | None
    n_patients: int


class CohortsResult(BaseModel):
    """external/results.json."""

    run: str
    cohorts: list[CohortAuc]
    pooled: list[PooledAuc]


def cohorts_result(run: str, cohorts: pl.DataFrame, pooled: pl.DataFrame) -> CohortsResult:
    """The numbers of the page.

    Args:
        run: name of the study.
        cohorts: as from `benchmark.analysis.cohorts.aucs_of_cohorts`.
        pooled: as from `benchmark.analysis.cohorts.pooled_aucs`.
    """

    def auc(row: Mapping[str, float], n: str, method: str) -> Number:
        return Number(value=row["auc"], low=row["auc_low"], high=row["auc_high"], n=int(row[n]), method=method)

    copied = (*TRIAL, "cohort", "n_patients", "n_positive_patients")
    return CohortsResult(
        run=run,
        cohorts=[
            CohortAuc(**{name: row[name] for name in copied}, auc=auc(row, "n_images", "delong"))
            for row in cohorts.fill_nan(None).to_dicts()
        ],
        pooled=[
            PooledAuc(
                **{name: row[name] for name in (*TRIAL, "tau_squared", "i_squared", "n_patients")},
                heterogeneity_p=row["p_heterogeneity"],
                auc=auc(row, "n_cohorts", "random effects, Hartung and Knapp"),
                new=(row["new_low"], row["new_high"]),
            )
            for row in pooled.fill_nan(None).to_dicts()
        ],
    )


def render_cohorts(
    run: str, cohorts: pl.DataFrame, pooled: pl.DataFrame, pages: Mapping[str, str], confidence: float
) -> str:
    """The page as HTML text that loads nothing.

    Args:
        run: name of the study.
        cohorts: as for `cohorts_result`.
        pooled: as for `cohorts_result`.
        pages: cohort -> address of its page, `OWN` for the run's own.
        confidence: of all intervals.
    """
    names = cohorts["cohort"].unique(maintain_order=True).to_list()
    order = cohorts.filter(cohort=OWN).sort("auc", descending=True, nulls_last=True).select(*TRIAL)
    wide = order
    for place, name in enumerate(names):
        own = cohorts.filter(cohort=name).select(*TRIAL, *_columns(place, "n_images"))
        wide = wide.join(own, on=list(TRIAL), how="left", maintain_order="left")
    shown = list(names)
    if len(names) > 2:  # the summary of one cohort is that cohort
        summary = pooled.select(*TRIAL, *_columns(len(names), "n_patients")).with_columns(
            pl.lit(None, pl.Int64).alias(f"n_{len(names)}")
        )
        wide = wide.join(summary, on=list(TRIAL), how="left", maintain_order="left")
        shown.append(SUMMARY)
    forest = cohorts_forest(wide, shown)
    return template("cohorts.html.j2").render(
        run=run,
        names=names,
        own=OWN,
        pages=pages,
        confidence=f"{100 * confidence:g}\N{NO-BREAK SPACE}%",
        charts=[forest] if forest else [],
        cohorts=order.join(cohorts, on=list(TRIAL), how="left", maintain_order="left").fill_nan(None).to_dicts(),
        pooled=order.join(pooled, on=list(TRIAL), how="inner", maintain_order="left").fill_nan(None).to_dicts(),
        several_seeds=cohorts["seed"].n_unique() > 1,
        tables=embedded({"cohorts": cohorts, "pooled": pooled}),
    )


def _columns(place: int, counted: str) -> list[pl.Expr]:
    bounds = [pl.col(f"auc{end}").alias(f"auc_{place}{end}") for end in ("", "_low", "_high")]
    return [*bounds, pl.col(counted).alias(f"n_{place}")]
