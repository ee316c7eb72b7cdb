"""One run at a time in a folder: a lock that names its holder; the next run takes it over if the holder has ended.

The lock is a file with the holder's host and process. On the same host, the process is looked up by its number and its
start time, because systems reuse process numbers. For another host (or another container, which numbers its processes
separately), only the file's modification time is known. The holder renews it every half minute; after ten minutes
without a sign of life the lock is ignored.
"""

import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from benchmark.errors import UserError

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

BEAT_SECONDS = 30.0
SILENT_SECONDS = 600.0
ATTEMPTS = 100
BEING_WRITTEN_SECONDS = 10.0  # a lock without content: its holder has just created it, or ended while creating it


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        began: when the process began, in a format specific to its system.
        numbering: the scope in which a process number is unique: this boot of this machine, this container.
        since: when it took the lock, local time.
        token: unique to this lock.
    """

    host: str
    pid: int
    began: str
    numbering: str
    since: str
    token: str

    @staticmethod
    def this() -> "Holder":
        since = datetime.now().isoformat(sep=" ", timespec="seconds")
        began = process_start(os.getpid()) or ""
        return Holder(socket.gethostname(), os.getpid(), began, _numbering(), since, secrets.token_hex(8))


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock `path` while the block runs; its folder must exist.

    Raises:
        UserError: another process holds it.
        OSError: the file cannot be created.
    """
    holder = Holder.this()
    _take(path, holder)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(path, holder, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        _release(path, holder)


def in_use(path: Path) -> str | None:
    """Who holds the lock `path`, and what to do, as `hold` reports it; None if it is free.

    Raises:
        OSError: the file cannot be read.
    """
    with _alone(path, os.O_RDONLY) as descriptor:
        if descriptor is None:
            return None
        holder, age = _read(descriptor), _age(path, descriptor)
        return _in_use(path, holder, age) if _counts(holder, age) else None


def process_start(pid: int) -> str | None:
    """When a process of this machine began, in the system's own format; None if no such process runs."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()  # the name before it may contain any character
        except OSError:
            return None
        return None if fields[0] in b"ZX" else fields[19].decode()  # state; ticks since the machine started
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def _numbering() -> str:
    """The scope in which process numbers of this machine are unique; "" if the system does not report it."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _take(path: Path, holder: Holder) -> None:
    for _ in range(ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)  # succeeds for only one process
        except FileExistsError:
            if _taken_over(path, holder):
                return
            continue  # it has just been released
        try:
            _fill(descriptor, holder)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        return
    raise UserError(f"{path}: keeps appearing and disappearing; delete it, or choose another --out")


def _taken_over(path: Path, holder: Holder) -> bool:
    """Take over a lock whose holder has ended; False if the lock no longer exists.

    Raises:
        UserError: the holder still runs.
    """
    with _alone(path, os.O_RDWR) as descriptor:
        if descriptor is None:
            return False
        before, age = _read(descriptor), _age(path, descriptor)
        if _counts(before, age):
            raise UserError(_in_use(path, before, age))
        _fill(descriptor, holder)
        return True


@contextmanager
def _alone(path: Path, mode: int) -> Iterator[int | None]:
    """The open lock file, locked against other processes that inspect it; None if the file no longer exists."""
    try:
        descriptor = os.open(path, mode)
    except FileNotFoundError:
        yield None
        return
    try:
        if fcntl is not None:
            with suppress(OSError):  # the file system does not support such locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            there = os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            there = False
        yield descriptor if there else None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Holder | None:
    """The lock's holder; None if the file does not contain one."""
    try:
        return Holder(**json.loads(os.pread(descriptor, 2**16, 0)))
    except (ValueError, TypeError):
        return None


def _fill(descriptor: int, holder: Holder) -> None:
    content = (json.dumps(asdict(holder)) + "\n").encode()
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _age(path: Path, descriptor: int) -> float:
    """Seconds since the last sign of life, by the file system's clock: this machine's clock may differ from it."""
    probe = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        now = time.time()
    return now - os.fstat(descriptor).st_mtime


def _counts(holder: Holder | None, age: float) -> bool:
    if holder is None:
        return age < BEING_WRITTEN_SECONDS
    if _is_of_this_machine(holder) and not _is_hidden(holder.pid):
        return process_start(holder.pid) == holder.began
    return age < SILENT_SECONDS


def _is_hidden(pid: int) -> bool:
    """Whether the process exists but the system hides it from this user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return process_start(pid) is None
    except OSError:
        pass
    return False


def _is_of_this_machine(holder: Holder) -> bool:
    return (holder.host, holder.numbering) == (socket.gethostname(), _numbering())


def _in_use(path: Path, holder: Holder | None, age: float) -> str:
    if holder is None:
        return f"{path.parent}: another run is starting here; wait until it has ended, or choose another --out"
    in_use = f"{path.parent} has been in use by process {holder.pid} on {holder.host} since {holder.since}"
    if _is_of_this_machine(holder):
        return f"{in_use}: wait until it has ended, end it with `kill {holder.pid}`, or choose another --out"
    return (
        f"{in_use}, last sign of life {max(0, round(age))} s ago: wait until it has ended, or choose another --out; if "
        f"it crashed, delete {path} (it is ignored after {SILENT_SECONDS / 60:.0f} minutes without a sign of life)"
    )


def _beat(path: Path, holder: Holder, ended: threading.Event) -> None:
    """Renew the file's time until the run has ended, or another process holds the lock."""
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError), _alone(path, os.O_RDONLY) as descriptor:
            if descriptor is None or _read(descriptor) != holder:
                return
            os.utime(path)


def _release(path: Path, holder: Holder) -> None:
    with suppress(OSError), _alone(path, os.O_RDONLY) as descriptor:
        if descriptor is not None and _read(descriptor) == holder:
            path.unlink()
