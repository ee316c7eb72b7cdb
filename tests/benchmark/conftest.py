"""Ray for the tests of the scheduling code: a separate token, and a cluster of two nodes on this machine."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.benchmark.chromium import browser  # noqa: F401 (a fixture)

# Ray reads its token once per process. It is set before Ray is imported, so every node and driver of the tests shares
# it, and the token in the user's home is neither read nor written.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

START_SECONDS = 600  # about 10 on a quiet machine; a node that cannot start ends its process, which is seen at once


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """ "HOST:PORT" of a running cluster: a head and a second node with one CPU each, ended with the module's tests."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(_node("--head", f"--port={port}", "--include-dashboard=false", "--disable-usage-stats"))
        stack.enter_context(_node(f"--address={address}"))
        yield address


@contextmanager
def _node(*options: str) -> Iterator[None]:
    """One node with its own temporary folder, whose path is short because Unix socket paths have at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="r"))
    common = ["--num-cpus=1", "--object-store-memory=200000000", f"--temp-dir={folder}", "--block"]
    # Both nodes would choose from the same fixed ranges.
    free_ports = ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *common, *free_ports]
    log = folder / "start.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in log.read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"a Ray node did not start:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.1)
        yield
    finally:
        node = psutil.Process(process.pid)
        started = [node, *node.children(recursive=True)] if process.poll() is None else []
        process.terminate()  # it ends the processes it started, though after a study not all of them
        _, survivors = psutil.wait_procs(started, timeout=6)
        for survivor in survivors:
            survivor.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
