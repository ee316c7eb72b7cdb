"""The one door to Ray: a private instance on this machine, or a cluster that already runs.

What Ray prints, and how the workers get this project's code, is settled here and nowhere else. Docs: docs/cluster.md.
"""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
import ray.data  # sets up its own logger on import, so it has to come before the loggers are turned to the log file
from ray._private import services
from ray._private.authentication import authentication_token_setup as token_setup
from ray.exceptions import AuthenticationError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmark.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("backbones", "benchmark", "finetune", "stats", "xai")

# Ray reads these while it runs, so they work however early Ray was imported.
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with RunConfig(verbose=0) the older Tune reporter is silent; the newer still prints
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no second copy of every metric as CSV, JSON and TensorBoard events
    "RAY_USAGE_STATS_ENABLED": "0",
}

ANSWER_SECONDS = 5.0  # of a running head node; Ray itself would try for a quarter of an hour
GPU_QUERY_SECONDS = 60.0  # the first task on a node also unpacks the project's code there

HOW_TO_START = (
    "start one with `ray start --head` on the head and `ray start --address=HEAD:6379` on each worker, "
    "or with `ray up ray_cluster.yaml`"
)
HOW_TO_SHARE_TOKEN = (
    "copy the head's ~/.ray/auth_token to this machine's, "
    "or give its text in RAY_AUTH_TOKEN together with RAY_AUTH_MODE=token"
)


class ClusterNotFound(UserError, RuntimeError):  # noqa: N818 - reads as what happened
    """No cluster could be joined; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """What there is to work with, counted once at the start; an autoscaler may add nodes later.

    `gpu_memory` is the smallest GPU's, in GiB, and None without a GPU or where `nvidia-smi` can't be asked.
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

    `address` None starts a private Ray on this machine with `cpus` CPUs (default: all) that joins no other and ends
    with the block. "auto" and "HOST:PORT" join a running cluster, of which this machine must be a node, send it this
    project's packages, and leave it running.

    Ray's loggers write to `log_file` (appended). The workers' own output arrives on this process's stdout and stderr:
    who wants a clean screen points file descriptors 1 and 2 at the same file, opened for appending, around this block.

    Raises ClusterNotFound when there is no cluster at `address`, or it refuses this machine.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_environment(QUIET))
        stack.enter_context(_loggers_to(log_file))
        stack.enter_context(_no_progress_bars())
        with _native_messages_to(log_file):
            # Registered first: an interrupted start must be cleaned up too, and a shutdown without a start is harmless.
            stack.callback(_disconnect)
            if address is None:
                _start_local(cpus)
            else:
                _join(address)
        yield _describe(is_local=address is None)


def _start_local(cpus: int | None) -> None:
    """A Ray of our own. Its object store stays at Ray's default: 30 % of memory, less where /dev/shm is small."""
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # Workers inherit the environment of this moment; without this they import the project only when the driver's
    # script or working directory happens to be the repository's root.
    with _environment({"PYTHONPATH": search_path}):
        ray.init(address="local", num_cpus=cpus, include_dashboard=False)


def _join(address: str) -> None:
    found = _running_head(address)
    runtime_env = {"py_modules": [str(ROOT / package) for package in PACKAGES], "excludes": ["__pycache__"]}
    try:
        ray.init(address=found, runtime_env=runtime_env)
    except (RayError, ConnectionError, RuntimeError) as error:  # another Ray or Python version, for one
        raise ClusterNotFound(f"the Ray cluster at {found} can't be joined: {_one_line(error)}") from None


def _running_head(address: str) -> str:
    """The head's "IP:PORT", after asking it what `ray.init` would only find out after minutes of silent retries."""
    try:
        found = services.canonicalize_bootstrap_address(address)
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except ValueError:
        raise ClusterNotFound(
            f"{address!r} is not a cluster's address: write auto or HOST:PORT, as in 10.0.0.5:6379"
        ) from None
    except OSError:  # ConnectionError and an unknown host are among them
        where = "on this machine" if address == "auto" else f"at {address}"
        raise ClusterNotFound(f"no Ray cluster runs {where}: {HOW_TO_START}") from None
    try:
        # Ray sends the token by itself only where it found the cluster itself; a named cluster wants it just as well.
        token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        token_setup.ensure_token_if_auth_enabled(create_token_if_missing=False)
        nodes = services.GcsClient(address=found).get_all_node_info(timeout=ANSWER_SECONDS)
    except AuthenticationError:
        raise ClusterNotFound(f"the Ray cluster at {found} wants its token: {HOW_TO_SHARE_TOKEN}") from None
    except RayError as error:
        raise ClusterNotFound(f"what answers at {found} is no Ray head ({_one_line(error)}): {HOW_TO_START}") from None
    if not {node_id.hex() for node_id in nodes} & set(services.find_node_ids()):
        raise ClusterNotFound(
            f"this machine is no node of the Ray cluster at {found}: run `ray start --address={found}` here, "
            "or start the study on the head (`ray attach ray_cluster.yaml`)"
        )
    return found


def _disconnect() -> None:
    ray.shutdown(wait_for_processes=True)
    # The workers' last lines went through Python's buffers; they must leave before the caller gives the screen back.
    sys.stdout.flush()
    sys.stderr.flush()


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
    """GiB of the smallest GPU of the machine this runs on, asked without making a CUDA context."""
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
    """Ray Data's logger doesn't pass its records on to Ray's; those of Tune and Train do."""
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
def _no_progress_bars() -> Iterator[None]:
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield
    finally:
        context.enable_progress_bars = before


@contextmanager
def _native_messages_to(log_file: Path) -> Iterator[None]:
    """File descriptor 2 points at `log_file` for a while: there, past any logger, Ray's C++ part tells of refusals."""
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
    return " ".join(str(error).split())
