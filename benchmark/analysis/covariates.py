"""Covariates of the patients: how they are distributed (Table 1), and the groups of images that they define."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl

from benchmark.analysis.comparisons import frame
from benchmark.storage.rundir import RunDirectory
from benchmark.study.folder import SPLITS
from benchmark.tables import read_parquet
from stats.intervals import UNDEFINED, student_interval
from stats.jackknife import Spread
from stats.shares import wilson_interval
from stats.standardised import (
    standardised_difference,
    standardised_difference_of_categories,
    standardised_interval,
    standardised_interval_of_categories,
)

Kind = Literal["number", "category"]
FEWEST = 10  # patients of a category; rarer categories are joined
BANDS = 3  # of a number: tertiles of the test images
OTHERS = "other categories"

BASELINE_SCHEMA: dict[str, type[pl.DataType]] = {
    "covariate": pl.String,
    "kind": pl.String,
    "category": pl.String,
    "patients": pl.String,
    "n_patients": pl.Int64,
    "n_missing": pl.Int64,
    "mean": pl.Float64,
    "mean_low": pl.Float64,
    "mean_high": pl.Float64,
    "sd": pl.Float64,
    "median": pl.Float64,
    "q25": pl.Float64,
    "q75": pl.Float64,
    "count": pl.Int64,
    "share": pl.Float64,
    "share_low": pl.Float64,
    "share_high": pl.Float64,
    "against": pl.String,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}
# A group of patients -> the group with which it is compared.
AGAINST = {"val": "train", "test": "train", "positive": "negative"}


def read_covariates(directory: RunDirectory, cohort: pl.DataFrame) -> pl.DataFrame:
    """The covariates of all images in the order of the cohort, without other columns; no column if there are none."""
    if not directory.covariates.is_file():
        return pl.DataFrame()
    found = read_parquet(directory.covariates)
    return cohort.select("image").join(found, on="image", how="left", maintain_order="left").drop("image")


def kind_of(values: pl.Series) -> Kind:
    """Whether a covariate is a number or a category."""
    return "number" if values.dtype.is_numeric() else "category"


def per_patient(patients: pl.Series, values: pl.Series) -> pl.Series:
    """One value per patient, in the order of the sorted patients; null if no image of the patient has one.

    A number is the mean over the patient's images, a category the most frequent one (of equals, the first).
    """
    names = pl.DataFrame({"patient": patients.unique().sort()})
    table = pl.DataFrame({"patient": patients, "value": values}).drop_nulls("value").with_row_index("place")
    if kind_of(values) == "number":
        found = table.group_by("patient").agg(pl.col("value").mean())
    else:
        counted = table.group_by("patient", "value").agg(pl.len(), pl.col("place").min())
        found = counted.sort("len", "place", descending=[True, False]).unique("patient", keep="first")
    return names.join(found.select("patient", "value"), on="patient", how="left", maintain_order="left")["value"]


def baseline(cohort: pl.DataFrame, covariates: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Table 1: every covariate in the patients of every split, and in those with and without a positive image.

    Args:
        cohort: patient_id, label and split of every image.
        covariates: as from `read_covariates`.
        confidence: of the intervals.

    Returns:
        Columns as `BASELINE_SCHEMA`. A number has one row per group of patients; a category has one such row, with its
        standardised difference, and one row per category. `difference` is standardised, from the group `against`.
    """
    people = cohort.group_by("patient_id").agg(pl.col("label").max(), pl.col("split").first()).sort("patient_id")
    members = {split: (people["split"] == split).to_numpy() for split in SPLITS}
    positive = (people["label"] == 1).to_numpy()
    members |= {"positive": positive, "negative": ~positive}
    members = {name: inside for name, inside in members.items() if inside.any()}
    rows: list[dict[str, Any]] = []
    for name in covariates.columns:
        values = per_patient(cohort["patient_id"], covariates[name])
        of_group = {group: values.filter(pl.Series(inside)) for group, inside in members.items()}
        categories = [] if kind_of(values) == "number" else values.drop_nulls().unique().sort().to_list()
        for group, found in of_group.items():
            known, against = found.drop_nulls(), AGAINST.get(group)
            row = {
                "covariate": name,
                "kind": kind_of(values),
                "patients": group,
                "n_patients": len(found),
                "n_missing": found.null_count(),
            }
            reference = of_group[against].drop_nulls() if against in of_group else None
            compared = {} if reference is None else _difference(known, reference, confidence) | {"against": against}
            rows.append(row | (_spread_of(known, confidence) if kind_of(values) == "number" else {}) | compared)
            rows += [row | {"category": each} | _share(known, each, confidence) for each in categories]
    return frame(rows, BASELINE_SCHEMA)


