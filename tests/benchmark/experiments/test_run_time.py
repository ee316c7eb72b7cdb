"""The measurement of a run's stages, on a command that prints what a run prints."""

import subprocess
import sys

import pytest

from benchmark.experiments import run_time
from benchmark.experiments.run_time import Measured, table
from benchmark.preflight.stage_times import StageTime

WORK = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(20_000_000))'])"
RUN = f"""
print("✓ 1/8 weights       3 backbones in 0.0 s", flush=True)
{WORK}
print("✓     erase       140 images in 2:20", flush=True)
print("✓ 7/8 control      36 controls in 3:48", flush=True)
print("✓ all stages in 0:05", flush=True)
"""


def test_processor_time_includes_other_processes_that_have_ended(monkeypatch):
    monkeypatch.setattr(run_time, "SECONDS", 0.02)
    measured = run_time.measure([], [sys.executable, "-c", RUN])
    assert list(measured.seconds) == ["start", "control"], "erase belongs to control"
    assert 0.05 < measured.processor["control"] <= measured.seconds["control"] + 0.1


def test_a_run_that_fails_is_an_error():
    with pytest.raises(subprocess.CalledProcessError):
        run_time.measure([], [sys.executable, "-c", "raise SystemExit(3)"])


def test_the_table_has_a_row_per_stage_and_a_sum():
    stages = [StageTime("start", "1 Ray", 10.0, 8.0), StageTime("train", "72 epochs", 90.0, 100.0)]
    measured = Measured({"start": 12.0, "train": 60.0}, {"start": 9.0, "train": 80.0})
    assert table(stages, measured).splitlines()[2:] == [
        "| start | 1 Ray | 0:10 | 0:12 | 0:08 | 0:09 |",
        "| train | 72 epochs | 1:30 | 1:00 | 1:40 | 1:20 |",
        "| all |  | 1:40 | 1:12 | 1:48 | 1:29 |",
    ]
