"""Which trials get attention and when, with a stand-in for Ray Data and for the attention itself."""

import io

import pytest
from rich.console import Console

from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import attend as stage
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study

CLUSTER = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)


@pytest.fixture
def done(monkeypatch):
    """The trials that were worked on; those named in `broken` fail."""
    order, broken = [], set()

    def attend_trial(study, directory, trial):
        order.append(trial.strategy.name)
        if trial.strategy.name in broken:
            raise ValueError("attention needs validation patients of both classes 0 and 1")
        directory.trial(trial).attention.write_text("")

    def stream(units, steps, batch_size, on_wait):
        (step,) = steps
        worker = step.worker(**step.options)
        for unit in units:
            yield from worker([unit])

    monkeypatch.setattr(stage, "attend_trial", attend_trial)
    monkeypatch.setattr(stage, "stream", stream)
    return order, broken


@pytest.fixture
def run_with(tmp_path):
    def build(attention):
        study = Study.model_validate(
            {
                "name": "x",
                "cohort": {"manifest": "x.csv"},
                "backbones": ["dinov2-tiny"],
                "strategies": ["classifier_only", "lora"],
                "patients": {"attention": attention},
            }
        )
        console = Console(file=io.StringIO(), width=300)
        run = Run(study, RunDirectory(tmp_path), CLUSTER, Reporter(console, ["attend"]))
        for trial in run.trials():
            run.directory.trial(trial).path.mkdir(parents=True, exist_ok=True)
        return run, console.file

    return build


def test_it_is_off_unless_the_study_asks_for_it(run_with, done):
    run, screen = run_with(attention=False)
    stage.attend(run)
    assert done[0] == [] and "asks for no attention" in screen.getvalue()
    assert not Study.model_validate(run.study.dump() | {"patients": {}}).patients.attention


def test_what_is_there_is_kept_and_what_failed_is_tried_again(run_with, done):
    order, broken = done
    broken.add("lora")
    run, screen = run_with(attention=True)
    stage.attend(run)
    assert order == ["classifier_only", "lora"]
    (lora,) = (trial for trial in run.trials() if trial.strategy.name == "lora")
    folder = run.directory.trial(lora)
    assert "ValueError: attention needs validation patients" in folder.attention_failure.read_text()
    assert "attention failed" in screen.getvalue() and not folder.has_failed, "the trial's own numbers remain valid"
    broken.clear()
    stage.attend(run)
    assert order == ["classifier_only", "lora", "lora"]
    assert not folder.attention_failure.exists()
    stage.attend(run)
    assert len(order) == 3 and "complete" in screen.getvalue()
