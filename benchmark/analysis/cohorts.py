"""The AUC of every trial over several external cohorts, with a random-effects summary."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, logit

from benchmark.analysis.comparisons import TRIAL, frame
from benchmark.analysis.leaderboard import failure, read_scores
from benchmark.analysis.measures import bounded
from benchmark.storage.rundir import RunDirectory
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from stats.delong import delong
from stats.pooled import pool

OWN = "own test patients"
COHORTS_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    "cohort": pl.String,
    **bounded(["auc"]),
    "logit_error": pl.Float64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive_patients": pl.Int64,
}
POOLED_SCHEMA: dict[str, type[pl.DataType]] = {
    **TRIAL,
    **bounded(["auc"]),
    "new_low": pl.Float64,
    "new_high": pl.Float64,
    "tau_squared": pl.Float64,
    "i_squared": pl.Float64,
    "q": pl.Float64,
    "p_heterogeneity": pl.Float64,
    "n_cohorts": pl.Int64,
    "n_patients": pl.Int64,
}


def aucs_of_cohorts(
    run: RunDirectory, cohorts: Mapping[str, RunDirectory], trials: Sequence[Trial], confidence: float
) -> pl.DataFrame:
    """One row per trial and cohort, the run's own test images (`OWN`) first; columns as `COHORTS_SCHEMA`.

    Intervals are DeLong's, clustered by patient, on the logit scale; `logit_error` is the standard error there, NaN for
    an AUC of 0 or 1.
    """
    rows: list[dict[str, Any]] = []
    for name, directory in {OWN: run, **cohorts}.items():
        test = of_split(read_parquet(directory.cohort), "test")
        patients, labels = test["patient_id"].to_numpy(), test["label"].to_numpy()
        counts = {
            "n_images": len(test),
            "n_patients": test["patient_id"].n_unique(),
            "n_positive_patients": test.filter(pl.col("label") == 1)["patient_id"].n_unique(),
        }
        for trial in trials:
            folder = directory.trial(trial)
            if failure(folder) is not None:
                continue
            found = delong(labels, [read_scores(folder, test)], patients)
            area, error = float(found.areas[0]), float(np.sqrt(found.covariance[0, 0]))
            ((low, high),) = found.logit_t_intervals(confidence)
            rows.append(
                dict(zip(TRIAL, trial.key, strict=True))
                | {"cohort": name, "auc": area, "auc_low": low, "auc_high": high}
                | {"logit_error": error / (area * (1 - area)) if 0 < area < 1 else np.nan}
                | counts
            )
    return frame(rows, COHORTS_SCHEMA)


def pooled_aucs(cohorts: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Random-effects summary of each trial over the external cohorts; columns as `POOLED_SCHEMA`.

    The AUCs are pooled on the logit scale; a cohort without a standard error there is left out and not counted.

    Args:
        cohorts: as from `aucs_of_cohorts`; the run's own test images are not pooled.
    """
    outside = cohorts.filter(pl.col("cohort") != OWN).fill_nan(None).drop_nulls("logit_error")
    rows = []
    for key, group in outside.filter(pl.col("logit_error") > 0).group_by(list(TRIAL), maintain_order=True):
        found = pool(logit(group["auc"].to_numpy()), group["logit_error"].to_numpy(), confidence)
        auc, low, high, new_low, new_high = expit(
            [found.estimate, found.low, found.high, found.new_low, found.new_high]
        ).tolist()
        rows.append(
            dict(zip(TRIAL, key, strict=True))
            | {"auc": auc, "auc_low": low, "auc_high": high, "new_low": new_low, "new_high": new_high}
            | {"tau_squared": found.tau_squared, "i_squared": found.i_squared, "q": found.q}
            | {"p_heterogeneity": found.p, "n_cohorts": found.cohorts, "n_patients": int(group["n_patients"].sum())}
        )
    return frame(rows, POOLED_SCHEMA)
