"""Applying a trained trial in a worker; whole validations are in test_validate.py."""

import polars as pl
import pytest

from benchmark.stages.worker import OneTrial
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.study.trials import trials_of
from benchmark.trial.apply import open_trained
from benchmark.trial.fit import apply_trial
from tests.benchmark.explained import draw, study_of, write_trained


@pytest.fixture
def worker(tmp_path):
    """A trained trial, and a cohort of its first images; one unit per trial."""
    study = study_of()
    run = write_trained(study, tmp_path / "run")
    (trial,) = trials_of(study)
    write_json(run.trial(trial).record, {"epochs": 3})
    outside = RunDirectory(tmp_path / "run" / "external" / "B")
    outside.path.mkdir(parents=True)
    outside.apply(run, None)
    outside.weights.write_bytes(run.weights.read_bytes())
    names = [f"b{i}.png" for i in range(4)]
    table = {"row": range(4), "image": names, "patient_id": names, "label": [0, 1, 0, 1], "split": ["test"] * 4}
    write_parquet(outside.cohort, pl.DataFrame(table))
    write_array(outside.images, draw()[0][:4])
    return OneTrial(study, outside, [trial], apply_trial), outside.trial(trial), run.trial(trial)


def test_scores_equal_those_of_the_run_on_the_same_pixels(worker):
    """The record of the training is carried over, and validation images come first."""
    apply, there, own = worker
    (result,) = apply([{"trial": 0}])
    assert result["error"] == ""
    before, after = pl.read_parquet(own.predictions), pl.read_parquet(there.predictions)
    assert after.filter(split="val").equals(before.filter(split="val"))
    expected = open_trained(apply.study, apply.directory.trained_in, apply.trials[0]).scores(draw()[0][:4])
    assert after.filter(split="test")["score"].to_list() == pytest.approx(expected, abs=1e-5)
    assert there.is_trained


def test_a_trial_without_its_weights_fails_alone(worker):
    apply, there, own = worker
    for file in own.path.glob("*.safetensors"):
        file.unlink()
    (result,) = apply([{"trial": 0}])
    assert result["error"]
    assert not there.predictions.exists()
