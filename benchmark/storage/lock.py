"""One run at a time in a folder: a lock that names who holds it, and that is taken over when that process has ended.

The lock is a file with the holder's host and process. On the same host the process itself is looked up, by its number
and by when it began, since numbers are used again. Of another host (or another container, whose processes have numbers
of their own) nothing is known but the file's time, which its holder renews every half minute: after ten minutes without
a sign of life the lock counts for nothing.
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
BEING_WRITTEN_SECONDS = 10.0  # a lock without content: its holder made it a moment ago, or ended at that moment


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        began: when the process began, in a form that its system alone understands.
        numbering: within what a process number means one process: this start of this machine, this container.
        since: when it took the lock, local time.
        token: no two locks have the same.
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
    """Hold the lock `path` while the block runs; its folder must be there.

    Raises:
        UserError: another process holds it.
        OSError: the file cannot be made.
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


def process_start(pid: int) -> str | None:
    """When a process of this machine began, as the system says it; None where there is none, or it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()  # the name before it may hold anything
        except OSError:
            return None
        return None if fields[0] in b"ZX" else fields[19].decode()  # state; ticks since the machine started
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def _numbering() -> str:
    """What of this machine gives processes their numbers; "" where the system does not say."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _take(path: Path, holder: Holder) -> None:
    for _ in range(ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)  # one of many starts gets it
        except FileExistsError:
            if _taken_over(path, holder):
                return
            continue  # it was released a moment ago
        try:
            _fill(descriptor, holder)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        return
    raise UserError(f"{path}: comes and goes; delete it, or choose another --out")


def _taken_over(path: Path, holder: Holder) -> bool:
    """Write ourselves into a lock that counts for nothing; False where it has gone.

    Raises:
        UserError: it counts.
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
    """The lock's file, open, while no other process of this kind looks at it; None where it has gone."""
    try:
        descriptor = os.open(path, mode)
    except FileNotFoundError:
        yield None
        return
    try:
        if fcntl is not None:
            with suppress(OSError):  # a file system without such locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            there = os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            there = False
        yield descriptor if there else None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Holder | None:
    """Who holds the lock; None where it does not say."""
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
    """Seconds since the last sign of life, by the clock that times files: that of another machine may be wrong."""
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
    """Whether there is a process that the system does not show to this user."""
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
        return f"{path.parent}: another run starts here at this moment; wait for it, or choose another --out"
    told = f"{path.parent} is in use by process {holder.pid} on {holder.host} since {holder.since}"
    if _is_of_this_machine(holder):
        return f"{told}: wait until it has ended, end it with `kill {holder.pid}`, or choose another --out"
    return (
        f"{told}, last sign of life {max(0, round(age))} s ago: wait until it has ended, or choose another --out; if "
        f"it was lost, delete {path} (after {SILENT_SECONDS / 60:.0f} minutes without a sign of life it is ignored)"
    )


def _beat(path: Path, holder: Holder, ended: threading.Event) -> None:
    """Renew the file's time until the run has ended, or the lock is another's."""
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError), _alone(path, os.O_RDONLY) as descriptor:
            if descriptor is None or _read(descriptor) != holder:
                return
            os.utime(path)


def _release(path: Path, holder: Holder) -> None:
    with suppress(OSError), _alone(path, os.O_RDONLY) as descriptor:
        if descriptor is not None and _read(descriptor) == holder:
            path.unlink()
