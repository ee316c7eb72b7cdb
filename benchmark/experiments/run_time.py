"""Reproduce docs/run-time.md: the estimate of every stage that `--dry-run` prints, compared with a run.

    python -m benchmark.experiments.run_time runs/timed --config configs/demo.yaml

Takes as long as the run. Other programs on the machine make a run slower, but change its processor time little;
therefore both are compared.
"""

import argparse
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmark.preflight.calibration import calibrate
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.stage_times import Plan, StageTime, stage_times
from benchmark.report.readable import readable_seconds
from benchmark.study.config import load_study

SECONDS = 0.5  # between two looks at the processes
_FINISHED = re.compile(r"✓\s+(?:\d+/\d+\s+)?(\w+)")


@dataclass
class Measured:
    """Wall time and processor time per stage, of a command and all processes that it starts."""

    seconds: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)


class _Processes:
    """Processor time of a process and its descendants, also of those that have ended."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._used: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def used(self) -> float:
        self._look()
        return sum(self._used.values())

    def end(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS):
            self._look()

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            for process in [self._root, *self._root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):  # it has just ended
                    times = process.cpu_times()
                    self._used[process.pid, process.create_time()] = times.user + times.system


RUN = (sys.executable, "-c", "from benchmark.command import run; run()")


def measure(options: list[str], program: Sequence[str] = RUN) -> Measured:
    """Run a study and measure its stages.

    Raises:
        subprocess.CalledProcessError: the run failed.
    """
    command = [*program, *options]
    measured = Measured()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        processes, before, used = _Processes(run.pid), time.perf_counter(), 0.0
        assert run.stdout is not None  # a pipe was asked for
        for line in run.stdout:
            print(line, end="", flush=True)
            finished = _FINISHED.match(line)
            if finished is None or finished[1] == "all":
                continue
            name = "start" if finished[1] == "weights" else finished[1]
            now, total = time.perf_counter(), processes.used()
            name = "control" if name == "erase" else name
            measured.seconds[name] = measured.seconds.get(name, 0.0) + now - before
            measured.processor[name] = measured.processor.get(name, 0.0) + total - used
            before, used = now, total
        processes.end()
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command)
    return measured


def table(stages: list[StageTime], measured: Measured) -> str:
    """The estimates and the measurements as a Markdown table."""
    lines = [
        "| stage | work | estimate | measured | estimate, processor | measured, processor |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    rows: dict[str, list[float]] = {}
    for each in stages:
        passed, used = measured.seconds[each.name], measured.processor[each.name]
        rows[f"{each.name} | {each.work}"] = [each.seconds, passed, each.processor, used]
    rows["all | "] = [sum(column) for column in zip(*rows.values(), strict=True)]
    for what, times in rows.items():
        lines.append(f"| {what} | {' | '.join(map(readable_seconds, times))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    case = Case(load_study(arguments.config), arguments.out, quick=True)
    plan = Plan(
        case.study, case.cohort, case.out, False, case.machine, calibrate(case.study, case.cohort, case.machine)
    )
    stages = stage_times(plan)
    print(plan.pace)
    print(*stages, sep="\n", flush=True)
    measured = measure(["--config", str(arguments.config), "--out", str(arguments.out)])
    print(table(stages, measured))


if __name__ == "__main__":
    main()
