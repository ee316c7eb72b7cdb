"""Time left of a run: estimates of every stage, corrected by what the run has measured so far."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_DOUBT = 0.05  # share of the estimated work that must be done before measurements outweigh the estimates


@dataclass
class _Running:
    """The running stage.

    Attributes:
        whole: estimated seconds, with the start of its workers.
        parts: estimated seconds of its parts.
        began: when the stage began.
        done: estimated seconds of the finished parts.
        at: when the last part was finished.
        first: when the first part was finished, and its estimated seconds; before that, workers start.
        expected: seconds left at `at`, from a better source than `done`; None if there is none.
    """

    whole: float
    parts: float
    began: float
    at: float
    done: float = 0.0
    first: tuple[float, float] | None = None
    expected: float | None = None

    @property
    def measured(self) -> tuple[float, float]:
        """Measured and estimated seconds of the parts after the first."""
        return (0.0, 0.0) if self.first is None else (self.at - self.first[0], self.done - self.first[1])


class Forecast:
    """Time left of a run.

    Args:
        stages: estimated wall seconds of each stage, in the order in which they run.
        clock: seconds.
    """

    def __init__(self, stages: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting, self._clock = dict(stages), clock
        self._doubt = _DOUBT * sum(stages.values())
        self._running: _Running | None = None
        self._finished = (0.0, 0.0)  # measured and estimated seconds
        self._began, self._share = clock(), 0.0

    def begin(self, name: str, parts: float, seconds: float | None = None) -> float:
        """A stage begins; returns the estimated seconds of its parts.

        Args:
            parts: number of its parts, the estimate for a stage without one.
            seconds: estimated wall seconds of its parts; None takes the estimate for the whole stage.
        """
        planned = self._waiting.get(name)
        self.drop(name)
        parts = next(given for given in (seconds, planned, parts) if given is not None)
        self._running = _Running(max(parts, planned or 0.0), parts, self._clock(), self._clock())
        return parts

    def drop(self, name: str) -> None:
        """A stage has begun or has nothing to do; the same holds for those before it."""
        if name in self._waiting:
            for over in list(self._waiting)[: list(self._waiting).index(name) + 1]:
                del self._waiting[over]

    def advance(self, seconds: float, left: float | None = None) -> None:
        """Parts of the running stage are finished.

        Args:
            seconds: estimated seconds of these parts.
            left: seconds that the stage's other parts will take, if that is known better than from the estimates.
        """
        if stage := self._running:
            stage.done, stage.at, stage.expected = stage.done + seconds, self._clock(), left
            stage.first = stage.first or (stage.at, stage.done)

    def finish(self) -> None:
        """The running stage is finished."""
        if stage := self._running:
            measured, estimated = self._finished
            self._finished = measured + self._clock() - stage.began, estimated + stage.whole
            self._running = None

    @property
    def scale(self) -> float:
        """Measured seconds per estimated second."""
        running = self._running.measured if self._running else (0.0, 0.0)
        measured, estimated = (sum(pair) for pair in zip(self._finished, running, strict=True))
        return (measured + self._doubt) / (estimated + self._doubt) if self._doubt else 1.0

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._began

    @property
    def left(self) -> float:
        """Seconds until the run is finished, above 0 while anything is left."""
        return self.scale * sum(self._waiting.values()) + self._left_of_stage()

    @property
    def share(self) -> float:
        """The part of the run's time that has passed, from 0 to 1; it never falls."""
        left = self.left
        self._share = max(self._share, self.elapsed / (self.elapsed + left) if left else 1.0)
        return self._share

    def _left_of_stage(self) -> float:
        stage = self._running
        if stage is None:
            return 0.0
        left = stage.expected
        if left is None:
            measured, estimated = stage.measured
            prior = _DOUBT * stage.parts
            pace = (measured + prior * self.scale) / (estimated + prior) if prior else 1.0
            left = pace * max(0.0, stage.parts - stage.done)
        # Counts down between two parts, ever more slowly, because an estimate that proves too low must not reach 0.
        return left * left / (left + self._clock() - stage.at) if left else 0.0


class TrainingTime:
    """Time until all trials are trained: estimates, corrected by every finished epoch and trial.

    Args:
        cells: the cell of every trial, by the trial's name; epochs of one cell take the same time.
        estimates: estimated seconds per epoch, by the trial's name; 1 for a trial without one.
        epochs: number of epochs of each trial.
        at_once: number of trials that run at the same time.
        scale: measured seconds per estimated second, until an epoch is measured.
        clock: seconds.
    """

    def __init__(
        self,
        cells: Mapping[str, str],
        estimates: Mapping[str, float],
        epochs: int,
        at_once: int,
        scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cells, self._estimates, self._scale = cells, estimates, scale
        self._at_once, self._clock = at_once, clock
        self._epochs_left = dict.fromkeys(cells, epochs)
        self._measured: dict[str, list[float]] = {}  # cell -> seconds of each epoch
        self._estimated: dict[str, float] = {}  # cell -> estimated seconds of an epoch
        self._begun: dict[str, tuple[float, float]] = {}  # trial -> when it began, seconds in its epochs so far
        self._around: list[float] = []  # of each finished trial, seconds outside its epochs

    def start(self, name: str) -> None:
        """A trial starts."""
        self._begun[name] = self._clock(), 0.0

    def epoch(self, name: str, seconds: float) -> None:
        """A trial finished an epoch."""
        cell = self._cells[name]
        self._epochs_left[name] -= 1
        self._measured.setdefault(cell, []).append(seconds)
        self._estimated[cell] = self._estimates.get(name, 1.0)
        began, inside = self._begun.get(name, (self._clock() - seconds, 0.0))
        self._begun[name] = began, inside + seconds

    def end(self, name: str) -> None:
        """A trial ends, whether or not all epochs were needed."""
        self._epochs_left.pop(name, None)
        if name in self._begun:
            began, inside = self._begun.pop(name)
            self._around.append(max(0.0, self._clock() - began - inside))

    @property
    def left(self) -> float:
        """Seconds until all trials have ended, if none stops early."""
        if not self._epochs_left:
            return 0.0
        means = {cell: sum(seconds) / len(seconds) for cell, seconds in self._measured.items()}
        known = sum(self._estimated.values())
        scale = sum(means.values()) / known if known else self._scale
        around = sum(self._around) / len(self._around) if self._around else 1.0
        times = [
            around + left * means.get(self._cells[name], scale * self._estimates.get(name, 1.0))
            for name, left in self._epochs_left.items()
        ]
        return max(sum(times) / self._at_once, max(times))
