"""Joining, refusing and leaving Ray; two real nodes on this machine for the cluster's part."""

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
from ray._raylet import GcsClient
from ray.autoscaler._private.util import prepare_config, validate_config

from benchmark.cluster import PACKAGES, ROOT, ClusterNotFound, connect

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


def test_local_keeps_away_from_a_running_cluster(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    with connect(None, log_file=tmp_path / "ray.log", cpus=2) as cluster:
        assert (cluster.nodes, cluster.cpus, cluster.is_local) == (1, 2, True)
    assert len(_alive_nodes(two_nodes)) == 2, "the cluster outlives the local instance"


def _alive_nodes(address: str) -> dict:
    return GcsClient(address=address).get_all_node_info(timeout=5)


def test_local_is_silent_and_ends_with_its_block(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "ray.log"
    others = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt), connect(None, log_file=log, cpus=1):
        assert ray.get(ray.remote(lambda: 1 + 1).remote()) == 2
        ours = set(psutil.Process().children(recursive=True)) - others
        raise KeyboardInterrupt
    assert ours
    assert not [process.name() for process in ours if process.is_running()]
    assert not ray.is_initialized()
    assert tuple(capfd.readouterr()) == ("", "")
    assert "Started a local Ray instance" in log.read_text(encoding="utf-8")


def test_no_cluster_is_one_line_that_says_how_to_start_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers, and nobody else can take the port
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        how_to = r"ray start --head.*ray up ray_cluster.yaml"
        with pytest.raises(ClusterNotFound, match=how_to) as caught, connect(address, log_file=tmp_path / "ray.log"):
            pass
    assert time.monotonic() - began < 15
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port"])
def test_an_address_that_is_none_is_named(tmp_path: Path, address: str) -> None:
    refused = pytest.raises(ClusterNotFound, match=f"'{address}' is not a cluster's address")
    with refused, connect(address, log_file=tmp_path / "ray.log"):
        pass


@pytest.fixture(scope="module")
def cluster_file() -> dict:
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"))


def test_the_cluster_file_is_valid_to_ray(cluster_file: dict) -> None:
    validate_config(prepare_config(cluster_file))


def test_the_cluster_file_keeps_work_off_the_head_and_gpus_on_the_workers(cluster_file: dict) -> None:
    types = cluster_file["available_node_types"]
    head = types.pop(cluster_file["head_node_type"])
    assert head["resources"]["CPU"] == 0
    assert "GPU" not in head["resources"]
    assert all(worker["resources"]["GPU"] >= 1 for worker in types.values())
    assert len({node["node_config"]["ImageId"] for node in (head, *types.values())}) == 1


def test_the_cluster_file_ships_this_project_and_its_lock(cluster_file: dict) -> None:
    shipped = {local for local in cluster_file["file_mounts"].values() if not local.startswith("~")}
    assert shipped >= {*PACKAGES, "requirements.lock", "run_benchmark.py", "configs"}
    assert all((ROOT / local).exists() for local in shipped)
    assert any(
        "--require-hashes -r ~/retina-benchmark/requirements.lock" in step for step in cluster_file["setup_commands"]
    )
