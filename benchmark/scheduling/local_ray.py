"""What a private Ray needs on this machine: a folder for its sockets, a Python that a shell can start, memory.

Nothing here starts Ray; `benchmark.scheduling.cluster` runs these checks before it does, and so does `doctor`.
"""

import errno
import getpass
import os
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmark.errors import UserError

SOCKET_PATH = 107 if sys.platform == "linux" else 103  # bytes that fit into `sockaddr_un`
# What Ray appends to its temporary folder, with the longest process id on Linux.
SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
TEMPORARY_BYTES = 64 * 2**20  # for the logs of a session; with less, Ray starts only sometimes
OPEN_FILES = 1024  # Ray opens some hundred files, and more with every worker
MEMORY_THRESHOLD = 0.95  # Ray's default: it ends workers when a larger share of memory is in use


@dataclass(frozen=True)
class TemporaryFolder:
    """Where Ray puts its sockets and logs; `passed_over`: the unusable folders of variables, with reasons."""

    path: Path
    passed_over: str = ""


def temporary_folder() -> TemporaryFolder:
    """The first folder that Ray can use: below RAY_TMPDIR, TMPDIR, or the system's temporary folders.

    Raises:
        UserError: there is none.
    """
    named = [(name, Path(os.environ[name])) for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)]
    usual = [("", Path(folder)) for folder in ("/tmp", "/var/tmp", "/dev/shm")]
    faults: list[str] = []
    for name, folder in [*named, *usual]:
        found = []
        for candidate in ("ray", f"ray-{_user()}"):  # the first may belong to another user
            fault = _fault(folder.absolute() / candidate)
            if fault is None:
                return TemporaryFolder(folder.absolute() / candidate, "; ".join(faults[: len(named)]))
            found.append(fault)
        faults.append(f"{name}={folder} {found[0]}" if name else f"{folder} {found[0]}")
    raise UserError(
        f"no folder for Ray's temporary files: {'; '.join(faults)}: set RAY_TMPDIR to a folder with a short path "
        f"that is writable and has {TEMPORARY_BYTES // 2**20} MiB free"
    )


def _fault(folder: Path) -> str | None:
    """Why Ray cannot use a folder; None if it can. A missing folder is created."""
    spare = SOCKET_PATH - len(SOCKET) - len(os.fsencode(folder))
    if spare < 0:
        return f"is {-spare} bytes too long for a socket's path"
    if not survives_command_lines(str(folder)):
        return "has a quote or a backslash in its path, which Ray cannot pass on"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch, socket.socket(socket.AF_UNIX) as probe:
            probe.bind(f"{scratch}/s")  # some network and shared file systems do not support sockets
        space = os.statvfs(folder)
    except OSError as error:
        what = {
            errno.EACCES: "cannot be written",
            errno.EROFS: "cannot be written",
            errno.ENOSPC: "is full",
            errno.EDQUOT: "is full",
        }
        return what.get(error.errno or 0, f"cannot be used ({error.strerror})")
    if space.f_bavail * space.f_frsize < TEMPORARY_BYTES:
        return f"has less than {TEMPORARY_BYTES // 2**20} MiB free"
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return str(os.getuid())


def survives_command_lines(path: str) -> bool:
    """Whether a path survives Ray's command lines; Ray quotes only paths that contain white space."""
    return "\\" not in path and ("'" not in path or bool(re.search(r"[ \t]", path))) and "\n" not in path


def python_fault(executable: str) -> str | None:
    """Why Ray's workers cannot be started with this Python, and the fix; None if they can."""
    if survives_command_lines(executable):
        return None
    return (
        f"Ray cannot start workers with {executable}, because its path has a quote or a backslash: "
        "rename the folder, or create the virtual environment in another one"
    )


def memory_threshold(environment: Mapping[str, str] = os.environ) -> float | None:
    """The share of memory above which Ray ends workers, from its environment variables; None if it never does."""
    try:
        if int(environment.get("RAY_memory_monitor_refresh_ms", "250")) == 0:
            return None
        return float(environment.get("RAY_memory_usage_threshold", str(MEMORY_THRESHOLD)))
    except ValueError:
        return MEMORY_THRESHOLD


def largest_processes(count: int = 3) -> str:
    """The programs that use most memory on this machine, as one text: "chrome 3.1 GiB, this study 2.0 GiB"."""
    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    held: Counter[str] = Counter()
    for process in psutil.process_iter(["name", "memory_info"]):
        if process.info["memory_info"] is not None:  # another user's process may be hidden
            name = "this study" if process.pid in own else process.info["name"] or "unnamed"
            held[name] += process.info["memory_info"].rss
    return ", ".join(f"{name} {size / 2**30:.1f} GiB" for name, size in held.most_common(count))
