"""The notices at the top of a page, from the files of a run directory."""

import polars as pl
import pytest

from benchmark.report.notices import notices
from benchmark.storage.rundir import RunDirectory, write_csv, write_parquet
from benchmark.study.config import Study

PREPARED = {"images": 100, "rejected": 0}


@pytest.fixture
def directory(tmp_path):
    """A run with 80 test images, none of whose masks is flagged."""
    directory = RunDirectory(tmp_path)
    directory.vessels.parent.mkdir()
    write_parquet(directory.vessels, pl.DataFrame({"flags": [""] * 80}))
    directory.complete("prepare", **PREPARED)
    directory.complete("segment", source={"source": "masks"}, failed=0)
    return directory


def study(backbone="dinov2-vit-g14", **cohort):
    cohort = cohort or {"manifest": "/data/cohort.csv"}
    chosen = {"backbones": [backbone], "strategies": ["lora"]}
    return Study.model_validate({"name": "carotid", "cohort": cohort} | chosen)


def test_nothing_to_say(directory):
    assert notices(study(), directory) == []


@pytest.mark.parametrize(("flagged", "expected"), [(8, False), (9, True)])
def test_many_doubtful_masks(directory, flagged, expected):
    write_parquet(directory.vessels, pl.DataFrame({"flags": ["no_vessels"] * flagged + [""] * (80 - flagged)}))
    assert bool(notices(study(), directory)) == expected
    assert all(notice.startswith(f"Vessel masks of {flagged} of 80 test") for notice in notices(study(), directory))


def test_repeated_images(directory):
    directory.complete("prepare", **PREPARED, repeated=2, contradictory=1)
    (notice,) = notices(study(), directory)
    assert notice.startswith("2 of 100 images have the same pixels")
    assert "1 of them with the other label" in notice


def test_the_best_that_any_model_could_do_on_synthetic_images(directory):
    """Severity ranks the positive image above two of three negative images."""
    images = {"image": list("abcd"), "label": [1, 0, 0, 0]}
    write_parquet(directory.cohort, pl.DataFrame(images | {"split": ["test"] * 4}))
    directory.synthetic.mkdir()
    severities = pl.DataFrame({"image": list("abcd"), "severity": [0.5, 0.1, 0.2, 0.9]})
    write_csv(directory.synthetic / "cohort.csv", severities)
    (notice,) = notices(study(synthetic={"patients": 60, "signal": "periphery", "best_auc": 0.9}), directory)
    assert "in the periphery" in notice
    assert "an AUC of 0.90 in expectation (0.667 on these test images)" in notice


def test_a_caution_of_the_source_of_the_masks_and_a_licence(directory):
    directory.complete("segment", source={"caution": "Arteries are confused."}, failed=0)
    caution, licence = notices(study("retfound-vit-l16"), directory)
    assert caution == "Arteries are confused."
    assert "non-commercial" in licence
