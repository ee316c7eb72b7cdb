"""The connection to Ray: a private instance on this machine, or a cluster that already runs.

This is the only module that decides what Ray prints and how the workers get this project's code. Docs: docs/cluster.md.
"""

import logging
import os
import re
import secrets
import shlex
import site
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.data  # sets up its own logger on import, so import it before the loggers are redirected to the log file
from ray._common.utils import get_system_memory
from ray._private import services
from ray._private import state as ray_state
from ray._private import worker as ray_worker
from ray._private.authentication import authentication_token_setup as token_setup
from ray._private.utils import get_used_memory
from ray.core.generated import common_pb2, gcs_pb2
from ray.exceptions import AuthenticationError, GetTimeoutError, RayError
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmark.errors import UserError
from benchmark.scheduling.local_ray import largest_processes, memory_threshold, python_fault, temporary_folder
from benchmark.scheduling.waiting import Watch, patience
from benchmark.shipped import ROOT

PACKAGES = ("backbones", "benchmark", "finetune", "stats", "xai")

# Ray reads these while it runs, so they take effect even though Ray is already imported.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with RunConfig(verbose=0) the older Tune reporter is silent; the newer still prints
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no second copy of every metric as CSV, JSON and TensorBoard events
    "RAY_USAGE_STATS_ENABLED": "0",
}

LASTING_SECONDS = 180.0  # after a worker's last death, the trouble counts as over; Ray waits longer before each retry
END_SECONDS = 10.0  # for a worker to end after its Ray has ended; then it is killed
ANSWER_SECONDS = 5.0  # for a running head node to answer; Ray itself would try for a quarter of an hour
DISK_STORE = 500_000_000  # bytes of the object store on disk if there is no shared memory
STARTS = 3  # attempts to start a private Ray
# Ray's message when its own processes do not start within its fixed 15 to 30 seconds (ray-project/ray#65983).
TOO_LATE = re.compile("Timed out waiting for file|timed out during startup|Timed out after .* waiting for node")
START_SECONDS = 120.0  # for one Python to import Ray, on a busy machine or from a slow disk
GPU_QUERY_SECONDS = 60.0  # the first task on a node also unpacks the project's code there

HOW_TO_START = (
    "start one with `ray start --head` on the head and `ray start --address=HEAD:6379` on each worker, "
    "or with `ray up ray_cluster.yaml`"
)
HOW_TO_SHARE_TOKEN = (
    "copy the head's ~/.ray/auth_token to this machine's, "
    "or set RAY_AUTH_TOKEN to its content and RAY_AUTH_MODE to token"
)


class RayNotStarted(UserError, RuntimeError):  # noqa: N818 - reads as what happened
    """Ray does not start on this machine; the message is one line with the reason and the fix."""


class ClusterNotFound(UserError, RuntimeError):  # noqa: N818 - reads as what happened
    """No cluster could be joined; the message is one line with the reason and the fix."""


@dataclass(frozen=True)
class Cluster:
    """The available resources, counted once at the start; an autoscaler may add nodes later.

    `gpu_memory` is that of the smallest GPU in GiB; None without a GPU or if `nvidia-smi` cannot be run.
    `accelerators` are Ray's names ("H100", "A10G"), sorted.
    """

    nodes: int
    cpus: int
    gpus: int
    gpu_memory: float | None
    accelerators: tuple[str, ...]
    is_local: bool


