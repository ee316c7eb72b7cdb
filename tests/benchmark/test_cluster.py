"""Joining, refusing and leaving Ray; two real nodes on this machine for the cluster's part."""

import logging
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import ray
import yaml

from benchmark.cluster import PACKAGES, ROOT, Cluster, ClusterNotFound, connect

DRIVER = """
    import sys, time
    sys.path.insert(0, {root!r})
    from pathlib import Path
    from benchmark.cluster import ClusterNotFound, connect
    try:
        with connect({address!r}, log_file=Path("ray.log")) as cluster:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            def home_of_stats():
                import stats
                print("said by a worker")
                return ray.get_runtime_context().get_node_id(), stats.__file__

            print("nodes", cluster.nodes, "cpus", cluster.cpus, "local", cluster.is_local)
            for node in ray.nodes():
                place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                node_id, path = ray.get(ray.remote(home_of_stats).options(scheduling_strategy=place).remote())
                print("stats", node_id == node["NodeID"], path)
            time.sleep(1)  # for the worker's words to come over
    except ClusterNotFound as error:
        print("refused:", error)
"""


def drive(address: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """A driver in a process of its own, started far from the repository."""
    script = folder / "driver.py"
    script.write_text(textwrap.dedent(DRIVER.format(root=str(ROOT), address=address)), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", *environment)}
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=kept | {name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def ray_processes() -> set[int]:
    return _ray_processes()


def _ray_processes() -> set[int]:
    """Ids of this process's descendants that belong to Ray."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}


def test_joins_a_running_cluster_with_the_projects_code(two_nodes: str, tmp_path: Path) -> None:
    done = drive(two_nodes, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "nodes 2 cpus 2 local False" in lines
    placed = [line.split() for line in lines if line.startswith("stats")]
    assert [right for _, right, _ in placed] == ["True", "True"]
    # The shipped copy, not this checkout, which the machines of a real cluster don't have.
    assert all("py_modules_files" in path for _, _, path in placed)
    assert "said by a worker" in done.stdout
    assert done.stderr == ""
    assert "Connected to Ray cluster" in (tmp_path / "ray.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("token", ["f" * 64, ""], ids=["wrong", "missing"])
def test_a_wrong_or_missing_token_is_one_line(two_nodes: str, tmp_path: Path, token: str) -> None:
    began = time.monotonic()
    done = drive(two_nodes, tmp_path, RAY_AUTH_TOKEN=token, HOME=str(tmp_path))
    assert time.monotonic() - began < 15
    assert done.stdout.startswith("refused: the Ray cluster at")
    assert "RAY_AUTH_TOKEN" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_local_keeps_away_from_a_running_cluster(two_nodes: str, tmp_path: Path) -> None:
    os.environ["RAY_ADDRESS"] = two_nodes
    try:
        with connect(None, log_file=tmp_path / "ray.log", cpus=2) as cluster:
            assert cluster.nodes == 1
            assert cluster.is_local
    finally:
        del os.environ["RAY_ADDRESS"]
    done = drive(two_nodes, tmp_path)
    assert "nodes 2 cpus 2 local False" in done.stdout, "the cluster outlives the local instance"


def test_local_starts_and_ends_again_and_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "ray.log"
    for _ in range(2):
        with connect(None, log_file=log, cpus=2) as cluster:
            assert cluster == Cluster(
                nodes=1,
                cpus=2,
                gpus=cluster.gpus,
                gpu_memory=cluster.gpu_memory,
                accelerators=cluster.accelerators,
                is_local=True,
            )
            assert ray.get(ray.remote(lambda: 1 + 1).remote()) == 2
        assert not ray.is_initialized()
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert log.read_text(encoding="utf-8").count("Started a local Ray instance") == 2
