"""The supported versions of Python, and the packages compared with the lock file."""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.preflight.doctor import software
from benchmark.preflight.doctor.finding import Status

ROOT = Path(__file__).resolve().parents[4]
PASS, WARN, FAIL = Status


def test_supported_pythons_are_those_of_the_project():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    (least, below) = (tuple(map(int, part)) for part in re.findall(r"(\d+)\.(\d+)", wanted))
    assert (software.PYTHONS[0], software.PYTHONS[-1]) == (least, (below[0], below[1] - 1))


@pytest.mark.parametrize(
    ("version", "status"), [((3, 12, 1), PASS), ((3, 10, 0), FAIL), ((3, 14, 0), PASS), ((3, 15, 0), FAIL)]
)
def test_python(version, status, monkeypatch, case, statuses):
    monkeypatch.setattr(sys, "version_info", version)
    assert statuses(software.check_python(case())) == [status]


def test_packages_are_compared_with_the_lock():
    torch_version = torch.__version__.partition("+")[0]
    project = '[project]\ndependencies = ["torch", "numpy[extra]>=1"]'
    numpy_lines = f'numpy==1.0 ; python_version < "3"\nnumpy=={np.__version__} \\\n    --hash=sha256:0\n'
    (fine,) = software.compare_packages(project, f"torch=={torch_version} \\\n{numpy_lines}")
    assert fine.status is PASS
    assert f"all 2 match the lock file: torch {torch_version}" in fine.detail
    (other,) = software.compare_packages(project, f"torch==0.1\n{numpy_lines}")
    assert (other.status, other.detail) == (
        WARN,
        f"different from requirements.lock: torch {torch_version} instead of 0.1",
    )
    (missing,) = software.compare_packages('[project]\ndependencies = ["torch", "no-such-package-here"]', "torch==0.1")
    assert (missing.status, missing.detail) == (FAIL, "missing: no-such-package-here")
    assert "requirements.lock" in missing.fix


def test_the_projects_own_lock_is_understood(case):
    (finding,) = software.check_packages(case())
    assert finding.status is not FAIL
    assert " instead of none" not in finding.detail


def test_packages_that_were_copied_without_their_lock_are_not_checked(case, monkeypatch, tmp_path):
    monkeypatch.setattr(software, "shipped", lambda name: tmp_path / name)
    (finding,) = software.check_packages(case())
    assert finding.status is WARN
    assert "pyproject.toml is missing" in finding.detail
