"""Every ratio of a cell under every convention, since the choice of one should not decide what is found.

`against` is what a region is held to: `non_vessel` (all of the picture that is not vessel, as in the published study),
`non_vessel_fov` (the same within the field of view), or `fov` (the whole of it) for regions beyond artery and vein.
`average` is over `images` (mean of their ratios: the study's), over `people` (mean of each one's mean), or of `sums`
(sum of the images' means inside over that outside, which no single image can carry away).
"""

from typing import Any

import numpy as np
import polars as pl

from stats.bootstrap import (
    PeopleResamples,
    mean_resampled,
    people_mean_resampled,
    percentile_interval,
    ratio_of_sums_resampled,
)
from xai.gradcam import Scaling
from xai.measures import other_scaling
from xai.saliency import mean_of_ratios, person_means, ratio_of_means

SCHEMA: dict[str, type[pl.DataType]] = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "region": pl.String,
    "against": pl.String,
    "scaling": pl.String,
    "average": pl.String,
    "ratio": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_images": pl.Int64,
    "n_people": pl.Int64,
}


def ratio_rows(
    saliency: pl.DataFrame, resamples: PeopleResamples, scaling: Scaling, confidence: float
) -> list[dict[str, Any]]:
    """Rows of `SCHEMA` without the cell.

    Args:
        saliency: the columns of `xai.measures` and `patient_id`, images in the order of the resamples.
        scaling: the study's.
    """
    people = saliency["patient_id"].to_numpy()
    rows = []
    for region, against, under, suffix in _conventions(saliency.columns, scaling):
        ratio = f"{region}_ratio{'_fov' if against == 'non_vessel_fov' else ''}{suffix}"
        ratios, inside, outside = (
            saliency[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            for name in (ratio, f"{region}{suffix}", f"{against}{suffix}")
        )
        _, by_person = person_means(ratios, people)
        averages = {
            "images": (mean_of_ratios(ratios), mean_resampled(ratios, resamples)),
            "people": (mean_of_ratios(by_person), people_mean_resampled(ratios, resamples)),
            "sums": (ratio_of_means(inside, outside), ratio_of_sums_resampled(inside, outside, resamples)),
        }
        for average, (value, resampled) in averages.items():
            low, high = percentile_interval(resampled, confidence)
            rows.append(
                {
                    "region": region,
                    "against": against,
                    "scaling": under,
                    "average": average,
                    "ratio": value,
                    "low": low,
                    "high": high,
                    "n_images": int(np.isfinite(ratios).sum()),
                    "n_people": int(np.isfinite(by_person).sum()),
                }
            )
    return rows


def _conventions(columns: list[str], scaling: Scaling) -> list[tuple[str, str, str, str]]:
    """(region, against, scaling, suffix of its columns): vessels under both scalings, then where else it looks."""
    other = other_scaling(scaling)
    vessels: list[tuple[str, str, str, str]] = [
        (region, against, under, suffix)
        for under, suffix in ((scaling, ""), (other, f"_{other}"))
        for against in ("non_vessel", "non_vessel_fov")
        for region in ("artery", "vein", "vessel")
    ]
    of_vessels = {region for region, *_ in vessels}
    others = [name.removesuffix("_ratio") for name in columns if name.endswith("_ratio")]
    return vessels + [(region, "fov", scaling, "") for region in others if region not in of_vessels]
