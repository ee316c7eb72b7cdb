"""The common part of the streaming steps that load a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from benchmark.errors import OF_ONE_ROW, named
from benchmark.scheduling.streaming import Row
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import Trial

Loaded = TypeVar("Loaded")


class Worker(ABC, Generic[Loaded]):
    """A streaming step over units of work, many of which in a row need the same model.

    An error in a unit becomes a row with the reason in `error`, so that the other models are not affected. In other
    rows, `error` is empty unless the step sets it.
    """

    _key: Any = None
    _loaded: Loaded | None = None

    def __call__(self, units: list[Row]) -> list[Row]:
        return [row for unit in units for row in self._rows(unit)]

    def _rows(self, unit: Row) -> list[Row]:
        try:
            return [{"error": ""} | row for row in self.work(self._of(self.key(unit)), unit)]
        except OF_ONE_ROW as error:
            return [self.failed(unit) | {"error": named(error)}]

    def _of(self, key: Any) -> Loaded:
        if self._loaded is None or key != self._key:
            self._loaded = None  # free memory before loading; if loading fails, the old model is not used either
            self._loaded = self.load(key)
            self._key = key
        return self._loaded

    @abstractmethod
    def key(self, unit: Row) -> Any:
        """Identifies what is loaded for the unit; it is kept as long as the key is the same."""

    @abstractmethod
    def load(self, key: Any) -> Loaded:
        """The model, and whatever else its units need."""

    @abstractmethod
    def work(self, loaded: Loaded, unit: Row) -> list[Row]:
        """The unit's rows."""

    @abstractmethod
    def failed(self, unit: Row) -> Row:
        """The row of a unit that failed, with the same columns as other rows."""


class OneTrial(Worker[None]):
    """Streaming step: `trial`, a position in `trials` -> whatever `write` leaves into that trial's folder.

    Every unit loads its own model, which is freed when the unit is done.
    """

    def __init__(
        self,
        study: Study,
        directory: RunDirectory,
        trials: list[Trial],
        write: Callable[[Study, RunDirectory, Trial], None],
    ) -> None:
        self.study, self.directory, self.trials, self.write = study, directory, trials, write

    def key(self, unit: Row) -> None:
        """Units have nothing in common."""

    def load(self, key: None) -> None:
        """Nothing is kept between units."""

    def work(self, loaded: None, unit: Row) -> list[Row]:
        self.write(self.study, self.directory, self.trials[int(unit["trial"])])
        return [unit]

    def failed(self, unit: Row) -> Row:
        return unit
