import io
import subprocess
import sys

from rich.console import Console

from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import erase as stage
from benchmark.stages.run import Run
from benchmark.tables import read_parquet
from tests.benchmark.explained import study_of, write_trained

CLUSTER = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)


def test_erased_images_are_complete_or_absent(tmp_path, monkeypatch):
    study = study_of()
    run = Run(study, write_trained(study, tmp_path), CLUSTER, Reporter(Console(file=io.StringIO()), ["erase"]))
    run.directory.painted.parent.mkdir(exist_ok=True)
    monkeypatch.setattr(stage, "stream", lambda rows, steps, *_, **__: map(steps[0].function, rows))
    erase_all, unreadable = stage.erase_all, [4]

    def reading(images, planes):
        unreadable[0] -= 1
        if unreadable[0] == 0:
            raise OSError("Input/output error")
        return erase_all(images, planes)

    monkeypatch.setattr(stage, "erase_all", reading)
    assert stage.erase(run) == "3.png: OSError: Input/output error"
    assert not run.directory.painted.exists()
    assert stage.erase(run) == ""
    assert read_parquet(run.directory.painted)["painted"].null_count() == 1, "the image without vessels"


def test_its_tasks_do_not_wait_for_torch():
    script = "import sys, benchmark.stages.erase; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
