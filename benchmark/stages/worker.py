"""What the streaming steps that load a model have in common."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from benchmark.errors import OF_ONE_ROW, named
from benchmark.scheduling.streaming import Row

Loaded = TypeVar("Loaded")


class Worker(ABC, Generic[Loaded]):
    """A streaming step over units of work, of which many in a row need the same model.

    What goes wrong with a unit becomes a row with the reason in `error`, for one model's trouble is not the others'.
    The rows of the others have an empty `error`, where they say nothing else.
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
            self._loaded = None  # two would be in memory at once, and the old one stays out where loading fails
            self._loaded = self.load(key)
            self._key = key
        return self._loaded

    @abstractmethod
    def key(self, unit: Row) -> Any:
        """What is loaded for the unit; kept while it is the same."""

    @abstractmethod
    def load(self, key: Any) -> Loaded:
        """The model, and what else its units need."""

    @abstractmethod
    def work(self, loaded: Loaded, unit: Row) -> list[Row]:
        """The unit's rows."""

    @abstractmethod
    def failed(self, unit: Row) -> Row:
        """The row of a unit that came to nothing, with the columns of the others."""
