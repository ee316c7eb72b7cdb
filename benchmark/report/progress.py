"""Progress of a study: how far the whole run is and how long it still takes, which stage runs, and on what.

On a terminal the progress is drawn live; elsewhere there is one line per finished stage, and in a long stage one every
few minutes.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from itertools import zip_longest
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from benchmark.report.forecast import Forecast
from benchmark.report.readable import clock_time, measured_seconds, readable_seconds
from benchmark.report.screen import open_screen

PLAIN_SECONDS = 300.0  # between two lines of a stage without a terminal
_OTHER_ROWS = 4  # of the terminal, which the lines of trials leave free
_GAP, _SHORTEST = 2, 16  # columns between two figures; columns of a trial's name, at least


class Stage:
    """A running stage: `advance` counts finished parts, `say` and `show` show the current work, `note` prints."""

    def __init__(self, reporter: "Reporter", title: str, total: float, unit: str, seconds: float) -> None:
        self._reporter, self._title, self._total, self._unit, self._seconds = reporter, title, total, unit, seconds
        self._done = 0.0
        self._doing = ""
        self._lines: dict[str, tuple[str, ...]] = {}
        self._spinner = Spinner("dots")
        self._last_line = reporter.clock()

    @property
    def forecast(self) -> Forecast:
        """The time left of the whole run."""
        return self._reporter.forecast

    def advance(self, parts: float = 1, seconds: float | None = None, left: float | None = None) -> None:
        """Count finished parts.

        Args:
            seconds: estimated seconds of these parts, if parts differ.
            left: seconds that the other parts will take, if that is known better than from the estimates.
        """
        self._done += parts
        even = parts / self._total * self._seconds if self._total else 0.0
        self.forecast.advance(even if seconds is None else seconds, left)
        if not self._reporter.live and self._reporter.clock() - self._last_line >= PLAIN_SECONDS:
            self._last_line = self._reporter.clock()
            self._reporter.console.print(f"  {self._title}{self._count()}; {self._times()}", soft_wrap=True)

    def say(self, doing: str) -> None:
        """Show what the stage works on."""
        self._doing = doing

    def show(self, name: str, *figures: str) -> None:
        """Give a trial that is being worked on a line of its own."""
        self._lines[name] = figures

    def drop(self, name: str) -> None:
        """Remove a trial's line."""
        self._lines.pop(name, None)

    def note(self, line: str) -> None:
        """Print a line that stays on the screen, on a terminal or elsewhere."""
        self._reporter.warn(line)

    def __rich__(self) -> RenderableType:
        """The run on the first line, the stage on the second, then one line for each trial."""
        run = Table.grid(padding=(0, 1), expand=True)
        run.add_column(ratio=1)
        for _ in range(2):
            run.add_column(no_wrap=True)
        share = self.forecast.share
        run.add_row(ProgressBar(1.0, share), Text(f"{share:.0%}"), Text(self._times()))
        stage = Table.grid(padding=(0, 1), expand=True)
        for _ in range(2):
            stage.add_column(no_wrap=True)
        stage.add_column(no_wrap=True, overflow="ellipsis", ratio=1, style="dim")
        stage.add_row(self._spinner, Text.from_markup(f"{self._title}{self._count()}"), Text(self._doing))
        return Group(run, stage, *self._trials())

    def _trials(self) -> list[RenderableType]:
        """One line for each trial that is worked on, as far as the terminal has rows; long names are cut."""
        lines = list(self._lines.items())  # another thread may add lines
        shown = lines[: max(1, self._reporter.console.height - _OTHER_ROWS)]
        columns = list(zip_longest(*(figures for _, figures in shown), fillvalue=""))
        taken = sum(max(map(len, column)) + _GAP for column in columns)
        table = Table.grid(padding=(0, _GAP, 0, 0))
        room = self._reporter.console.width - taken - _GAP
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(_SHORTEST, room))
        for _ in columns:
            table.add_column(no_wrap=True)
        for name, figures in shown:
            table.add_row(Text(f"    {name}"), *map(Text, figures))
        more = len(lines) - len(shown)
        return [table, *([Text(f"    and {more} more")] if more else [])]

    def _count(self) -> str:
        return f"{self._done:.0f}/{self._total:.0f} {self._unit}"

    def _times(self) -> str:
        return f"{clock_time(self.forecast.elapsed)}, about {readable_seconds(self.forecast.left)} left"


class Reporter:
    """The progress of a study on one console.

    Args:
        stages: the names of the stages that are numbered.
        seconds: estimated wall seconds of each stage, in the order in which they run.
        clock: seconds.
    """

    def __init__(
        self,
        console: Console,
        stages: Sequence[str],
        seconds: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self.clock = console, clock
        self.live = console.is_terminal and not console.is_dumb_terminal
        self.seconds: dict[str, float] = {}
        self.forecast = Forecast(seconds or {}, clock)
        self._stages, self._part = stages, ""
        self._began = clock()

    def within(self, part: str) -> "Reporter":
        """The progress of a part of the run, such as a fold: the same display, with its own seconds.

        Estimates of its stages have the names "<part> <stage>".
        """
        inner = copy(self)
        inner._part, inner.seconds = part, {}
        return inner

    @contextmanager
    def stage(self, name: str, total: float, unit: str, seconds: float | None = None) -> Iterator[Stage]:
        """Show a stage of `total` parts while the block runs.

        Args:
            seconds: estimated wall seconds of the parts, if it differs from the estimate for the whole stage.
        """
        title, began = self._title(name), self.clock()
        stage = Stage(self, title, total, unit, self.forecast.begin(self._known_as(name), total, seconds))
        with (
            Live(
                stage,
                console=self.console,
                transient=True,
                redirect_stdout=False,  # what other code prints still goes to the log
                redirect_stderr=False,
            )
            if self.live
            else nullcontext()
        ):
            yield stage
        self.forecast.finish()
        self.seconds[name] = self.clock() - began
        self.console.print(f"[green]✓[/] {title} {total:>6.0f} {unit} in {measured_seconds(self.seconds[name])}")

    def warn(self, line: str) -> None:
        """Print a line that stays on the screen, on a terminal or elsewhere."""
        self.console.print(line, style="yellow", markup=False, soft_wrap=True)

    def finish(self) -> None:
        """Show the time since the reporter was made."""
        self.console.print(f"[green]✓[/] all stages in {measured_seconds(self.clock() - self._began)}")

    def skip(self, name: str, why: str) -> None:
        """Show that a stage has nothing to do."""
        self.forecast.drop(self._known_as(name))
        self.console.print(f"[green]✓[/] {self._title(name)} [dim]{why}")

    def _known_as(self, name: str) -> str:
        return f"{self._part} {name}" if self._part else name

    def _title(self, name: str) -> str:
        number = f"{self._stages.index(name) + 1}/{len(self._stages)}" if name in self._stages else "   "
        number = f"{number} {self._part}" if self._part else number
        return f"[bold]{number} {name:<8}[/]"


@contextmanager
def screen_apart_from(log: Path) -> Iterator[Console]:
    """A console on the real screen, while everything else that the process and its libraries print goes into `log`.

    The file descriptors themselves are redirected, because Ray's core does not write through Python.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    screen, errors = os.dup(1), os.dup(2)
    with log.open("ab") as file, open_screen(screen) as stream:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=stream)
        finally:
            _flush()
            stream.flush()
            os.dup2(screen, 1)
            os.dup2(errors, 2)
            os.close(screen)
            os.close(errors)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the disk of the log may be full
            stream.flush()
