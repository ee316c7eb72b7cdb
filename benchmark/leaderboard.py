"""From what the trials left behind to one row a cell, with intervals from one bootstrap over people for all of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from benchmark import ratios
from benchmark.cells import Cell
from benchmark.config import Statistics
from benchmark.rundir import RunDirectory, TrialDirectory
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
from xai.gradcam import Scaling
from xai.saliency import RATIOS

OK = "ok"
MEASURES = ("auc", "f1", *RATIOS)
CORRELATED = ("vessel_ratio", "artery_ratio", "vein_ratio")
HELD_AGAINST_CHANCE = ("vessel_ratio", "vessel_ratio_fov")
# AUC of the photographs less that without their vessels, less that of the control; the first drop less the second.
AUC_DROPS = ("auc_drop_erased", "auc_drop_control", "auc_drop_difference")


def _bounded(names: Sequence[str]) -> dict[str, type[pl.DataType]]:
    return {column: pl.Float64 for name in names for column in (name, f"{name}_low", f"{name}_high")}


SCHEMA: dict[str, type[pl.DataType]] = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
    "n_positive": pl.Int64,
    **_bounded(MEASURES),
    "threshold": pl.Float64,
    "n_ratio": pl.Int64,
    **{f"{name}_{what}": pl.Float64 for name in HELD_AGAINST_CHANCE for what in ("null", "null_p")},
    "model_null_classifier": pl.Float64,
    "model_null": pl.Float64,
    **_bounded(AUC_DROPS),
    "n_erased": pl.Int64,
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
    """`cells`: one row a cell, best AUC first, failed ones last. `ratios`: each cell's under every convention, columns
    as `benchmark.ratios.SCHEMA`. `correlation`: AUC against each ratio, over cells."""

    cells: pl.DataFrame
    ratios: pl.DataFrame
    correlation: pl.DataFrame


def build(
    directory: RunDirectory, cells: Sequence[Cell], settings: Statistics, scaling: Scaling = "minmax"
) -> Leaderboard:
    """Read every trial and compute its row; a cell without complete results is shown with the reason.

    Args:
        scaling: of the maps behind the columns of `saliency.parquet` without a suffix.
    """
    test = pl.read_parquet(directory.cohort).filter(pl.col("split") == "test")
    resamples = draw_people(test["patient_id"].to_numpy(), test["label"].to_numpy(), settings.resamples, settings.seed)
    rows, samples, conventions = [], [], []
    for cell in cells:
        row = {"backbone": cell.backbone.name, "strategy": cell.strategy.name, "seed": cell.seed}
        folder = directory.trial(cell)
        if folder.failure.is_file() or not folder.saliency.is_file():
            reason = folder.failure.read_text(encoding="utf-8").strip() if folder.failure.is_file() else "not finished"
            rows.append(row | {"status": reason})
            continue
        # Joined by name: the resamples know images by their place in the cohort.
        saliency = test.select("image", "patient_id").join(
            pl.read_parquet(folder.saliency).drop("patient_id"), on="image", how="left", maintain_order="left"
        )
        estimates, resampled = _measure(test, pl.read_parquet(folder.predictions), saliency, resamples)
        samples.append(resampled)
        drops, dropped = _erasure(folder, test, resamples)
        for name, values in (resampled | dropped).items():
            estimates[f"{name}_low"], estimates[f"{name}_high"] = percentile_interval(values, settings.confidence)
        rows.append(row | estimates | drops | _nulls(folder) | {"status": OK})
        conventions += [
            row | of_cell for of_cell in ratios.ratio_rows(saliency, resamples, scaling, settings.confidence)
        ]
    table = pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))
    done = table.filter(pl.col("status") == OK)
    correlation = pl.DataFrame(
        [_correlate(done, samples, ratio, settings) for ratio in CORRELATED], schema=CORRELATION_SCHEMA
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    ranked = table.sort(
        ["auc", "backbone", "strategy", "seed"], descending=[True, False, False, False], nulls_last=True
    )
    every_ratio = pl.DataFrame(conventions, schema=ratios.SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))
    return Leaderboard(ranked, every_ratio, correlation)


def _measure(
    test: pl.DataFrame, predictions: pl.DataFrame, saliency: pl.DataFrame, resamples: PeopleResamples
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    validation = predictions.filter(pl.col("split") == "val")
    threshold = best_f1_threshold(validation["label"].to_numpy(), validation["score"].to_numpy())
    tested = test.select("image", "patient_id", "label").join(
        predictions.select("image", "score"), on="image", how="left", maintain_order="left"
    )
    labels, scores = tested["label"].to_numpy(), tested["score"].to_numpy()
    called = scores >= threshold
    values = {name: saliency[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in RATIOS}
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


def _nulls(folder: TrialDirectory) -> dict[str, float | None]:
    """What the mask null and the model null found, where they were asked for."""
    found: dict[str, float | None] = {}
    if folder.mask_null.is_file():
        for name, null in json.loads(folder.mask_null.read_text(encoding="utf-8")).items():
            found |= {f"{name}_null": null.get("null"), f"{name}_null_p": null.get("p_value")}
    if folder.model_null.is_file():
        steps = json.loads(folder.model_null.read_text(encoding="utf-8"))["steps"]
        found["model_null_classifier"] = steps[0]["rank_correlation"]
        found["model_null"] = steps[-1]["rank_correlation"]
    return found


def _erasure(
    folder: TrialDirectory, test: pl.DataFrame, resamples: PeopleResamples
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Drops of the AUC, over the images that could be erased: the estimates, and each in every resample."""
    if not folder.erasure.is_file():
        return {}, {}
    scores = test.select("image", "label").join(
        pl.read_parquet(folder.erasure).select("image", "score", "erased", "control"),
        on="image", how="left", maintain_order="left",
    )  # fmt: skip
    kept = scores["score"].is_not_null().to_numpy()
    labels = scores["label"].to_numpy()[kept]
    if len(set(labels)) < 2:
        return {"n_erased": int(kept.sum())}, {}
    of_kept = PeopleResamples(resamples.counts, resamples.person_of_image[kept])
    values = {name: scores[name].to_numpy()[kept] for name in ("score", "erased", "control")}
    estimates = _drops({name: auc(labels, value) for name, value in values.items()})
    resampled = _drops({name: auc_resampled(labels, value, of_kept) for name, value in values.items()})
    return {**estimates, "n_erased": int(kept.sum())}, resampled


def _drops(aucs: dict[str, Any]) -> dict[str, Any]:
    drops = (aucs["score"] - aucs["erased"], aucs["score"] - aucs["control"], aucs["control"] - aucs["erased"])
    return dict(zip(AUC_DROPS, drops, strict=True))


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
