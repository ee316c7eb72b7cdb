"""How two cohorts differ, on run directories made by hand."""

import numpy as np
import polars as pl
import pytest

from benchmark.analysis.shifts import SHIFTS_SCHEMA, VESSELS, shift_rows
from benchmark.storage.rundir import RunDirectory, write_array, write_parquet
from stats.standardised import standardised_difference

KEY = ("a", "partial", 0)


def cohort(path, patients, brightness, vessel):
    """Two noisy images per patient, all field of view; the first image has no masks."""
    directory, n = RunDirectory(path), 2 * patients
    noise = np.random.default_rng(1).integers(0, 20, (n, 224, 224, 3))
    write_array(directory.images, (noise + brightness).astype(np.uint8))
    write_array(directory.regions, np.full((n, 4, 224, 224), 255, np.uint8))
    names = [f"{i}.jpg" for i in range(n)]
    shares = vessel + np.arange(n) / 1000
    table = {"image": names} | dict.fromkeys(VESSELS, shares)
    errors = pl.Series("error", ["no mask", *[None] * (n - 1)], dtype=pl.String)
    write_parquet(directory.vessels, pl.DataFrame(table).with_columns(errors))
    labels = [place // 2 % 2 for place in range(n)]
    people = [f"p{place // 2}" for place in range(n)]
    return directory, pl.DataFrame({"row": range(n), "image": names, "patient_id": people, "label": labels})


@pytest.fixture
def found(tmp_path):
    inside, outside = cohort(tmp_path / "a", 6, 120, 0.10), cohort(tmp_path / "b", 8, 90, 0.07)
    scores = {KEY: (np.linspace(0.3, 0.8, 12), np.linspace(0.2, 0.6, 16))}
    rows = shift_rows((inside[0], outside[0]), (inside[1], outside[1]), scores, 0.95)
    return pl.DataFrame(rows, schema=SHIFTS_SCHEMA)


def test_a_darker_camera_is_seen(found):
    row = found.filter(measure="brightness").row(0, named=True)
    assert row["internal"] > row["external"]
    assert row["difference"] < row["high"] < 0
    assert (row["n_internal"], row["n_external"]) == (6, 8), "patients, not images"
    assert found.filter(measure="redness").row(0, named=True)["difference"] == pytest.approx(0, abs=1.5)


def test_images_without_masks_have_no_vessel_share(found):
    """Means of patients: the first patient has one image with masks."""
    row = found.filter(measure="vessel").row(0, named=True)
    inside = [0.101, *(0.1 + (2 * i + 0.5) / 1000 for i in range(1, 6))]
    outside = [0.071, *(0.07 + (2 * i + 0.5) / 1000 for i in range(1, 8))]
    assert row["internal"] == pytest.approx(np.mean(inside))
    assert row["difference"] == pytest.approx(standardised_difference(outside, inside))


def test_scores_are_compared_within_a_label(found):
    positive = found.filter(measure="logit of the score, positive").row(0, named=True)
    chosen = np.linspace(0.3, 0.8, 12).reshape(-1, 2)[1::2]
    assert positive["internal"] == pytest.approx(np.log(chosen / (1 - chosen)).mean())
    assert (positive["n_internal"], positive["n_external"]) == (3, 4)
    assert (positive["backbone"], positive["strategy"], positive["seed"]) == KEY
