"""The use of Ray Data: rows pass through steps on the cluster, and results come back as they are ready.

A step is a plain function of a row, or a class that is built once per actor and called with a list of rows. Neither
depends on Ray. A step reports a bad row in its result; it must not raise, because that would end the stream.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RaySystemError,
    WorkerCrashedError,
)

from benchmark.errors import UserError
from benchmark.scheduling.cluster import watch
from benchmark.scheduling.waiting import Watch

# Values are numbers, strings or numpy arrays of any shape. None is not allowed: Ray would convert it to another type.
Row = dict[str, Any]


@dataclass(frozen=True)
class Each:
    """A function of one row, run in tasks."""

    function: Callable[[Row], Row]
    cpus: float = 1


@dataclass(frozen=True)
class Batched:
    """A class built with `options` once per actor, whose instances take a list of rows and return as many or fewer."""

    worker: Callable[..., Callable[[list[Row]], list[Row]]]
    options: Mapping[str, Any] = field(default_factory=dict)
    actors: int = 1
    cpus: float = 1
    gpus: float | None = 0


# Failures of the machines, in contrast to errors in the work itself.
BROKEN = (
    ActorDiedError,
    NodeDiedError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RaySystemError,
    WorkerCrashedError,
)


def stream(
    rows: Sequence[Row],
    steps: Sequence[Each | Batched],
    batch_size: int,
    on_wait: Callable[[str], None] = lambda line: None,
) -> Iterator[Row]:
    """Send rows through the steps; yields the resulting rows in no particular order.

    Rows are sent in blocks of `batch_size`, which is also the number that a batched step gets at once. Memory holds
    only a few blocks, whatever the number of rows.

    Args:
        on_wait: receives a line if no results come and the cause is known; called from another thread.

    Raises:
        UserError: work was blocked for as long as `benchmark.scheduling.waiting.patience` allows, or Ray
            itself failed.
    """
    if not rows:
        return
    ray.data.DataContext.get_current().raise_original_map_exception = True  # not a text about it
    dataset = ray.data.from_items(list(rows), override_num_blocks=math.ceil(len(rows) / batch_size))
    for step in steps:
        if isinstance(step, Each):
            dataset = dataset.map(step.function, num_cpus=step.cpus)
        else:
            dataset = dataset.map_batches(
                _Actor,
                fn_constructor_args=(step.worker, dict(step.options)),
                batch_size=None,
                batch_format="numpy",
                compute=ActorPoolStrategy(size=step.actors),
                num_cpus=step.cpus,
                num_gpus=step.gpus or 0,
            )
    cpus, gpus = max(step.cpus for step in steps), max(getattr(step, "gpus", None) or 0 for step in steps)
    with _Guard(watch(cpus, gpus, on_wait)) as guard:
        results = iter(dataset.iter_rows())
        while (row := guard.next(results)) is not None:
            yield row


class _Stuck(KeyboardInterrupt):
    """Ends a wait inside Ray, which does not pass on other kinds of exceptions."""


class _Guard(AbstractContextManager["_Guard"]):
    """Checks a watch in a separate thread, and ends the main thread's wait for a row when patience is exhausted.

    The main thread iterates over the rows, so that Ray cleans up as after Ctrl-C. If it is created in another thread,
    where Python delivers no signals, it only reports what blocks the work and ends nothing.
    """

    SIGNAL = signal.SIGUSR2

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.lock = threading.Lock()
        self.waiting = False
        self.verdict: str | None = None
        self.left = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.caller = threading.get_ident()
        self.in_main_thread = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "_Guard":
        if self.in_main_thread:
            self.before = signal.signal(self.SIGNAL, self._interrupt)
        self.thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.left.set()
        if self.in_main_thread:
            signal.signal(self.SIGNAL, self.before)

    def next(self, rows: Iterator[Row]) -> Row | None:
        """The next row, or None after the last."""
        try:
            with self.lock:
                self.waiting = True
            row = next(rows, None)
            with self.lock:
                self.waiting = False
                self.watch.came()
            if self.verdict is not None:
                time.sleep(60)  # the signal is on its way
        except _Stuck:
            raise UserError(self.verdict) from None
        except BROKEN as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"Ray failed during this step ({reason}); continue with --resume, which keeps what is complete"
            ) from error
        return row

    def _look(self) -> None:
        while not self.left.wait(1):
            if not self.waiting:
                continue
            verdict = self.watch.look()
            with self.lock:
                if verdict is not None and self.waiting and self.in_main_thread:
                    self.verdict = verdict
                    signal.pthread_kill(self.caller, self.SIGNAL)
                    return

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.verdict is not None:
            raise _Stuck
        if callable(self.before):
            self.before(number, frame)


class _Actor:
    def __init__(self, worker: Callable[..., Callable[[list[Row]], list[Row]]], options: dict[str, Any]) -> None:
        self.worker = worker(**options)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        results = self.worker(rows)
        return {key: _column([result[key] for result in results]) for key in results[0]}


def _column(values: list[Any]) -> np.ndarray:
    if isinstance(values[0], np.ndarray) and len({value.shape for value in values}) > 1:
        ragged = np.empty(len(values), dtype=object)
        ragged[:] = values
        return ragged
    return np.array(values)
