"""The table of `docs/planted-truth.md`, from two finished runs: signal in the vessels, signal in the periphery.

    python -m tests.planted.compare runs/planted-vessels runs/planted-periphery

A difference has an interval from resampling the people of either study on their own.
"""

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import torch
from sklearn.metrics import roc_auc_score

from benchmark.photos import IMAGE_SIZE
from benchmark.rundir import open_array
from stats.bootstrap import mean_resampled
from stats.intervals import percentile_interval
from stats.resamples import draw_people
from xai.gradcam import saliency_maps

RESAMPLES, EDGES = 10_000, (0.0, 0.2, 0.4, 0.55, 0.66, 0.8, 0.93, 1.0)
RATIOS = {
    "vessel_ratio_fov": "vessel ratio, field of view",
    "artery_ratio_fov": "artery ratio, field of view",
    "vein_ratio_fov": "vein ratio, field of view",
    "vessel_ratio": "vessel ratio, whole picture",
    "ring_ratio": "ring beside the vessels / field of view",
    "disc_ratio": "optic disc / field of view",
}


def main(vessels: Path, periphery: Path) -> None:
    for seed in pl.read_csv(vessels / "leaderboard.csv")["seed"]:
        print(f"\nSeed {seed}\n\n| | signal in vessels | signal in periphery | difference |\n| --- | --- | --- | --- |")
        for (name, first, a), (_, second, b) in zip(rows(vessels, seed), rows(periphery, seed), strict=True):
            difference = "" if a is None or b is None else interval(a[0] - b[0], a[1] - b[1])
            print(f"| {name} | {first} | {second} | {difference} |")
        print("\n| " + " | ".join(["", *(f"{low:g}-{high:g}" for low, high in pairwise(EDGES)), "outside"]) + " |")
        for run in (vessels, periphery):
            print("| " + " | ".join([run.name, *(f"{value:.2f}" for value in by_distance(run, seed))]) + " |")


def rows(run: Path, seed: int) -> Iterator[tuple[str, str, tuple[float, np.ndarray] | None]]:
    """(name, what to print, (value, its resamples) or None)."""
    board = pl.read_csv(run / "leaderboard.csv").filter(seed=seed).row(0, named=True)
    trial = next((run / "trials").glob(f"*-s{seed}"))
    saliency = pl.read_parquet(trial / "saliency.parquet")
    labels = saliency.join(pl.read_parquet(trial / "predictions.parquet"), on="image", maintain_order="left")["label"]
    resamples = draw_people(saliency["patient_id"].to_list(), labels.to_numpy(), RESAMPLES, seed=0)

    yield "people, photographs", f"{board['n_patients']}, {board['n_images']}", None
    yield "test AUC", "{auc:.3f} ({auc_low:.3f} to {auc_high:.3f})".format(**board), None
    yield "photographs with a ratio", str(board["n_ratio"]), None
    nulls = json.loads((trial / "mask_null.json").read_text())
    for column, name in RATIOS.items():
        values = saliency[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
        value, resampled = float(np.nanmean(values)), mean_resampled(values, resamples)
        yield name, interval(value, resampled), (value, resampled)
        if column in nulls:
            null = nulls[column]
            told = "{null:.3f} ± {null_sd:.3f}, p {p_two_sided:.3f}"
            yield "its mask null", told.format(**null), None
            yield "its own vessels turned", told.format(**null["turned"]), None
    steps = json.loads((trial / "model_null.json").read_text())["steps"]
    told = ", ".join(f"{step['rank_correlation']:.2f}" for step in steps)
    yield "model null: rank correlation, from the head down", told, None
    erasure = pl.read_parquet(trial / "erasure.parquet").drop_nulls()
    aucs = (f"{roc_auc_score(erasure['label'], erasure[name]):.3f}" for name in ("score", "erased", "control"))
    yield "AUC original, erased, control", ", ".join(aucs), None
    drop = "{auc_drop_difference:.3f} ({auc_drop_difference_low:.3f} to {auc_drop_difference_high:.3f})".format(**board)
    yield "control less erased", drop, None


def interval(value: float, resampled: np.ndarray) -> str:
    low, high = percentile_interval(resampled, 0.95)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def by_distance(run: Path, seed: int) -> list[float]:
    """Mean saliency over the field of view's, by distance from the picture's centre; last: outside the field of view.

    Distances are in radii of the field of view, which fills the crop.
    """
    regions = open_array(run / "vessels" / "regions.npy")
    cams = np.load(next((run / "trials").glob(f"*-s{seed}")) / "cam.npy")
    fov = np.asarray(regions[:, 3]) / 255.0
    maps = saliency_maps(torch.from_numpy(cams), IMAGE_SIZE).numpy()
    steps = (np.arange(IMAGE_SIZE) + 0.5) / (IMAGE_SIZE / 2) - 1
    distance = np.hypot(*np.meshgrid(steps, steps))
    inside = (maps * fov).sum() / fov.sum()
    bands = [fov * ((distance >= low) & (distance < high)) for low, high in pairwise(EDGES)]
    return [float((maps * band).sum() / band.sum() / inside) for band in (*bands, 1 - fov)]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
