"""The study that the doctor examines."""

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from benchmark.preflight.plan import expected_cohort
from benchmark.scheduling.cluster import Cluster, connect
from benchmark.study.config import Study
from benchmark.study.manifest import Manifest
from benchmark.trial.costs import GIB, Machine, on_gpus, this_machine


@dataclass(frozen=True)
class Case:
    """A study that is about to run, and the facts that several checks need."""

    study: Study
    out: Path
    address: str | None = None

    @cached_property
    def manifest(self) -> Manifest:
        return expected_cohort(self.study)

    @property
    def cohort(self) -> pl.DataFrame:
        return self.manifest.images

    @cached_property
    def cluster(self) -> Cluster:
        """The resources of Ray; the connection is closed at once."""
        with tempfile.TemporaryDirectory() as scratch, connect(self.address, log_file=Path(scratch) / "ray.log") as ray:
            return ray

    @cached_property
    def machine(self) -> Machine:
        if self.address is None or not self.cluster.gpu_memory:
            return this_machine(self.study)
        trials = max(1, self.cluster.cpus // self.study.resources.cpus)
        name = ", ".join(self.cluster.accelerators) or "GPU"
        return on_gpus(self.study, self.cluster.gpus, name, self.cluster.gpu_memory * GIB, trials)
