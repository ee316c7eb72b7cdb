"""A trial's ratios under every convention, from a saliency table made by hand."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import gmean, sem, t

from benchmark.analysis.ratios import SCHEMA, ratio_rows
from benchmark.study.config import Statistics
from stats.resamples import PatientResamples, draw_patients
from xai.saliency_row import measure_names

PATIENTS = ["a", "a", "a", "b", "c"]
NONE = np.zeros(5, dtype=bool)


@pytest.fixture
def saliency():
    """Random means and the ratios that follow from them; the last image has no vessels."""
    rng = np.random.default_rng(4)
    table = {name: rng.uniform(0.2, 1.0, 5) for name in measure_names("minmax", True, True) if "ratio" not in name}
    for suffix in ("", "_raw"):
        for region in ("artery", "vein", "vessel"):
            table[f"{region}{suffix}"][4] = np.nan
            for outside in ("", "_fov"):
                table[f"{region}_ratio{outside}{suffix}"] = (
                    table[f"{region}{suffix}"] / table[f"non_vessel{outside}{suffix}"]
                )
    names = measure_names("minmax", True, True)
    for name in names:
        if name not in table:
            table[name] = table[name.removesuffix("_ratio")] / table["fov"]
    return (
        pl.DataFrame({name: table[name] for name in names}).fill_nan(None).with_columns(patient_id=pl.Series(PATIENTS))
    )


@pytest.fixture
def rows(saliency):
    resamples = draw_patients(PATIENTS, [0, 0, 0, 1, 1], 200, seed=0)
    return pl.DataFrame(ratio_rows(saliency, resamples, "minmax", Statistics(), NONE), schema=SCHEMA)


def test_every_combination_is_there_once(rows):
    key = ["region", "against", "scaling", "average", "images"]
    assert len(rows) == len(rows.unique(key)) == 3 * 2 * 2 * 4 + 7 * 4
    others = rows.filter(against="fov")["region"].unique(maintain_order=True).to_list()
    assert others == [
        "ring", "centre", "superior_temporal", "superior_nasal", "inferior_temporal", "inferior_nasal", "disc",
    ]  # fmt: skip
    assert rows.row(0, named=True) | dict.fromkeys(("ratio", "low", "high")) == dict.fromkeys(SCHEMA) | {
        "region": "artery", "against": "non_vessel", "scaling": "minmax", "average": "images",
        "images": "all", "n_images": 4, "n_patients": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("region", "against", "scaling", "inside", "outside"),
    [
        ("vessel", "non_vessel", "minmax", "vessel", "non_vessel"),
        ("vein", "non_vessel_fov", "raw", "vein_raw", "non_vessel_fov_raw"),
        ("disc", "fov", "minmax", "disc", "fov"),
    ],
)
def test_four_averages(saliency, rows, region, against, scaling, inside, outside):
    found = {
        row["average"]: row["ratio"]
        for row in rows.filter(region=region, against=against, scaling=scaling).iter_rows(named=True)
    }
    known = saliency.drop_nulls([inside, outside])
    ratio = known[inside] / known[outside]
    assert found["images"] == pytest.approx(ratio.mean())
    assert found["sums"] == pytest.approx(known[inside].sum() / known[outside].sum())
    assert found["geometric"] == pytest.approx(gmean(ratio))
    by_patient = known.with_columns(ratio=ratio).group_by("patient_id").agg(pl.col("ratio").mean())
    assert found["patients"] == pytest.approx(by_patient["ratio"].mean())


def test_a_ratio_of_0_has_no_logarithm_and_is_left_out_of_the_geometric_mean_alone(saliency):
    resamples = draw_patients(PATIENTS, [0, 0, 0, 1, 1], 200, seed=0)
    without = saliency.with_columns(vessel_ratio=pl.when(pl.int_range(5) == 3).then(0.0).otherwise("vessel_ratio"))
    rows = pl.DataFrame(ratio_rows(without, resamples, "minmax", Statistics(), NONE), schema=SCHEMA)
    of_vessel = rows.filter(region="vessel", against="non_vessel", scaling="minmax")
    counts = {average: of for average, *of in of_vessel.select("average", "n_images", "n_patients").iter_rows()}
    assert counts == {"images": [4, 2], "patients": [4, 2], "sums": [4, 2], "geometric": [3, 1]}
    geometric = of_vessel.filter(average="geometric")["ratio"][0]
    assert geometric == pytest.approx(gmean(saliency["vessel_ratio"].to_numpy()[:3]))


def test_doubtful_masks_can_be_left_out(saliency):
    resamples, doubtful = draw_patients(PATIENTS, [0, 0, 0, 1, 1], 200, seed=0), np.array([1, 0, 0, 0, 0], dtype=bool)
    rows = pl.DataFrame(ratio_rows(saliency, resamples, "minmax", Statistics(), doubtful), schema=SCHEMA)
    assert len(rows) == 3 * 2 * 3 * 4 + 7 * 4
    vessel = rows.filter(region="vessel", against="non_vessel", scaling="minmax", average="images")
    ratios = (saliency["vessel"] / saliency["non_vessel"]).to_numpy()
    found = {row["images"]: (row["ratio"], row["n_images"]) for row in vessel.to_dicts()}
    assert found == {
        "all": (pytest.approx(np.nanmean(ratios)), 4),
        "unflagged": (pytest.approx(np.nanmean(ratios[1:])), 3),
    }


def test_intervals_are_over_patients(saliency):
    """In a resample with only patient b, every average is b's ratio."""
    only_b = PatientResamples(np.tile([0, 1, 0], (100, 1)), np.array([0, 0, 0, 1, 2]))
    own = saliency["vessel"][3] / saliency["non_vessel"][3]
    by_resamples = Statistics(interval="percentile")
    rows = [row for row in ratio_rows(saliency, only_b, "minmax", by_resamples, NONE) if row["region"] == "vessel"]
    for row in rows[:4]:
        assert (row["low"], row["high"]) == (pytest.approx(own), pytest.approx(own))


def test_students_interval_is_that_of_the_log_ratio(saliency):
    """Two patients: t with one degree of freedom, standard error over the mean."""
    some = saliency.head(4)
    once = PatientResamples(np.ones((100, 2), dtype=np.uint8), np.array([0, 0, 0, 1]))
    rows = pl.DataFrame(ratio_rows(some, once, "minmax", Statistics(), NONE[:4]), schema=SCHEMA)
    row = rows.filter(region="vessel", average="patients", against="non_vessel", scaling="minmax").row(0, named=True)
    ratios = (some["vessel"] / some["non_vessel"]).to_numpy()
    means = np.array([ratios[:3].mean(), ratios[3]])
    margin = t.isf(0.025, 1) * sem(means) / means.mean()
    assert row["ratio"] == pytest.approx(means.mean())
    assert (row["low"], row["high"]) == pytest.approx(tuple(means.mean() * np.exp([-margin, margin])))
