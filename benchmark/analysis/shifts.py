"""How two cohorts differ before any label is compared: scores, image quality, vessel masks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import TRIAL, TrialKey
from benchmark.storage.rundir import RunDirectory, open_array
from benchmark.tables import read_parquet
from stats.calibration import as_logits
from stats.standardised import standardised_difference, standardised_interval
from xai.image_quality import ImageQuality, image_quality

VESSELS = ("artery", "vein", "vessel", "fov", "on_vessels", "disagreement")
SHIFTS_SCHEMA: dict[str, type[pl.DataType]] = {
    "about": pl.String,
    "measure": pl.String,
    **TRIAL,
    "internal": pl.Float64,
    "internal_sd": pl.Float64,
    "n_internal": pl.Int64,
    "external": pl.Float64,
    "external_sd": pl.Float64,
    "n_external": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def shift_rows(
    directories: tuple[RunDirectory, RunDirectory],
    tests: tuple[pl.DataFrame, pl.DataFrame],
    scores: Mapping[TrialKey, tuple[np.ndarray, ...]],
    confidence: float,
) -> list[dict[str, Any]]:
    """Rows of `SHIFTS_SCHEMA`: mean and standard deviation over patients in both cohorts, and how far they differ.

    Several images of a patient are averaged first. `difference` is the standardised difference, external minus
    internal, and `n_internal` and `n_external` count patients.

    Args:
        directories: of the run, and of the external cohort.
        tests: their test images.
        scores: each trial's scores on both; compared on the logit scale, for each label by itself.
    """
    quality = tuple(_quality(*each) for each in zip(directories, tests, strict=True))
    vessels = tuple(_vessels(*each) for each in zip(directories, tests, strict=True))
    patients = tuple(test["patient_id"].to_numpy() for test in tests)
    rows = [
        {"about": about, "measure": name} | _shift([each[name].to_numpy() for each in tables], patients, confidence)
        for about, tables in (("images", quality), ("vessels", vessels))
        for name in tables[0].columns
    ]
    for key, of_trial in scores.items():
        named = dict(zip(TRIAL, key, strict=True))
        for label, name in ((1, "logit of the score, positive"), (0, "logit of the score, negative")):
            chosen = [(test["label"] == label).to_numpy() for test in tests]
            values = [as_logits(score[own]) for score, own in zip(of_trial, chosen, strict=True)]
            ids = tuple(each[own] for each, own in zip(patients, chosen, strict=True))
            rows.append({"about": "scores", "measure": name} | named | _shift(values, ids, confidence))
    return [row for row in rows if row["n_internal"] and row["n_external"]]


def _shift(values: list[np.ndarray], patients: tuple[np.ndarray, ...], confidence: float) -> dict[str, Any]:
    inside, outside = (_of_patients(*each) for each in zip(values, patients, strict=True))
    row: dict[str, Any] = {}
    for name, each in (("internal", inside), ("external", outside)):
        sd = float(each.std(ddof=1)) if len(each) > 1 else np.nan
        row |= {name: float(each.mean()) if len(each) else np.nan, f"{name}_sd": sd, f"n_{name}": len(each)}
    if not len(inside) or not len(outside):
        return row
    low, high = standardised_interval(outside, inside, confidence)
    return row | {"difference": standardised_difference(outside, inside), "low": low, "high": high}


def _of_patients(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The mean of each patient's images that have a value."""
    known = np.isfinite(values)
    if not known.any():
        return np.empty(0)
    _, place = np.unique(patients[known], return_inverse=True)
    return np.bincount(place, weights=values[known]) / np.bincount(place)


def _quality(directory: RunDirectory, test: pl.DataFrame) -> pl.DataFrame:
    images, planes = open_array(directory.images), open_array(directory.regions)

    def each() -> Iterator[ImageQuality]:
        for place, row in enumerate(test["row"]):
            yield image_quality(np.asarray(images[row]), np.asarray(planes[place, 3]) > 127)

    return pl.DataFrame(list(each()), schema=list(ImageQuality._fields), orient="row")


def _vessels(directory: RunDirectory, test: pl.DataFrame) -> pl.DataFrame:
    found = read_parquet(directory.vessels)
    joined = test.select("image").join(found, on="image", how="left", maintain_order="left")
    masked = pl.col("error").is_null()
    return joined.select(pl.when(masked).then(pl.col(name).cast(pl.Float64)).alias(name) for name in VESSELS).fill_null(
        float("nan")
    )