@contextmanager
def connect(address: str | None, *, log_file: Path, cpus: int | None = None) -> Iterator[Cluster]:
    """Ray for the length of a `with` block.

    `address` None starts a private Ray on this machine with `cpus` CPUs (default: all); it joins no other Ray and ends
    with the block. "auto" and "HOST:PORT" join a running cluster and leave it running; this machine must be one of its
    nodes, and this project's packages are sent to the cluster.

    Ray's loggers write to `log_file` (appended). The workers' own output arrives on this process's stdout and stderr.
    To keep the screen clean, point file descriptors 1 and 2 at the same file, opened for appending, around this block.

    Raises ClusterNotFound if there is no cluster at `address` or it refuses this machine; RayNotStarted, or another
    UserError that names the variable or the folder, if Ray cannot start here.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_environment(QUIET))
        stack.enter_context(_loggers_to(log_file))
        stack.enter_context(_without_bars_and_limits())
        with _native_messages_to(log_file):
            # Registered first, because an interrupted start must be cleaned up too; without a start it does no harm.
            stack.callback(_disconnect)
            if address is None:
                stack.enter_context(_own_token())
                _start_local(cpus)
            else:
                _join(address)
        yield _describe(is_local=address is None)


@contextmanager
def _own_token() -> Iterator[None]:
    """A token in memory for a private Ray, which no other process joins: the home need not exist or be writable.

    Ray would write a token to ~/.ray/auth_token, and it does not start if that file, or RAY_AUTH_TOKEN_PATH, cannot be
    read. The process keeps the token because Ray still closes connections after the block.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        yield  # the user's own token, or no authentication
        return
    with _environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        _read_token_anew()
        yield


def _read_token_anew() -> None:
    """Make Ray read mode and token again: it reads them once per process, and an earlier block may have set others."""
    token_setup.Config.initialize("")
    token_setup.AuthenticationTokenLoader.instance().reset_cache()


def _start_local(cpus: int | None) -> None:
    """Start a private Ray. Its object store has Ray's default size: 30 % of memory, less if /dev/shm is small."""
    folder = temporary_folder()
    search_path = _search_path()
    fault = python_fault(sys.executable) or python_fault(ray.__file__) or short_memory() or _stillborn(search_path)
    if fault:
        raise RayNotStarted(fault)
    if folder.passed_over:
        logging.getLogger("ray").warning("Ray's temporary folder is %s, because %s", folder.path, folder.passed_over)
    options: dict[str, object] = {}
    if not Path("/dev/shm").is_dir() and sys.platform == "linux":
        options |= {"_plasma_directory": str(folder.path), "object_store_memory": DISK_STORE}
    quoted = shlex.quote(sys.executable)
    if quoted != sys.executable:
        # Workers with a runtime environment, including trials, start through `bash -c`, which needs the quotes.
        options["runtime_env"] = {"py_executable": quoted}
    with _environment({"PYTHONPATH": search_path}):  # workers inherit the current environment
        for tries_left in reversed(range(STARTS)):
            began = time.time()
            try:
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    _temp_dir=str(folder.path),
                    job_config=_AsHere(),
                    **options,
                )
                return
            except Exception as error:  # Ray raises its own errors, system errors and plain exceptions
                reason = _reason_in_logs(folder.path, began) or _one_line(error) or type(error).__name__
                too_late = bool(TOO_LATE.search(f"{reason} {error}"))
                _disconnect()  # the part that did start
                if too_late and tries_left:
                    logging.getLogger("ray").warning("Ray did not start in time; trying again: %s", reason)
                    continue
                busy = "this machine is too busy now (wait, or close other programs): " if too_late else ""
                raise RayNotStarted(
                    f"Ray does not start on this machine: {busy}{reason}; its logs are in "
                    f"{folder.path}/session_latest/logs; run doctor to check this machine"
                ) from error


def _search_path() -> str:
    """PYTHONPATH for the workers on this machine: what they need in addition to the environment's own packages.

    In a checkout this is its folder; without it, workers find the project only if the driver's script is in the same
    folder. An installation is not named: workers search it anyway, and here it would come before Python's own library.
    """
    installed = str(ROOT) in (*site.getsitepackages(), site.getusersitepackages())
    return os.pathsep.join(filter(None, ["" if installed else str(ROOT), os.environ.get("PYTHONPATH")]))


class _AsHere(JobConfig):
    """Workers search no folder that this process does not search.

    By default, Ray makes them search the current folder first. A `stats.py` of the user's, or another version of this
    project, would then be imported in place of the installed package.
    """

    _py_driver_sys_path: list[str]

    def _serialize(self) -> bytes:
        self._py_driver_sys_path = [path for path in self._py_driver_sys_path if path in sys.path]
        return bytes(super()._serialize())


