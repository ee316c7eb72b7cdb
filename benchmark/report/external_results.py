"""The part of results.json that an external validation adds."""

import math

import polars as pl

from benchmark.analysis.external import RISKS, ExternalValidation
from benchmark.report.results import Compared, ExternalResult, Method, Number, Recalibrated, Shift
from benchmark.study.config import Statistics


def external_methods(settings: Statistics) -> dict[str, Method]:
    """The methods that the numbers of an external validation name, by key; further ones are those of every run."""
    return {
        "cohorts": Method(
            name="Welch's t over the patients of both cohorts; variance of an AUC by DeLong, clustered by patient, of "
            "other measures by jackknife",
            confidence=settings.confidence,
        ),
        "shifts": Method(
            name="standardised difference of the patients' means, with Bonett's normal interval",
            confidence=settings.confidence,
        ),
    }


def external_result(
    validation: ExternalValidation, run: str, trained_patients: int, internal_patients: int
) -> ExternalResult:
    """The results of the three tables."""
    trial = ("backbone", "strategy", "seed")
    compared = []
    for row in validation.external.fill_nan(None).to_dicts():
        numbers = {
            name: Number(
                value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"],
                n=row[f"n_{name}"], method="patients",
            )
            for name in ("internal", "external")
        }  # fmt: skip
        difference = Number(
            value=row["difference"], low=row["difference_low"], high=row["difference_high"], p_value=row["p_value"],
            n=row["n_internal"] + row["n_external"], method="cohorts",
        )  # fmt: skip
        threshold = row["threshold"]
        compared.append(
            Compared(
                **{name: row[name] for name in (*trial, "measure", "point", "p_holm")},
                threshold=None if threshold is None or math.isinf(threshold) else threshold,
                **numbers,
                difference=difference,
            )
        )
    return ExternalResult(
        run=run,
        trained_patients=trained_patients,
        internal_patients=internal_patients,
        compared=compared,
        recalibrated=_recalibrated(validation.recalibration),
        shifts=[
            Shift(
                **{name: row[name] for name in Shift.model_fields if name != "difference"},
                difference=Number(
                    value=row["difference"], low=row["low"], high=row["high"],
                    n=row["n_internal"] + row["n_external"], method="shifts",
                ),
            )
            for row in validation.shifts.fill_nan(None).to_dicts()
        ],
    )  # fmt: skip


def _recalibrated(table: pl.DataFrame) -> list[Recalibrated]:
    return [
        Recalibrated(
            **{name: row[name] for name in Recalibrated.model_fields if name != "measures"},
            measures={
                name: Number(
                    value=row[name], low=row[f"{name}_low"], high=row[f"{name}_high"],
                    n=row["n_images"], method="patients",
                )
                for name in RISKS
            },
        )
        for row in table.fill_nan(None).to_dicts()
    ]  # fmt: skip