def _spread_of(known: pl.Series, confidence: float) -> dict[str, Any]:
    if known.is_empty():
        return {}
    numbers = known.to_numpy()
    mean, sd = float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
    of_mean = Spread(sd / math.sqrt(len(numbers)), len(numbers) - 1)
    low, high = student_interval(mean, of_mean, confidence) if sd > 0 else UNDEFINED
    median, q25, q75 = np.quantile(numbers, [0.5, 0.25, 0.75])
    return {"mean": mean, "mean_low": low, "mean_high": high, "sd": sd, "median": median, "q25": q25, "q75": q75}


def _share(known: pl.Series, category: str, confidence: float) -> dict[str, Any]:
    count = int((known == category).sum())
    if known.is_empty():
        return {"count": count}
    low, high = wilson_interval(count / len(known), len(known), confidence)
    return {"count": count, "share": count / len(known), "share_low": float(low), "share_high": float(high)}


def _difference(known: pl.Series, reference: pl.Series, confidence: float) -> dict[str, float]:
    number = kind_of(known) == "number"
    if min(len(known), len(reference)) < 2:
        return {}
    a, b = known.to_numpy(), reference.to_numpy()
    if number:
        found, (low, high) = standardised_difference(a, b), standardised_interval(a, b, confidence)
    else:
        found = standardised_difference_of_categories(a, b)
        low, high = standardised_interval_of_categories(found, len(a), len(b), confidence)
    return {"difference": found if math.isfinite(found) else math.nan, "difference_low": low, "difference_high": high}


@dataclass(frozen=True, eq=False)
class Grouping:
    """The groups into which a covariate divides images.

    Attributes:
        covariate: its name.
        names: name of each group, as shown.
        bounds: (above, up to) of each group of a number; None for categories. The first has no lower bound, the last no
            upper one.
        of_image: (n,) int, the group of each image; -1 if its value is missing.
    """

    covariate: str
    names: tuple[str, ...]
    bounds: tuple[tuple[float | None, float | None], ...] | None
    of_image: np.ndarray

    @property
    def missing(self) -> int:
        """The images without a value."""
        return int((self.of_image < 0).sum())


def grouping(name: str, patients: pl.Series, values: pl.Series) -> Grouping:
    """Bands of a number at its tertiles, or the categories of another covariate; no group is empty.

    The limits of bands are values that occur, and belong to the lower band. Categories with fewer than `FEWEST`
    patients are joined if there are several.
    """
    if kind_of(values) == "number":
        return _bands(name, values)
    counts = pl.DataFrame({"patient": patients, "value": values}).drop_nulls("value").group_by("value")
    by_count = dict(counts.agg(pl.col("patient").n_unique()).iter_rows())
    rare = [each for each, count in by_count.items() if count < FEWEST]
    rare = rare if len(rare) > 1 else []
    names = [each for each in sorted(by_count) if each not in rare] + ([OTHERS] if rare else [])
    places = {each: names.index(each) if each in names else len(names) - 1 for each in by_count}
    of_image = np.array([-1 if value is None else places[value] for value in values], dtype=np.int64)
    return Grouping(name, tuple(names), None, of_image)


def _bands(name: str, values: pl.Series) -> Grouping:
    numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(numbers)
    if not known.any():
        return Grouping(name, (), (), np.full(len(numbers), -1))
    shares = np.arange(1, BANDS) / BANDS
    limits = np.unique(np.quantile(numbers[known], shares, method="lower"))
    limits = limits[limits < numbers[known].max()]
    of_image = np.where(known, np.searchsorted(limits, numbers, side="left"), -1)
    ends: Sequence[float | None] = [None, *limits.tolist(), None]
    texts = ["", *_written(limits), ""]
    names = [
        f"> {above}, ≤ {up_to}" if above and up_to else f"> {above}" if above else f"≤ {up_to}" if up_to else "all"
        for above, up_to in pairwise(texts)
    ]
    return Grouping(name, tuple(names), tuple(pairwise(ends)), of_image)


def _written(limits: np.ndarray) -> list[str]:
    """The limits with as few digits as tell them apart, at least four."""
    for digits in (4, 6, 9):
        texts = [f"{limit:.{digits}g}" for limit in limits]
        if len({*texts}) == len(texts) and not any("e" in text for text in texts):
            return texts
    return [repr(limit) for limit in limits.tolist()]