def _stillborn(search_path: str) -> str | None:
    """Why a worker would fail at its start; Ray would then start another one forever and not return."""
    command = [sys.executable, "-c", "import ray"]
    try:
        subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": search_path},
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {error.returncode}")
    except (OSError, subprocess.SubprocessError) as error:
        reason = _one_line(error)
    else:
        return None
    return (
        f"Ray's workers cannot start: `{shlex.join(command)}` ends with {reason[:300]}: check PYTHONPATH and the "
        "limits of this shell (`ulimit -a`)"
    )


def short_memory() -> str | None:
    """Why Ray would end whatever it starts on this machine, and the fix; None if there is enough memory."""
    threshold, used, total = memory_threshold(), get_used_memory(), get_system_memory()
    if threshold is None or used <= threshold * total:
        return None
    return (
        f"this machine is short of memory: {used / total:.0%} of {total / 2**30:.1f} GiB is in use, and Ray ends "
        f"workers above {threshold:.0%}; the largest processes are {largest_processes()}: close programs, or use a "
        "machine with more memory"
    )


def _reason_in_logs(folder: Path, since: float) -> str | None:
    """The last error that Ray's own processes logged in the session that began after `since`."""
    sessions = [session for session in folder.glob("session_2*") if session.stat().st_mtime >= since - 1]
    for session in sorted(sessions, key=lambda path: path.stat().st_mtime, reverse=True):
        for name in ("gcs_server.err", "raylet.err", "gcs_server.out", "raylet.out"):
            log = session / "logs" / name
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
            for line in reversed(lines):
                found = re.search(r" [EC] .*\] (?:\(\w+\) )?(\S.*)|(\S*Error: .*)", line)
                if found:
                    return f"{(found[1] or found[2]).strip()[:300]}"
    return None


def _join(address: str) -> None:
    if shlex.quote(sys.executable) != sys.executable:
        raise ClusterNotFound(
            f"the workers of a cluster cannot be started with {sys.executable}, because its path has a special "
            "character: on every node, create the virtual environment in a folder without special characters"
        )
    _read_token_anew()
    found = _running_head(address)
    runtime_env = {"py_modules": [str(ROOT / package) for package in PACKAGES], "excludes": ["__pycache__"]}
    try:
        ray.init(address=found, runtime_env=runtime_env, job_config=_AsHere())
    except (RayError, ConnectionError, RuntimeError) as error:  # for example another Ray or Python version
        raise ClusterNotFound(f"the Ray cluster at {found} can't be joined: {_one_line(error)}") from None


def _running_head(address: str) -> str:
    """The head's "IP:PORT", after checks that fail within seconds where `ray.init` would retry silently for minutes."""
    try:
        found = services.canonicalize_bootstrap_address(address)
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except ValueError:
        raise ClusterNotFound(
            f"{address!r} is not a cluster's address: write auto or HOST:PORT, as in 10.0.0.5:6379"
        ) from None
    except OSError:  # including ConnectionError and an unknown host
        where = "on this machine" if address == "auto" else f"at {address}"
        raise ClusterNotFound(f"no Ray cluster runs {where}: {HOW_TO_START}") from None
    try:
        # Ray sends the token by default only to a cluster that it found itself; a named cluster needs it as well.
        token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        token_setup.ensure_token_if_auth_enabled(create_token_if_missing=False)
        nodes = services.GcsClient(address=found).get_all_node_info(timeout=ANSWER_SECONDS)
    except AuthenticationError:
        raise ClusterNotFound(f"the Ray cluster at {found} requires its token: {HOW_TO_SHARE_TOKEN}") from None
    except RayError as error:
        raise ClusterNotFound(
            f"the program at {found} is not a Ray head ({_one_line(error)}): {HOW_TO_START}"
        ) from None
    if not {node_id.hex() for node_id in nodes} & set(services.find_node_ids()):
        raise ClusterNotFound(
            f"this machine is not a node of the Ray cluster at {found}: run `ray start --address={found}` here, "
            "or start the study on the head (`ray attach ray_cluster.yaml`)"
        )
    return found


def watch(cpus: float, gpus: float, say: Callable[[str], None], *, must_run: bool = False) -> Watch:
    """Watch work on the connected Ray; see `Trouble` and `Watch`."""
    return Watch(Trouble(cpus, gpus, must_run=must_run), say, patience(_is_local()))


