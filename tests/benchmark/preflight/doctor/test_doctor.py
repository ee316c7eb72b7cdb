"""The diagnosis as a whole. Nothing is downloaded, trained or written."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.preflight import doctor
from benchmark.preflight.doctor import examine
from benchmark.preflight.doctor.finding import Finding, Status

ROOT = Path(__file__).resolve().parents[4]
PASS, WARN, FAIL = Status


def test_a_check_that_fails_is_reported_and_the_others_continue(monkeypatch, case):
    def broken(case):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(doctor, "CHECKS", {"disk": broken, "Python": doctor.check_python})
    broken_down, python = examine(case(), Console(file=io.StringIO()))
    assert broken_down.status is FAIL
    assert broken_down.what == "disk"
    assert "ZeroDivisionError: by zero" in broken_down.detail
    assert python.what == "Python"


def test_a_check_that_another_fault_prevents_is_a_warning(tmp_path, monkeypatch, case, statuses):
    gone = case(cohort={"manifest": tmp_path / "gone.csv", "synthetic": None})
    kept = {name: check for name, check in doctor.CHECKS.items() if name in ("cohort", "images", "disk")}
    monkeypatch.setattr(doctor, "CHECKS", kept)
    cohort, *others = examine(gone, Console(file=io.StringIO()))
    assert (cohort.status, "no such file" in cohort.detail) == (FAIL, True)
    assert statuses(others) == [WARN, WARN]
    assert all(finding.detail.startswith("not checked: ") for finding in others)


def test_a_quick_check_names_what_it_leaves_to_the_doctor(monkeypatch, case):
    """Without --cluster, all checks are made; with it, those of the cluster are left out."""
    monkeypatch.setattr(doctor, "CHECKS", {name: lambda case, name=name: [name] for name in doctor.CHECKS})
    console, quick = Console(file=io.StringIO()), replace(case(), quick=True)
    assert list(examine(quick, console)) == list(doctor.CHECKS)
    assert doctor.left_out(quick)[0] == "whether Ray starts"
    joined = replace(quick, address="auto")
    assert set(doctor.CHECKS) - set(examine(joined, console)) == {"Ray", "memory"}
    assert "whether the cluster can be joined" in doctor.left_out(joined)[0]


def test_a_diagnosis_is_printed_and_its_failures_counted(case, monkeypatch, capfd):
    found = {
        "Python": [Finding(PASS, "Python", "3.11.7")],
        "shared memory": [Finding(FAIL, "shared memory", "little", "more")],
    }
    monkeypatch.setattr(doctor, "CHECKS", {name: lambda case, name=name: found[name] for name in found})
    demo = case()
    assert doctor.diagnose(demo.study, demo.out, None) == 1
    lines = [line.rstrip() for line in capfd.readouterr().out.splitlines()]
    assert lines[0].startswith("demo: 9 trials, run directory")
    assert [line for line in lines if line.startswith(("PASS", "FAIL"))] == [
        "PASS  Python         3.11.7",
        "FAIL  shared memory  little",
    ]
    assert lines[-1] == "1 failure"


@pytest.mark.slow
def test_the_demo_study_is_fit_to_run(tmp_path):
    """The command itself, in a pipe, with its own Ray."""
    command = [sys.executable, str(ROOT / "run_benchmark.py"), "doctor", "--out", str(tmp_path / "run")]
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("demo: 9 trials")
    assert {line.split()[0] for line in lines if line[:1].isupper()} == {"PASS", "WARN"}
    assert "\x1b" not in done.stdout
    assert max(map(len, lines)) <= 80
    assert not (tmp_path / "run").exists()
