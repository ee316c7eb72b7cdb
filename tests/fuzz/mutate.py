"""Fuzzing of file readers: files are damaged at random, and each is read in a process that may crash or hang.

`fuzz` is what a program such as `tests/fuzz/images.py` calls; `failure` replays one stored file in a plain test.
"""

import multiprocessing
import random
import resource
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

Check = Callable[[Path], str]
"""Reads one file; returns the outcome (a result's name, or a reason) and raises on a wrong outcome."""

SECONDS = 60  # to read one small file on a busy machine: its header may claim 100 million pixels
MEMORY = 6 << 30  # bytes of address space for one reader, including its libraries
_EDGES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Seed:
    """A valid file to start from. `rework`, if given, damages it with knowledge of its format."""

    name: str
    data: bytes
    rework: Callable[[random.Random], bytes] | None = None


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """One to six random changes; most of them near the start, where headers are."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(_CHANGES)(data, rng, others) if data else rng.randbytes(rng.randint(1, 64))
    return data


def _damaged(seed: Seed, rng: random.Random, others: Sequence[bytes]) -> bytes:
    if seed.rework is not None and rng.random() < 0.5:
        try:
            return seed.rework(rng)
        except Exception:  # libraries refuse to write much of what a damaged file can contain
            return mutate(seed.data, rng, others)
    return mutate(seed.data, rng, others)


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randrange(min(len(data), rng.choice((32, 256, 1024, len(data)))))


def _flip(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _set(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.choice((1, 1, 2, 4, 16))) + data[at + 1 :]


def _number(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """Replace a field of one, two or four bytes by a number at the limits of its type."""
    form = rng.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    at = _place(data, rng)
    return data[:at] + struct.pack(form, rng.choice(_EDGES) % 256**size) + data[at + size :]


def _truncate(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def _delete(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, 64, 1024)) :]


def _repeat(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    at = _place(data, rng)
    piece = data[at : at + rng.choice((1, 2, 4, 8, 64, 1024))]
    return data[:at] + piece * rng.choice((2, 3, 16)) + data[at:]


def _splice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Overwrite part of this file with a piece of another file, or of itself."""
    other = rng.choice(others) if others else data
    start = rng.randrange(max(1, len(other)))
    piece = other[start : start + rng.choice((2, 4, 12, 64, 512))]
    at = _place(data, rng)
    return data[:at] + piece + data[at + rng.choice((0, len(piece))) :]


_CHANGES = (_flip, _flip, _set, _number, _number, _number, _truncate, _delete, _repeat, _splice)


def failure(check: Check, path: Path) -> str | None:
    """The error when `check` reads that file in a separate process; None if there is none."""
    reader = _Reader(check)
    try:
        return reader.read(path)[0]
    finally:
        reader.close()


def fuzz(
    check: Check, seeds: Sequence[Seed], store: Path, minutes: float, seed: int, jobs: int = 2, stop_after: int = 20
) -> int:
    """Reads damaged files for some minutes and prints the outcomes.

    Args:
        check: a function of a module (it is imported in other processes).
        seeds: valid files.
        store: where files that fail are kept, one for each kind of failure.
        minutes: duration.
        seed: seed of the damage; every job has a separate sequence.
        jobs: number of processes that read at the same time.
        stop_after: number of different failures after which to stop.

    Returns:
        0, or 1 if a file was neither read nor refused with a reason.
    """
    session = _Session(check, seeds, store, time.monotonic() + 60 * minutes, stop_after)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(session.work, range(seed * jobs, seed * jobs + jobs)))
    print(f"{session.read} files, seed {seed}")
    for outcome, count in session.outcomes.most_common(60):
        print(f"{count:8} {outcome}")
    for what, path in session.failures.items():
        print(f"FAILED {path}: {what}")
    return 1 if session.failures else 0


@dataclass
class _Session:
    check: Check
    seeds: Sequence[Seed]
    store: Path
    deadline: float
    stop_after: int
    read: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Path] = field(default_factory=dict)

    def work(self, seed: int) -> None:
        rng = random.Random(seed)
        contents = [start.data for start in self.seeds]
        reader = _Reader(self.check)
        with TemporaryDirectory() as folder:
            while time.monotonic() < self.deadline and len(self.failures) < self.stop_after:
                start = rng.choice(self.seeds)
                data = _damaged(start, rng, contents)
                path = Path(folder) / start.name
                path.write_bytes(data)
                wrong, outcome = reader.read(path)
                self.read += 1
                self.outcomes[outcome] += 1
                if wrong and wrong not in self.failures:
                    self.failures[wrong] = self._keep(start.name, data)
        reader.close()

    def _keep(self, name: str, data: bytes) -> Path:
        self.store.mkdir(parents=True, exist_ok=True)
        kept = self.store / f"{sha256(data).hexdigest()[:12]}-{name}"
        kept.write_bytes(data)
        return kept


class _Reader:
    """A process that reads files one after another and is restarted after a crash or a hang."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._check, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(120):  # imports
            raise TimeoutError("the reading process does not start")
        self._pipe.recv()

    def read(self, path: Path) -> tuple[str | None, str]:
        """The error, or None; and the outcome, without numbers and names."""
        self._pipe.send(path)
        try:
            if self._pipe.poll(SECONDS):
                wrong, outcome = self._pipe.recv()
                return wrong, outcome
            wrong = f"hangs (more than {SECONDS} s)"
        except (EOFError, ConnectionResetError):
            self._process.join(10)
            wrong = f"the process died (exit code {self._process.exitcode})"
        self.close()
        self._start()
        return wrong, wrong

    def close(self) -> None:
        self._process.kill()
        self._process.join(10)
        self._pipe.close()


def _serve(check: Check, pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    pipe.send("ready")
    while True:
        path = pipe.recv()
        try:
            pipe.send((None, _kind(check(path))))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            wrong = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"[:300]
            pipe.send((wrong, f"raised {type(error).__name__}"))


def _kind(outcome: str) -> str:
    return "".join("#" if letter.isdigit() else letter for letter in outcome)[:60]
