import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.analysis.covariates import BASELINE_SCHEMA, OTHERS, baseline, grouping, per_patient, read_covariates
from benchmark.storage.rundir import RunDirectory, write_parquet
from stats.standardised import standardised_difference, standardised_difference_of_categories

COHORT = pl.DataFrame(
    {
        "image": [f"{i}.png" for i in range(12)],
        "patient_id": ["a", "a", "b", "b", "c", "d", "e", "f", "f", "g", "h", "i"],
        "label": [0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1],
        "split": ["train"] * 6 + ["test"] * 6,
    }
)
COVARIATES = pl.DataFrame(
    {
        "age": [50.0, 52.0, None, 60.0, 70.0, 66.0, 41.0, 44.0, None, None, 71.0, 58.0],
        "camera": ["x", "y", "x", "x", None, "y", "x", "y", "x", "y", "y", "y"],
    }
)
TABLE = baseline(COHORT, COVARIATES, 0.95)


def row(covariate, patients, category=None):
    rows = TABLE.filter(covariate=covariate, patients=patients)
    (found,) = [each for each in rows.to_dicts() if each["category"] == category]
    return found


def test_a_patient_has_one_value():
    """The mean of a number; the most frequent category, and the first of equals."""
    assert per_patient(COHORT["patient_id"], COVARIATES["age"]).to_list() == [51, 60, 70, 66, 41, 44, None, 71, 58]
    cameras = per_patient(COHORT["patient_id"], COVARIATES["camera"]).to_list()
    assert cameras == ["x", "x", None, "y", "x", "y", "y", "y", "y"]


def test_a_number_is_described_per_patient_in_every_split():
    found = row("age", "test")
    known = np.array([41, 44, 71, 58])
    assert (found["n_patients"], found["n_missing"]) == (5, 1)
    assert (found["mean"], found["sd"]) == pytest.approx((known.mean(), known.std(ddof=1)))
    assert (found["median"], found["q25"], found["q75"]) == pytest.approx(tuple(np.quantile(known, [0.5, 0.25, 0.75])))
    assert found["mean_low"] < found["mean"] < found["mean_high"]
    assert found["against"] == "train"
    assert found["difference"] == pytest.approx(standardised_difference(known, [51, 60, 70, 66]))
    assert row("age", "train")["difference"] is None


def test_a_category_has_its_shares_and_one_difference():
    found = row("camera", "test", "y")
    assert (found["n_patients"], found["n_missing"], found["count"], found["share"]) == (5, 0, 4, 0.8)
    assert found["share_low"] < 0.8 < found["share_high"] and found["difference"] is None
    expected = standardised_difference_of_categories(["x", "y", "y", "y", "y"], ["x", "x", "y"])
    assert row("camera", "test")["difference"] == pytest.approx(expected)
    assert row("camera", "test")["difference_low"] == 0


def test_patients_with_a_positive_image_are_compared_with_the_others():
    """f has one positive image of two, so f is positive."""
    found = row("age", "positive")
    assert (found["n_patients"], found["against"]) == (5, "negative")
    assert found["difference"] == pytest.approx(standardised_difference([60, 66, 44, 71, 58], [51, 70, 41]))


def test_columns_and_undefined_values():
    assert TABLE.schema == pl.Schema(BASELINE_SCHEMA)
    nothing = baseline(COHORT, pl.DataFrame({"age": pl.Series([None] * 12, dtype=pl.Float64)}), 0.95)
    assert set(nothing["mean"]) == {None} and set(nothing["n_missing"]) == {4, 5}
    equal = baseline(COHORT, pl.DataFrame({"age": [1.0] * 6 + [2.0] * 6}), 0.95)
    assert equal.filter(patients="test")["difference"][0] is None, "an infinite difference is not a number"


def test_bands_have_about_equal_counts_and_belong_to_their_limits():
    values = pl.Series([50.0, 51.0, 52.0, 53.0, None, 54.0, 55.0])
    found = grouping("age", pl.Series(list("abcdefg")), values)
    assert found.names == ("≤ 51", "> 51, ≤ 53", "> 53")
    assert found.bounds == ((None, 51), (51, 53), (53, None))
    assert found.of_image.tolist() == [0, 0, 1, 1, -1, 2, 2] and found.missing == 1


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0123456, 0.0345678, 0.05], ("≤ 0.01235", "> 0.01235, ≤ 0.03457", "> 0.03457")),
        ([1950.0, 20251.0, 20260.0], ("≤ 1950", "> 1950, ≤ 20251", "> 20251")),
        ([1.00001, 1.00002, 2.0], ("≤ 1.00001", "> 1.00001, ≤ 1.00002", "> 1.00002")),
        ([7.0, 7.0, 7.0], ("all",)),
    ],
)
def test_bands_are_named_with_as_many_digits_as_tell_them_apart(values, names):
    assert grouping("x", pl.Series("abc"), pl.Series(values)).names == names


@given(st.lists(st.integers(0, 6) | st.none(), min_size=1, max_size=40))
def test_no_band_is_empty_and_every_value_is_in_its_own(values):
    found = grouping("age", pl.Series(range(len(values))), pl.Series(values, dtype=pl.Float64))
    assert set(found.of_image.tolist()) - {-1} == set(range(len(found.names)))
    for value, place in zip(values, found.of_image.tolist(), strict=True):
        if value is None:
            assert place == -1
            continue
        assert found.bounds is not None
        above, up_to = found.bounds[place]
        assert (above is None or value > above) and (up_to is None or value <= up_to)
    same = {
        value: {int(found.of_image[i]) for i, other in enumerate(values) if other == value} for value in set(values)
    }
    assert all(len(places) == 1 for places in same.values())


def test_rare_categories_are_joined_if_there_are_several():
    patients = pl.Series(range(34))
    values = pl.Series(["a"] * 12 + ["c"] * 12 + ["b"] * 5 + ["d"] * 4 + [None])
    found = grouping("camera", patients, values)
    assert found.names == ("a", "c", OTHERS) and found.bounds is None
    assert found.of_image.tolist() == [0] * 12 + [1] * 12 + [2] * 9 + [-1]
    assert grouping("camera", patients, values.replace("d", "a")).names == ("a", "b", "c")


def test_categories_are_rare_by_patients_not_by_images():
    patients = pl.Series([0] * 20 + [1] * 20 + list(range(2, 22)))
    values = pl.Series(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    assert grouping("camera", patients, values).names == ("c", OTHERS)


def test_covariates_follow_the_order_of_the_cohort(tmp_path):
    directory = RunDirectory(tmp_path)
    assert read_covariates(directory, COHORT).columns == []
    write_parquet(directory.covariates, COHORT.select("image").with_columns(COVARIATES["age"]).reverse())
    found = read_covariates(directory, COHORT)
    assert found.columns == ["age"] and found["age"].to_list() == COVARIATES["age"].to_list()
    assert not math.isnan(found["age"][0])
