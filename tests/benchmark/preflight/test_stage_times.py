"""Estimates of stages, compared with arithmetic, for work that takes one second per piece."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.preflight import stage_times as module
from benchmark.preflight.calibration import Pace
from benchmark.preflight.expected import expected_cohort
from benchmark.preflight.stage_times import TASK, TRIAL, WORKER, Plan, stage_times, total
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import load_study
from benchmark.study.trials import trials_of
from benchmark.trial.costs import GIB, Machine

DEMO = Path(__file__).resolve().parents[3] / "configs" / "demo.yaml"
TWO_AT_ONCE = Machine(torch.device("cpu"), "CPU", trials=2, threads=1, memory=8 * GIB, half=False)
PACE = Pace(*[1.0] * 11, slowdown=1.0)
IMAGES, TEST = 400, 140  # of the demo


@pytest.fixture(autouse=True)
def one_second_per_block(monkeypatch):
    for where in ("benchmark.trial.costs", "benchmark.preflight.stage_times"):
        monkeypatch.setattr(f"{where}.block_seconds", lambda name, device, threads: 1.0)


@pytest.fixture
def plan(tmp_path):
    """The demo with one backbone and changes, before or after a part of the run."""

    def made(resume: bool = False, pace: Pace = PACE, **overrides) -> Plan:
        study = load_study(DEMO, {"backbones": ["dinov2-tiny"]} | overrides)
        return Plan(study, expected_cohort(study).images, tmp_path, resume, TWO_AT_ONCE, pace)

    return made


def seconds(plan: Plan) -> dict[str, float]:
    return {stage.name: stage.seconds for stage in stage_times(plan)}


def test_workers_share_the_images_and_take_time_to_start(plan):
    found = seconds(plan())
    assert found["draw"] == found["prepare"] == IMAGES / 2 + TASK * WORKER
    assert found["segment"] == TEST / 2 + WORKER
    assert list(found) == [
        "start", "draw", "prepare", "segment", "embed", "train", "explain", "control", "report",
    ]  # fmt: skip
    assert total(stage_times(plan())) == pytest.approx(sum(found.values()))


def test_a_busy_machine_takes_longer_but_no_more_of_the_processor(plan):
    alone, busy = (stage_times(plan(pace=replace(PACE, slowdown=slowdown))) for slowdown in (1.0, 3.0))
    for one, other in zip(alone, busy, strict=True):
        assert other.seconds == pytest.approx(3 * one.seconds)
        assert other.processor == pytest.approx(one.processor)


def test_training_counts_every_epoch_of_every_trial(plan):
    few, many = (seconds(plan(training={"epochs": epochs}))["train"] for epochs in (1, 3))
    starting = 3 * TRIAL * WORKER / 2  # three trials, two at once
    assert many - starting == pytest.approx(3 * (few - starting))
    assert few > starting


def test_other_stages_scale_with_what_they_do(plan):
    small, large = (seconds(plan(controls={"seeds": count}))["control"] for count in (1, 2))
    images, depths = 32, 6  # of four blocks: the classifier, each block, and everything
    passes = 4 + 1 + 2 * 1  # all blocks and the view of an image, and the gradient of the last block
    assert large - small == pytest.approx(3 * depths * images * (passes + 1) / 2)  # three trials; similarity: one
    none = seconds(plan(controls=dict.fromkeys(module.CONTROLS, False)))
    assert none["control"] == 0
    with_figures, without = (seconds(plan(explain={"examples": count}))["explain"] for count in (3, 0))
    assert with_figures - without == pytest.approx(3 * 9)  # three trials; drawn one after another


def test_a_search_is_a_stage(plan):
    found = {stage.name: stage for stage in stage_times(plan(search={"candidates": 6}, training={"epochs": 7}))}
    assert found["search"].work == "126 epochs at most"
    assert found["search"].seconds > found["train"].seconds


def test_what_is_complete_takes_no_time_in_a_resumed_run(plan, tmp_path):
    directory = RunDirectory(tmp_path)
    directory.complete("prepare")
    directory.complete("segment")
    first, *_ = trials_of(plan().study)
    directory.trial(first).path.mkdir(parents=True)
    directory.trial(first).record.touch()
    fresh, resumed = seconds(plan()), {stage.name: stage for stage in stage_times(plan(resume=True))}
    for name in ("draw", "prepare", "segment"):
        assert (resumed[name].work, resumed[name].seconds) == ("complete", 0)
    assert resumed["train"].work == "16 epochs at most"
    assert resumed["train"].seconds < fresh["train"]
    assert resumed["control"].seconds == fresh["control"]
    assert seconds(plan())["draw"] > 0, "without --resume, what is there does not count"


def test_a_finished_run_leaves_the_report(plan, tmp_path):
    directory = RunDirectory(tmp_path)
    for stage in ("prepare", "segment"):
        directory.complete(stage)
    for trial in trials_of(plan().study):
        folder = directory.trial(trial)
        folder.path.mkdir(parents=True)
        controls = [folder.control(name) for name in module.CONTROLS]
        for file in (folder.record, folder.saliency, *controls):
            file.touch()
    left = {name: time for name, time in seconds(plan(resume=True)).items() if time}
    assert set(left) == {"start", "report"}


def test_folds_train_again_and_share_the_rest(plan):
    """Two repeats of five folds; images, masks and embeddings are made once, for all images."""
    folded = plan(splits={"folds": 5, "repeats": 2})
    work = {stage.name: stage.work for stage in stage_times(folded)}
    once = {stage.name: stage.work for stage in stage_times(plan())}
    assert work["prepare"] == once["prepare"] == f"{IMAGES} images"
    assert work["segment"] == f"{IMAGES} images"
    assert work["embed"] == f"{IMAGES * 2:,} views", "of every image, its training view as well"
    trials, epochs = len(folded.trials), folded.study.training.epochs
    assert work["train"] == f"{10 * trials * epochs:,} epochs at most"
    assert work["explain"] == f"{10 * trials * IMAGES // 5:,} maps"
    assert work["control"] == f"{10 * 4 * trials:,} controls"


def test_a_resumed_run_counts_the_folds_that_are_left(plan, tmp_path):
    folded = plan(resume=True, splits={"folds": 2, "repeats": 1})
    for trial in trials_of(folded.study):
        record = RunDirectory(tmp_path).fold("r1-f2").trial(trial).record
        record.parent.mkdir(parents=True)
        record.write_text("{}")
    (work,) = (stage.work for stage in stage_times(folded) if stage.name == "train")
    assert work == f"{len(folded.trials) * folded.study.training.epochs:,} epochs at most"
