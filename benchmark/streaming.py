"""Ray Data, once: rows flow through steps on the cluster, and results come back as they are ready.

A step is a plain function of a row, or a class that is built once per actor and called with a list of rows. Neither
knows of Ray. A step that meets a bad row says so in its result; it does not raise, for that would end the stream.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy

# Values are numbers, strings or numpy arrays of any shape. There is no None: Ray would turn it into another type.
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


def stream(rows: Sequence[Row], steps: Sequence[Each | Batched], batch_size: int) -> Iterator[Row]:
    """Send rows through the steps; yields the rows that come out, in no particular order.

    Rows travel in blocks of `batch_size`, which is also what a batched step gets at once; memory holds a few blocks,
    however many rows there are.
    """
    if not rows:
        return
    ray.data.DataContext.get_current().raise_original_map_exception = True  # what a step raised, not a text about it
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
    yield from dataset.iter_rows()


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
