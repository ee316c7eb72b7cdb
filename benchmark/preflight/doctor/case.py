"""The study that is checked."""

import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
import torch

from benchmark.preflight.expected import expected_cohort
from benchmark.scheduling.cluster import Cluster, connect
from benchmark.study.config import Study
from benchmark.study.manifest import Manifest
from benchmark.trial.costs import GIB, Machine, on_gpus, this_machine


@dataclass(frozen=True)
class Case:
    """A study that is about to run, and the facts that several checks need.

    Attributes:
        study: the study.
        out: its run directory.
        address: address of a Ray cluster; None if Ray starts on this machine.
        resume: whether the run continues the one in `out`.
        quick: whether what takes long is left out (`benchmark.preflight.doctor.LEFT_OUT`): Ray does not start, no
            cluster is joined, and the model hub is not asked.
    """

    study: Study
    out: Path
    address: str | None = None
    resume: bool = False
    quick: bool = False

    @cached_property
    def manifest(self) -> Manifest:
        return expected_cohort(self.study)

    @property
    def cohort(self) -> pl.DataFrame:
        return self.manifest.images

    @cached_property
    def cluster(self) -> Cluster:
        """The resources of Ray; the connection is closed at once. With `quick`, those that this machine has."""
        if self.quick:
            return Cluster(1, os.cpu_count() or 1, torch.cuda.device_count(), None, (), is_local=True)
        with tempfile.TemporaryDirectory() as scratch, connect(self.address, log_file=Path(scratch) / "ray.log") as ray:
            return ray

    @cached_property
    def machine(self) -> Machine:
        if self.address is None or self.quick or not self.cluster.gpu_memory:
            return this_machine(self.study)
        trials = max(1, self.cluster.cpus // self.study.resources.cpus)
        name = ", ".join(self.cluster.accelerators) or "GPU"
        return on_gpus(self.study, self.cluster.gpus, name, self.cluster.gpu_memory * GIB, trials)
