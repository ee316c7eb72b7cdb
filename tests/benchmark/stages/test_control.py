"""Which controls are computed and when, with stand-ins for Ray Data and for the controls themselves."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import control as stage
from benchmark.stages.control import control
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.controls import CONTROLS

CLUSTER = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)


@pytest.fixture
def computed(monkeypatch):
    """`order`: the controls computed; `broken`: the controls that fail; `unpainted`: why images could not be erased."""
    log = SimpleNamespace(order=[], broken=set(), unpainted="")

    def computing(name):
        def compute(explained):
            log.order.append((explained.trial.strategy.name, name))
            if log.order[-1] in log.broken:
                raise RuntimeError("CUDA out of memory\nsecond line")
            explained.directory.trial(explained.trial).control(name).write_text("{}")

        return compute

    def stream(units, steps, batch_size, on_wait):
        (step,) = steps
        worker = step.worker(**step.options)
        for unit in units:
            yield from worker([unit])

    monkeypatch.setattr(stage, "COMPUTE", {name: computing(name) for name in CONTROLS})
    monkeypatch.setattr(stage, "stream", stream)
    monkeypatch.setattr(stage, "erase", lambda run: log.order.append("images") or log.unpainted)
    return log


@pytest.fixture
def run_with(tmp_path):
    """A run whose two trials have been explained, and its screen."""

    def build(**controls):
        study = Study.model_validate(
            {
                "name": "x",
                "cohort": {"manifest": "x.csv"},
                "backbones": ["dinov2-tiny"],
                "strategies": ["classifier_only", "lora"],
                "controls": controls,
            }
        )
        console = Console(file=io.StringIO(), width=300)
        run = Run(study, RunDirectory(tmp_path), CLUSTER, Reporter(console, ["control"]))
        for trial in run.trials():
            run.directory.trial(trial).path.mkdir(parents=True, exist_ok=True)
        return run, console.file

    return build


def test_each_control_is_one_switch(run_with, computed):
    control(run_with(vessel_permutation=False, other_class=False, parameter_randomisation=False, erasure=False)[0])
    assert computed.order == []
    control(run_with(other_class=False, parameter_randomisation=False, erasure=False)[0])
    assert computed.order == [("classifier_only", "vessel_permutation"), ("lora", "vessel_permutation")]


def test_what_is_there_is_kept_and_images_are_painted_before_the_first_erasure(run_with, computed):
    control(run_with(erasure=False)[0])
    computed.order.clear()
    control(run_with()[0])
    assert computed.order == ["images", ("classifier_only", "erasure"), ("lora", "erasure")]
    computed.order.clear()
    run, screen = run_with()
    control(run)
    assert computed.order == []
    assert "complete" in screen.getvalue()


def test_a_control_that_fails_is_reported_and_tried_again_and_its_trial_is_kept(run_with, computed):
    computed.broken.add(("lora", "parameter_randomisation"))
    run, screen = run_with()
    control(run)
    assert len(computed.order) == 1 + 2 * 4
    assert (
        "✗ dinov2-tiny-lora-s0: parameter randomisation failed: RuntimeError: CUDA out of memory\n" in screen.getvalue()
    )
    assert len(run.trials()) == 2
    folder = run.directory.trial(run.trials()[1])
    assert folder.control_failure("parameter_randomisation").read_text() == "RuntimeError: CUDA out of memory\n"
    computed.order.clear()
    computed.broken.clear()
    control(run_with()[0])
    assert computed.order == [("lora", "parameter_randomisation")]
    assert not folder.control_failure("parameter_randomisation").exists()


def test_images_that_cannot_be_erased_cost_the_erasure_alone(run_with, computed):
    computed.unpainted = "7.png: OSError: Input/output error"
    run, screen = run_with(parameter_randomisation=False, other_class=False)
    control(run)
    assert computed.order == ["images", ("classifier_only", "vessel_permutation"), ("lora", "vessel_permutation")]
    for trial in run.trials():
        assert run.directory.trial(trial).control_failure("erasure").read_text() == computed.unpainted + "\n"
        assert f"✗ {trial.name}: erasure failed: {computed.unpainted}" in screen.getvalue()
    computed.order.clear()
    computed.unpainted = ""
    control(run_with(parameter_randomisation=False, other_class=False)[0])
    assert computed.order == ["images", ("classifier_only", "erasure"), ("lora", "erasure")], "tried again"
