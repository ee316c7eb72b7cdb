"""Cases for the doctor: the demo study with changes, and resources of a Ray that was never started."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.scheduling.cluster import Cluster
from benchmark.study.config import load_study

DEMO = Path(__file__).resolve().parents[4] / "configs" / "demo.yaml"


@pytest.fixture
def case(tmp_path: Path) -> Callable[..., Case]:
    """The demo with other sections, before its first run."""

    def made(address: str | None = None, **overrides) -> Case:
        return Case(load_study(DEMO, overrides), tmp_path / "run", address)

    return made


@pytest.fixture
def with_ray() -> Callable[..., Case]:
    """The same case with a Ray of 4 CPUs, or of the given resources."""

    def given(case: Case, **found) -> Case:
        there = {"nodes": 1, "cpus": 4, "gpus": 0, "gpu_memory": None, "accelerators": (), "is_local": True}
        vars(case)["cluster"] = Cluster(**there | found)
        return case

    return given


@pytest.fixture
def statuses() -> Callable[[list[Finding]], list[Status]]:
    return lambda findings: [finding.status for finding in findings]
