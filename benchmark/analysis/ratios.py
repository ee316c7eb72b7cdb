"""Every ratio of a trial under every convention, so that the choice of a convention does not decide the result.

`against` is the reference of a region: `non_vessel` (all of the image that is not vessel, as in the published study),
`non_vessel_fov` (the same within the field of view), or `fov` (the whole field of view) for regions other than vessels.
`images` are `all`, or the `unflagged` ones if some vessel masks look wrong (`xai.vessels.quality`).
`average` is over `images` (mean of their ratios, as in the published study), over `patients` (mean of the patients'
means), of `sums` (sum of the images' means inside divided by the sum of those outside, which no single image can
dominate), or `geometric` (exponential of the mean logarithm over images with a ratio above 0; its interval remains
valid if a few ratios are very high).
"""

from functools import partial
from typing import Any

import numpy as np
import polars as pl

from benchmark.analysis.measures import Resampled, estimate
from benchmark.study.config import Statistics
from stats.bootstrap import mean_resampled, patients_mean_resampled, ratio_of_sums_resampled
from stats.intervals import Scale
from stats.resamples import PatientResamples
from xai.saliency import Scaling, other_scaling

SCHEMA: dict[str, type[pl.DataType]] = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "region": pl.String,
    "against": pl.String,
    "scaling": pl.String,
    "average": pl.String,
    "images": pl.String,
    "ratio": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_images": pl.Int64,
    "n_patients": pl.Int64,
}

_ON_LOG: dict[str, Scale] = dict.fromkeys(("images", "patients", "sums", "geometric"), "log")


def ratio_rows(
    saliency: pl.DataFrame, resamples: PatientResamples, scaling: Scaling, settings: Statistics, doubtful: np.ndarray
) -> list[dict[str, Any]]:
    """Rows of `SCHEMA` without the columns that name the trial.

    Args:
        saliency: the columns of `xai.saliency_row` and `patient_id`, images in the order of the resamples.
        scaling: the study's scaling.
        doubtful: (images,) bool, images whose vessel masks are flagged.
    """
    patients = saliency["patient_id"].to_numpy()
    rows = []
    for region, against, under, suffix, images in _conventions(saliency.columns, scaling, bool(doubtful.any())):
        ratio = f"{region}_ratio{'_fov' if against == 'non_vessel_fov' else ''}{suffix}"
        ratios, inside, outside = (
            np.where(doubtful & (images == "unflagged"), np.nan, values)
            for values in (
                saliency[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
                for name in (ratio, f"{region}{suffix}", f"{against}{suffix}")
            )
        )
        found = estimate(partial(_averages, ratios, inside, outside), resamples, settings, _ON_LOG)
        for average, value in found.values.items():
            low, high = found.intervals[average]
            of = ratios > 0 if average == "geometric" else np.isfinite(ratios)
            counted = {"n_images": int(of.sum()), "n_patients": len(set(patients[of].tolist()))}
            rows.append(
                {"region": region, "against": against, "scaling": under, "average": average, "images": images}
                | {"ratio": value, "low": low, "high": high}
                | counted
            )
    return rows


def _averages(ratios: np.ndarray, inside: np.ndarray, outside: np.ndarray, resamples: PatientResamples) -> Resampled:
    logarithms = np.log(ratios, out=np.full(len(ratios), np.nan), where=ratios > 0)
    return {
        "images": mean_resampled(ratios, resamples),
        "patients": patients_mean_resampled(ratios, resamples),
        "sums": ratio_of_sums_resampled(inside, outside, resamples),
        "geometric": np.exp(mean_resampled(logarithms, resamples)),
    }


def _conventions(columns: list[str], scaling: Scaling, some_doubtful: bool) -> list[tuple[str, str, str, str, str]]:
    """(region, against, scaling, suffix of its columns, images): vessels in every way, then the other regions."""
    other = other_scaling(scaling)
    ways = [(scaling, "", "all"), *([(scaling, "", "unflagged")] if some_doubtful else []), (other, f"_{other}", "all")]
    vessels: list[tuple[str, str, str, str, str]] = [
        (region, against, under, suffix, images)
        for under, suffix, images in ways
        for against in ("non_vessel", "non_vessel_fov")
        for region in ("artery", "vein", "vessel")
    ]
    of_vessels = {region for region, *_ in vessels}
    others = [name.removesuffix("_ratio") for name in columns if name.endswith("_ratio")]
    return vessels + [(region, "fov", scaling, "", "all") for region in others if region not in of_vessels]
