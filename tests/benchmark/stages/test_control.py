"""Which controls are computed and when, with a stand-in for Ray Data and for the controls themselves."""

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


@pytest.fixture
def computed(monkeypatch):
    """`order`: what was computed; what is in `broken` fails."""
    told = SimpleNamespace(order=[], broken=set())

    def computing(name):
        def compute(explained):
            told.order.append((explained.cell.strategy.name, name))
            if told.order[-1] in told.broken:
                raise RuntimeError("CUDA out of memory\nsecond line")
            explained.directory.trial(explained.cell).control(name).write_text("{}")

        return compute

    def stream(units, steps, batch_size, on_wait):
        (step,) = steps
        worker = step.worker(**step.options)
        for unit in units:
            yield from worker([unit])

    monkeypatch.setattr(stage, "COMPUTE", {name: computing(name) for name in CONTROLS})
    monkeypatch.setattr(stage, "stream", stream)
    monkeypatch.setattr(stage, "_erase", lambda run: told.order.append("photographs"))
    return told


@pytest.fixture
def run_with(tmp_path):
    """A run whose two cells have been explained, and its screen."""

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
        cluster = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
        run = Run(study, RunDirectory(tmp_path), cluster, Reporter(console, ["control"]))
        for cell in run.cells():
            run.directory.trial(cell).path.mkdir(parents=True, exist_ok=True)
        return run, console.file

    return build


def test_each_control_is_one_switch(run_with, computed):
    control(run_with(mask_null=False, other_class=False, model_null=False, erasure=False)[0])
    assert computed.order == []
    control(run_with(other_class=False, model_null=False, erasure=False)[0])
    assert computed.order == [("classifier_only", "mask_null"), ("lora", "mask_null")]


def test_what_is_there_is_kept_and_photographs_are_painted_before_the_first_erasure(run_with, computed):
    control(run_with(erasure=False)[0])
    computed.order.clear()
    control(run_with()[0])
    assert computed.order == ["photographs", ("classifier_only", "erasure"), ("lora", "erasure")]
    computed.order.clear()
    run, screen = run_with()
    control(run)
    assert computed.order == []
    assert "complete" in screen.getvalue()


def test_a_control_that_fails_is_told_and_tried_again_and_its_cell_stands(run_with, computed):
    computed.broken.add(("lora", "model_null"))
    run, screen = run_with()
    control(run)
    assert len(computed.order) == 1 + 2 * 4
    assert "✗ dinov2-tiny-lora-s0: model null failed: RuntimeError: CUDA out of memory\n" in screen.getvalue()
    assert len(run.cells()) == 2
    folder = run.directory.trial(run.cells()[1])
    assert folder.control_failure("model_null").read_text() == "RuntimeError: CUDA out of memory\n"
    computed.order.clear()
    computed.broken.clear()
    control(run_with()[0])
    assert computed.order == [("lora", "model_null")]
    assert not folder.control_failure("model_null").exists()