def _is_local() -> bool:
    """Whether the connected Ray is this process's own."""
    return bool(ray_worker.global_worker.node.is_head())


def require_own_processes() -> None:
    """Check that the processes of a private Ray run; if they end, Ray silently ends this process seconds later.

    Raises:
        UserError: one of them has ended.
    """
    dead = {kind for kind, _ in ray_worker.global_worker.node.dead_processes()} if _is_local() else set()
    ended = sorted(dead & {"gcs_server", "raylet"})  # the other processes are not needed
    if ended:
        raise UserError(
            f"Ray's own {' and '.join(ended)} ended; memory may have run out, or somebody stopped it: continue with "
            "--resume"
        )


class Trouble:
    """Finds what keeps work from progressing, on all nodes; one line, or None if the work is simply slow.

    Args:
        cpus, gpus: what the most demanding piece of work requests.
        must_run: the caller knows that none of its work runs, so resources in use need an explanation, too.
    """

    def __init__(self, cpus: float, gpus: float, *, must_run: bool = False) -> None:
        self._wanted = {"CPU": cpus, "GPU": gpus}
        self._must_run = must_run
        self._known: set[bytes] = set()
        self._events, self._grew = 0, 0.0
        self._asked = time.monotonic()  # when the first question after the last result was asked

    def __call__(self, fresh: bool) -> str | None:
        """`fresh`: results have come since the last call, so earlier events no longer count."""
        require_own_processes()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        deaths, unborn = _deaths(), _unborn()
        if fresh:
            self._known = deaths.keys() | unborn.keys()
            self._events, self._asked = 0, time.monotonic()
        new = [death for key, death in deaths.items() if key not in self._known]
        words = [line for key, line in unborn.items() if key not in self._known]
        if len(new) + len(words) > self._events:
            self._events, self._grew = len(new) + len(words), time.monotonic()
        if self._events > 1 and time.monotonic() - self._grew < LASTING_SECONDS:
            return _described(new, words)
        return self._unmet(nodes)

    def _unmet(self, nodes: list[dict[str, Any]]) -> str | None:
        asked = " and ".join(f"{count:g} {kind}s" for kind, count in self._wanted.items() if count)
        if not any(
            all(node["Resources"].get(kind, 0) >= count for kind, count in self._wanted.items()) for node in nodes
        ):
            return f"none of {len(nodes)} nodes has the {asked} that resources in the configuration request"
        total, free = ray.cluster_resources(), ray.available_resources()
        used = {kind: total.get(kind, 0) - free.get(kind, 0) for kind in self._wanted}
        starting = time.monotonic() - self._asked < START_SECONDS
        if any(used.values()) and (starting or not self._must_run):
            return None
        in_use = ", ".join(f"{used[kind]:g} of {total[kind]:g} {kind}s" for kind in self._wanted if total.get(kind))
        return f"no work has started that requests {asked}; {in_use} are in use"


def _described(deaths: list[tuple[int, str]], words: list[str]) -> str:
    """Deaths of workers, and the last output of processes that failed to become workers, in one line."""
    starved = [why for kind, why in deaths if kind == common_pb2.NODE_OUT_OF_MEMORY]
    if starved:
        node = re.search(r"IP: ([^,\s]+)", starved[-1])
        where = "this machine" if _is_local() or not node else f"node {node[1]}"
        return (
            f"{where} is short of memory, and Ray ends workers and starts them again; {len(starved)} so far; the "
            f"largest processes here are {largest_processes()}: close other programs, or lower resources.batch_size"
        )
    if deaths:
        last = _line(deaths[-1][1])[:200]
        return f"workers end unexpectedly and are started again; {len(deaths)} so far, the last: {last}"
    return f"workers do not start; {len(words)} so far, last output: {words[-1][:200]}"


