"""From what the trials left behind to one row a cell, with intervals from one bootstrap over people for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmark.cells import Cell
from benchmark.config import Statistics
from benchmark.rundir import RunDirectory
from stats.bootstrap import (
    PeopleResamples,
    auc_resampled,
    draw_people,
    f1_resampled,
    mean_resampled,
    percentile_interval,
)
from stats.correlation import spearman, spearman_resampled
from stats.metrics import auc, best_f1_threshold, f1
from xai.saliency import RATIOS

OK = "ok"
MEASURES = ("auc", "f1", *RATIOS)
CORRELATED = ("vessel_ratio", "artery_ratio", "vein_ratio")

_BOUNDED = {column: pl.Float64 for name in MEASURES for column in (name, f"{name}_low", f"{name}_high")}
SCHEMA: dict[str, type[pl.DataType]] = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive": pl.Int64,
    **_BOUNDED,
    "threshold": pl.Float64,
    "n_ratio": pl.Int64,
    "status": pl.String,
}
CORRELATION_SCHEMA: dict[str, type[pl.DataType]] = {
    "performance": pl.String,
    "explainability": pl.String,
    "rho": pl.Float64,
    "rho_low": pl.Float64,
    "rho_high": pl.Float64,
    "p_value": pl.Float64,
    "n_cells": pl.Int64,
    "method": pl.String,
}


@dataclass(frozen=True)
class Leaderboard:
    """`cells`: one row a cell, best AUC first, failed ones last. `correlation`: AUC against each ratio, over cells."""

    cells: pl.DataFrame
    correlation: pl.DataFrame


def build(directory: RunDirectory, cells: Sequence[Cell], settings: Statistics) -> Leaderboard:
    """Read every trial and compute its row; a cell without complete results is shown with the reason."""
    test = pl.read_parquet(directory.cohort).filter(pl.col("split") == "test")
    resamples = draw_people(test["patient_id"].to_numpy(), test["label"].to_numpy(), settings.resamples, settings.seed)
    rows, samples = [], []
    for cell in cells:
        row = {"backbone": cell.backbone.name, "strategy": cell.strategy.name, "seed": cell.seed}
        folder = directory.trial(cell)
        if folder.failure.is_file() or not folder.saliency.is_file():
            reason = folder.failure.read_text(encoding="utf-8").strip() if folder.failure.is_file() else "not finished"
            rows.append(row | {"status": reason})
            continue
        predictions = pl.read_parquet(folder.predictions)
        estimates, resampled = _measure(test, predictions, pl.read_parquet(folder.saliency), resamples)
        for name, values in resampled.items():
            estimates[f"{name}_low"], estimates[f"{name}_high"] = percentile_interval(values, settings.confidence)
        rows.append(row | estimates | {"status": OK})
        samples.append(resampled)
    table = pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))
    done = table.filter(pl.col("status") == OK)
    correlation = pl.DataFrame(
        [_correlate(done, samples, ratio, settings) for ratio in CORRELATED], schema=CORRELATION_SCHEMA
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    ranked = table.sort(
        ["auc", "backbone", "strategy", "seed"], descending=[True, False, False, False], nulls_last=True
    )
    return Leaderboard(ranked, correlation)


def _measure(
    test: pl.DataFrame, predictions: pl.DataFrame, saliency: pl.DataFrame, resamples: PeopleResamples
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    validation = predictions.filter(pl.col("split") == "val")
    threshold = best_f1_threshold(validation["label"].to_numpy(), validation["score"].to_numpy())
    # Joined by name: the resamples know images by their place in the cohort.
    tested = test.select("image", "patient_id", "label").join(
        predictions.select("image", "score"), on="image", how="left", maintain_order="left"
    )
    ratios = test.select("image").join(saliency, on="image", how="left", maintain_order="left")
    labels, scores = tested["label"].to_numpy(), tested["score"].to_numpy()
    called = scores >= threshold
    values = {name: ratios[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in RATIOS}
    estimates = {
        "n_images": len(tested),
        "n_patients": tested["patient_id"].n_unique(),
        "n_positive": int(labels.sum()),
        "auc": auc(labels, scores),
        "f1": f1(labels, called),
        **{name: _mean(column) for name, column in values.items()},
        "threshold": threshold,
        "n_ratio": int(np.isfinite(values["vessel_ratio"]).sum()),
    }
    resampled = {
        "auc": auc_resampled(labels, scores, resamples),
        "f1": f1_resampled(labels, called, resamples),
        **{name: mean_resampled(column, resamples) for name, column in values.items()},
    }
    return estimates, resampled


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _correlate(
    done: pl.DataFrame, samples: list[dict[str, np.ndarray]], ratio: str, settings: Statistics
) -> dict[str, object]:
    known = done[ratio].is_not_null().to_numpy() & done["auc"].is_not_null().to_numpy()
    named = {"performance": "auc", "explainability": ratio, "n_cells": int(known.sum())}
    if not known.any():
        return named | {"method": "undefined"}
    found = spearman(done["auc"].to_numpy()[known], done[ratio].to_numpy()[known], seed=settings.seed)
    low = high = float("nan")
    if not np.isnan(found.rho):
        kept = [sample for sample, keep in zip(samples, known, strict=True) if keep]
        performance = np.stack([sample["auc"] for sample in kept], axis=1)
        explainability = np.stack([sample[ratio] for sample in kept], axis=1)
        low, high = percentile_interval(spearman_resampled(performance, explainability), settings.confidence)
    return named | {
        "rho": found.rho,
        "rho_low": low,
        "rho_high": high,
        "p_value": found.p_value,
        "method": found.method,
    }
