"""Progress of a study: which stage runs, how far it is and how long it still takes.

On a terminal the progress is drawn live; elsewhere there is one line per finished stage.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark.report.readable import measured_seconds
from benchmark.report.screen import open_screen

_MEMORY = 3600  # seconds of which the speed is an average: an epoch of a large model takes many minutes


class Stage:
    """A running stage: `advance` counts finished parts, `say` shows the current work, `note` prints a line."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, parts: float = 1) -> None:
        self._progress.advance(self._task, parts)

    def say(self, doing: str) -> None:
        self._progress.update(self._task, doing=doing)

    def note(self, line: str) -> None:
        """Print a line that stays on the screen, on a terminal or elsewhere."""
        self._progress.console.print(line, style="yellow", markup=False, soft_wrap=True)


class Reporter:
    """The progress of a study on one console; `stages` are the names of the stages that are numbered."""

    def __init__(self, console: Console, stages: Sequence[str]) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self._stages = stages
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str, total: float, unit: str) -> Iterator[Stage]:
        """Show a stage of `total` parts while the block runs."""
        title = self._title(name)
        began = time.perf_counter()
        with Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn(title),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[doing]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
            redirect_stdout=False,  # what other code prints still goes to the log
            redirect_stderr=False,
            speed_estimate_period=_MEMORY,
        ) as progress:
            yield Stage(progress, progress.add_task(name, total=total, doing=""))
        self.seconds[name] = time.perf_counter() - began
        self.console.print(f"[green]✓[/] {title} {total:>6.0f} {unit} in {measured_seconds(self.seconds[name])}")

    def finish(self) -> None:
        """Show the time since the reporter was made."""
        self.console.print(f"[green]✓[/] all stages in {measured_seconds(time.perf_counter() - self._began)}")

    def skip(self, name: str, why: str) -> None:
        """Show that a stage has nothing to do."""
        self.console.print(f"[green]✓[/] {self._title(name)} [dim]{why}")

    def _title(self, name: str) -> str:
        number = f"{self._stages.index(name) + 1}/{len(self._stages)}" if name in self._stages else "   "
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
