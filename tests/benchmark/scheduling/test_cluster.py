"""Joining and leaving Ray, and refusals; the cluster tests use two real nodes on this machine."""

import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import yaml
from ray._raylet import GcsClient
from ray.autoscaler._private.util import prepare_config, validate_config

from benchmark.scheduling.cluster import PACKAGES, ROOT, ClusterNotFound, RayNotStarted, connect

DRIVER = """
    import sys, time
    sys.path.insert(0, {root!r})
    from pathlib import Path
    from benchmark.scheduling.cluster import ClusterNotFound, connect
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
                # As trials do, it has an environment of its own, for which Ray starts workers in another way.
                options = {{"scheduling_strategy": place, "runtime_env": {{"env_vars": {{"A": "1"}}}}}}
                node_id, path = ray.get(ray.remote(home_of_stats).options(**options).remote())
                print("stats", node_id == node["NodeID"], path)
            time.sleep(1)  # for the worker's words to come over
    except ClusterNotFound as error:
        print("refused:", error)
"""


def drive(
    address: str | None, folder: Path, python: str = sys.executable, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """A driver in a separate process, started outside the repository; an empty variable is left out."""
    script = folder / "driver.py"
    script.write_text(textwrap.dedent(DRIVER.format(root=str(ROOT), address=address)), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", *environment)}
    return subprocess.run(
        [python, str(script)],
        cwd=cwd or folder,
        env=kept | {name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
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


@pytest.mark.slow
def test_workers_take_no_file_of_the_users_for_the_projects(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "stats.py").write_text("raise ImportError('this is the file of the user')", encoding="utf-8")
    done = drive(None, tmp_path, cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    placed = [line.split() for line in done.stdout.splitlines() if line.startswith("stats")]
    assert [(right, path) for _, right, path in placed] == [("True", str(ROOT / "stats" / "__init__.py"))]


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
    return GcsClient(address=address).get_all_node_info(timeout=300)


def test_local_is_silent_and_ends_with_its_block(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "ray.log"
    others = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt), connect(None, log_file=log, cpus=1):
        assert ray.get(ray.remote(lambda: 1 + 1).remote()) == 2
        ours = set(psutil.Process().children(recursive=True)) - others
        raise KeyboardInterrupt
    assert ours
    _, left = psutil.wait_procs(ours, timeout=300)  # the system has yet to reap the orphaned ones
    assert not left
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


LONG = "x" * 81  # characters: with what Ray appends, more than the 107 bytes of a socket's path


@pytest.mark.slow
def test_local_starts_where_neither_home_nor_tmpdir_can_be_used(tmp_path: Path) -> None:
    """ray-project/ray#10786, #30959: `docker run -u`, and the long TMPDIR of a batch system."""
    no_home = {"HOME": "/proc/home", "RAY_AUTH_TOKEN_PATH": "/proc/token", "RAY_AUTH_TOKEN": "", "RAY_AUTH_MODE": ""}
    done = drive(None, tmp_path, **no_home, TMPDIR=str(tmp_path / LONG), RAY_TMPDIR="/proc/tmp")
    assert done.returncode == 0, done.stderr
    assert "stats True" in done.stdout
    log = (tmp_path / "ray.log").read_text(encoding="utf-8")
    assert f"TMPDIR={tmp_path / LONG} is" in log, "the folder that is not used is named"


@pytest.mark.slow
def test_a_python_in_a_path_that_a_shell_splits(tmp_path: Path) -> None:
    """ray-project/ray#5288: workers were started repeatedly through bash, without quotes."""
    name = 'a"b $HOME & (é)'
    (tmp_path / name).symlink_to(sys.prefix)
    done = drive(None, tmp_path, str(tmp_path / name / "bin" / "python"))
    assert done.returncode == 0, done.stderr
    assert "stats True" in done.stdout


def refused(log_file: Path) -> str:
    """The message of a private Ray that does not start."""
    with pytest.raises(RayNotStarted) as caught, connect(None, log_file=log_file):
        pass
    assert not ray.is_initialized()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_python_that_ray_cannot_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/it's/.venv/bin/python")
    assert "cannot start workers with /home/it's/.venv/bin/python" in refused(tmp_path / "ray.log")


def test_memory_that_is_short_is_said_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ray-project/ray#51946: other programs use the memory, and Ray would end its workers forever."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0001")
    said = refused(tmp_path / "ray.log")
    assert said.startswith("this machine is short of memory: ")
    assert re.search(r"the largest processes are \S.* GiB, ", said), "the largest processes are named"


def test_workers_that_would_end_at_once_are_said_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray starts them repeatedly and never returns."""
    broken = "import sys\nif sys.orig_argv[1:2] == ['-c']: raise SystemExit('libbroken.so: cannot open')\n"
    (tmp_path / "sitecustomize.py").write_text(broken, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = refused(tmp_path / "ray.log")
    assert "libbroken.so: cannot open" in said
    assert "PYTHONPATH" in said


@pytest.mark.parametrize("slow_starts", [1, 3])
@pytest.mark.slow
def test_a_start_that_came_too_late_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow_starts: int
) -> None:
    """ray-project/ray#65983: on a busy machine Ray gives up on its own agent after 15 seconds."""
    real, tries = ray.init, []

    def init(**options: Any) -> Any:
        tries.append(options)
        if len(tries) <= slow_starts:
            raise RuntimeError("The current node timed out during startup.")
        return real(**options)

    monkeypatch.setattr(ray, "init", init)
    log_file = tmp_path / "ray.log"
    if slow_starts == 3:
        assert "this machine is too busy now" in refused(log_file)
    else:
        with connect(None, log_file=log_file, cpus=1) as cluster:
            assert cluster.cpus == 1
    assert len(tries) == min(slow_starts + 1, 3)
    assert "trying again: " in log_file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_ray_starts_after_an_agent_that_was_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = tmp_path / "once"
    hook = f"""import os, sys, time
if any("dashboard/agent.py" in argument for argument in sys.orig_argv):
    try:
        os.close(os.open({str(once)!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        time.sleep(120)
"""
    (tmp_path / "sitecustomize.py").write_text(hook, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with connect(None, log_file=tmp_path / "ray.log", cpus=1) as cluster:
        assert cluster.cpus == 1
    assert once.exists()
    assert "trying again: " in (tmp_path / "ray.log").read_text(encoding="utf-8")


def test_what_ray_raises_at_the_start_is_one_line(tmp_path: Path) -> None:
    """Here: a machine cannot have -1 CPUs."""
    with (
        pytest.raises(RayNotStarted, match=r"^Ray does not start on this machine: .*its logs are in") as caught,
        connect(None, log_file=tmp_path / "ray.log", cpus=-1),
    ):
        pass
    assert not ray.is_initialized()
    assert "\n" not in str(caught.value)


def test_a_python_with_a_space_cannot_join_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/me/School Stuff/bin/python")
    with pytest.raises(ClusterNotFound, match="special character"), connect("auto", log_file=tmp_path / "ray.log"):
        pass


ENDED = """
    import sys
    sys.path.insert(0, {root!r})
    from pathlib import Path
    import psutil
    from benchmark.scheduling.cluster import connect
    from benchmark.errors import UserError
    from benchmark.scheduling.streaming import Each, stream
    from benchmark.scheduling.tuning import run_trials

    def work(row, report=None):
        next(process for process in psutil.Process().parents() if process.name() == {name!r}).kill()
        import time; time.sleep(600)

    try:
        with connect(None, log_file=Path("ray.log"), cpus=1):
            if {by_tune}:
                run_trials(["a"], work, cpus=1, gpus=0, storage=Path("t").absolute(), on_report=print, on_end=print)
            else:
                list(stream([{{"n": 1}}], [Each(work)], 1))
    except UserError as error:
        print("ended:", error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("by_tune", [False, True], ids=["data", "tune"])
def test_a_raylet_that_ends_is_one_line(tmp_path: Path, by_tune: bool) -> None:
    """Ray ends its driver some seconds later without a Python exception: nothing was shown on the screen."""
    script = tmp_path / "driver.py"
    text = ENDED.format(root=str(ROOT), name="raylet", by_tune=by_tune)
    script.write_text(textwrap.dedent(text), encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert "ended: Ray's own raylet ended" in done.stdout, done.stderr[-2000:]


SHORT = """
    import sys
    sys.path.insert(0, {root!r})
    from pathlib import Path
    from benchmark.scheduling import cluster
    from benchmark.errors import UserError
    from benchmark.scheduling.streaming import Batched, Each, stream

    class Worker:
        def __call__(self, rows):
            return rows

    cluster.short_memory = lambda: None  # it becomes short once the study runs
    try:
        with cluster.connect(None, log_file=Path("ray.log"), cpus=2):
            step = Batched(Worker) if {actors} else Each(Worker().__call__)
            list(stream([{{"n": 1}}], [step], 1, on_wait=lambda line: print("said:", line)))
    except UserError as error:
        print("ended:", error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("actors", [False, True], ids=["tasks", "actors"])
def test_memory_that_stays_short_is_said_and_ends_the_study(tmp_path: Path, actors: bool) -> None:
    """ray-project/ray#44744, #29663: "infinite oom retries remaining", and an empty screen."""
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(SHORT.format(root=str(ROOT), actors=actors)), encoding="utf-8")
    environment = os.environ | {"RAY_memory_usage_threshold": "0.001", "RETINA_BENCHMARK_PATIENCE": "0.5"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "said: waiting: this machine is short of memory, and Ray ends workers and starts them again" in done.stdout
    (ended,) = (line for line in done.stdout.splitlines() if line.startswith("ended:"))
    assert re.search(r"the largest processes here are \S.* GiB.*--resume", ended)