def _deaths() -> dict[bytes, tuple[int, str]]:
    """Kind and reason of every unintended death of a worker, by the worker's id."""
    accessor = ray_state.state._connect_and_get_accessor()  # the public list needs the dashboard, which does not run
    workers = [gcs_pb2.WorkerTableData.FromString(raw) for raw in accessor.get_worker_table()]
    meant = (common_pb2.INTENDED_SYSTEM_EXIT, common_pb2.INTENDED_USER_EXIT)
    return {
        worker.worker_address.worker_id: (worker.exit_type, worker.exit_detail)
        for worker in workers
        if not worker.is_alive and worker.worker_type == common_pb2.WORKER and worker.exit_type not in meant
    }


def _unborn() -> dict[bytes, str]:
    """The last output of this node's processes that never became workers, by Ray's own line about each."""
    log = Path(ray_worker.global_worker.node.get_logs_dir_path()) / "raylet.err"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    said = [line for line in lines if line.strip() and not line.startswith(("[", " "))]
    return {
        line.encode(): said[-1].strip() if said else "none"
        for line in lines
        if "have not registered within the timeout" in line
    }


def _disconnect() -> None:
    started = _started()
    ray.shutdown(wait_for_processes=True)
    # Ray waits for the processes that it started itself, but not for the workers that those have started.
    _, survivors = psutil.wait_procs(started, timeout=END_SECONDS)
    for survivor in survivors:
        with suppress(psutil.Error):
            survivor.kill()
    psutil.wait_procs(survivors, timeout=END_SECONDS)
    # Flush the workers' last lines from Python's buffers before the caller restores the screen.
    sys.stdout.flush()
    sys.stderr.flush()


def _started() -> list[psutil.Process]:
    """All processes of a private Ray, including workers."""
    if not ray.is_initialized() or not _is_local():
        return []
    started = []
    for _, process in ray_worker.global_worker.node.live_processes():
        with suppress(psutil.Error):
            started += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return started


def _describe(*, is_local: bool) -> Cluster:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    total = ray.cluster_resources()
    prefix = "accelerator_type:"
    return Cluster(
        nodes=len(nodes),
        cpus=int(total.get("CPU", 0)),
        gpus=int(total.get("GPU", 0)),
        gpu_memory=_smallest_gpu([node["NodeID"] for node in nodes if node["Resources"].get("GPU")]),
        accelerators=tuple(sorted(name.removeprefix(prefix) for name in total if name.startswith(prefix))),
        is_local=is_local,
    )


def _smallest_gpu(node_ids: list[str]) -> float | None:
    query = ray.remote(num_cpus=0)(_gpu_memory)
    placed = [query.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)) for node in node_ids]
    try:
        memories = ray.get([task.remote() for task in placed], timeout=GPU_QUERY_SECONDS)
    except (RayError, GetTimeoutError):
        return None
    return min((memory for memory in memories if memory is not None), default=None)


def _gpu_memory() -> float | None:
    """Memory in GiB of the smallest GPU of this machine, without creating a CUDA context."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        return min(float(line) for line in answer.splitlines()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _loggers_to(log_file: Path) -> Iterator[None]:
    """Redirect both loggers: Ray Data's does not pass its records on to Ray's; those of Tune and Train do."""
    file = logging.FileHandler(log_file, encoding="utf-8")
    file.setLevel(logging.INFO)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger("ray"), logging.getLogger("ray.data")]
    before = [logger.handlers[:] for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [file]
    try:
        yield
    finally:
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
        file.close()


@contextmanager
def _without_bars_and_limits() -> Iterator[None]:
    """Ray Data draws no bars and does not end a block that takes half an hour: a `Watch` detects stuck work."""
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars, context.execution_no_progress_timeout_s
    context.enable_progress_bars, context.execution_no_progress_timeout_s = False, -1
    try:
        yield
    finally:
        context.enable_progress_bars, context.execution_no_progress_timeout_s = before


@contextmanager
def _native_messages_to(log_file: Path) -> Iterator[None]:
    """File descriptor 2 points at `log_file` for a while: Ray's C++ part reports refusals there, not to a logger."""
    sys.stderr.flush()
    screen = os.dup(2)
    with log_file.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)


def _one_line(error: Exception) -> str:
    return _line(str(error))


def _line(text: str) -> str:
    return " ".join(text.split())
