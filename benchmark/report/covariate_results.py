"""The part of results.json that covariates add."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.covariate_tables import CovariateTables
from benchmark.analysis.image_adds import SEPARATOR
from benchmark.report.results import (
    Baseline,
    CovariateResult,
    ImageAdds,
    Method,
    Number,
    ScorePredicts,
    Subgroup,
    SubgroupTest,
)
from benchmark.study.config import Statistics
from stats.added_value import FOLDS, MODELS

_OF_MODELS = (
    *(f"{measure}_{name}" for measure in ("auc", "brier") for name in MODELS),
    "auc_gain",
    "brier_gain",
)


def covariate_result(tables: CovariateTables) -> CovariateResult:
    """The results of the five tables."""
    return CovariateResult(
        baseline=[_baseline(row) for row in tables.covariates.to_dicts()],
        subgroups=_subgroups(tables.subgroups),
        heterogeneity=[
            SubgroupTest(
                **{name: row[name] for name in SubgroupTest.model_fields if name != "within"},
                within=_number(row, "within", row["n_images"], "patients") if row["measure"] == "auc" else None,
            )
            for row in tables.heterogeneity.to_dicts()
        ],
        image_adds=[_image_adds(row) for row in tables.image_adds.to_dicts()],
        score_predicts=[
            ScorePredicts(
                **{name: row[name] for name in ScorePredicts.model_fields if name != "estimate"},
                estimate=Number(
                    **{name: row[name] for name in ("value", "low", "high", "p_value")},
                    n=row["n_patients"],
                    method="score_predicts",
                ),
            )
            for row in tables.score_predicts.to_dicts()
        ],
    )


def covariate_methods(settings: Statistics) -> dict[str, Method]:
    """The methods of these numbers, by key."""
    confident = {"confidence": settings.confidence}
    return {
        "baseline": Method(
            name="means: Student's t; shares: Wilson; standardised differences: Bonett for numbers, Yang and Dalton "
            "for categories; one value per patient",
            **confident,
        ),
        "added_value": Method(
            name=f"logistic models per patient, risks cross-fitted over {FOLDS} folds stratified by label; AUCs: "
            "means over folds, DeLong, Student's t; Brier scores: Student's t over patients",
            **confident,
            seed=settings.seed,
        ),
        "adjusted": Method(
            name="AUC of the residuals of a regression of the mean logit on the covariates in negative patients (Janes "
            "and Pepe 2009), fitted again without each patient",
            **confident,
        ),
        "score_predicts": Method(
            name="per patient; rank correlation: Bonett and Wright; R squared: Fisher's z; AUC: DeLong, Student's t",
            **confident,
        ),
    }


def _number(row: Mapping[str, Any], name: str, n: int, method: str) -> Number | None:
    if row[name] is None:
        return None
    return Number(value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"], n=n, method=method)


def _baseline(row: Mapping[str, Any]) -> Baseline:
    known = row["n_patients"] - row["n_missing"]
    numbers = {name: _number(row, name, known, "baseline") for name in ("mean", "share", "difference")}
    return Baseline(**{name: row[name] for name in Baseline.model_fields if name not in numbers}, **numbers)


def _subgroups(subgroups: pl.DataFrame) -> list[Subgroup]:
    keys = (*TRIAL, "covariate", "subgroup", "above", "up_to")
    return [
        Subgroup(
            **dict(zip(keys, key, strict=True)),
            measures={
                row["measure"]: Number(
                    **{name: row[name] for name in ("value", "low", "high")}, n=row["n_images"], method="patients"
                )
                for row in rows.to_dicts()
            },
        )
        for key, rows in subgroups.group_by(keys, maintain_order=True)
    ]


def _image_adds(row: Mapping[str, Any]) -> ImageAdds:
    n = row["n_patients"]
    numbers = {name: _number(row, name, n, "added_value") for name in _OF_MODELS}
    numbers["adjusted_auc"] = _number(row, "adjusted_auc", n, "adjusted")
    lists = ("covariates", "predicts_covariates")
    return ImageAdds(
        **{name: row[name] for name in ImageAdds.model_fields if name not in (*lists, "measures")},
        **{name: row[name].split(SEPARATOR) if row[name] else [] for name in lists},
        measures={name: number for name, number in numbers.items() if number is not None},
    )
