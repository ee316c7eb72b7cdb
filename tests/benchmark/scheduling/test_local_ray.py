"""The folder, the Python and the memory that a private Ray uses."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.scheduling.local_ray import (
    SOCKET,
    SOCKET_PATH,
    largest_processes,
    memory_threshold,
    python_fault,
    survives_command_lines,
    temporary_folder,
)


@pytest.fixture
def short() -> Path:
    """A folder with a short path, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def test_the_folder_that_is_named_is_taken(short, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(short / "new folder"))
    assert (temporary_folder().path, temporary_folder().passed_over) == (short / "new folder" / "ray", "")
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    assert temporary_folder().path == short / "ray", "Ray's own variable comes first"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 81, "bytes too long for a socket's path"),
        ("é" * 35, "bytes too long for a socket's path"),
        ("it's", "a quote or a backslash"),
        ("file", "cannot be"),
    ],
)
def test_a_folder_that_cannot_be_used_is_passed_over_and_named(short, monkeypatch, name, why):
    """ray-project/ray#10786: the socket's path has 107 bytes."""
    (short / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(short / name))
    found = temporary_folder()
    assert found.path.parent == Path("/tmp")
    assert found.passed_over.startswith(f"TMPDIR={short / name} ")
    assert why in found.passed_over


def test_the_longest_path_that_fits_is_taken(short, monkeypatch):
    spare = SOCKET_PATH - len(SOCKET) - len(f"{short}//ray")
    monkeypatch.setenv("TMPDIR", str(short / ("x" * spare)))
    assert temporary_folder().passed_over == ""
    monkeypatch.setenv("TMPDIR", str(short / ("x" * (spare + 1))))
    assert " is 1 bytes too long" in temporary_folder().passed_over


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting asks for root")
def test_full_folders_are_one_line():
    # Mounted after all imports: Python or the project may lie in one of the folders that are hidden by the mounts.
    script = """
import subprocess
from benchmark.scheduling.local_ray import temporary_folder
for folder in ("/tmp", "/var/tmp", "/dev/shm"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
try:
    print(temporary_folder())
except Exception as error:
    print(type(error).__name__, error)
"""
    command = ["unshare", "-m", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[3], capture_output=True, text=True)
    if "mount:" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no mounts here")
    assert done.stdout.startswith(
        "UserError no folder for Ray's temporary files: /tmp has less than 64 MiB free; /var"
    ), done.stdout + done.stderr
    assert "set RAY_TMPDIR to a folder with a short path" in done.stdout
    assert done.stdout.count("\n") == 1


def test_no_folder_at_all_names_the_variable(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/proc/none")
    monkeypatch.setattr("benchmark.scheduling.local_ray.TEMPORARY_BYTES", 2**62)
    with pytest.raises(UserError, match=r"^no folder for Ray's temporary files: TMPDIR=/proc/none .*set RAY_TMPDIR to"):
        temporary_folder()


@pytest.mark.parametrize("path", ["/home/me/.venv/bin/python", "/home/School Stuff/python", "/a$b/c&d/é/python"])
def test_a_python_that_ray_starts(path):
    assert python_fault(path) is None


@pytest.mark.parametrize("path", ["/home/it's/python", "/home/back\\slash/python"])
def test_a_python_that_ray_does_not_start_is_named(path):
    assert not survives_command_lines(path)
    assert path in python_fault(path)
    assert "virtual environment" in python_fault(path)


def test_the_threshold_is_rays():
    assert memory_threshold({}) == 0.95
    assert memory_threshold({"RAY_memory_usage_threshold": "0.5"}) == 0.5
    assert memory_threshold({"RAY_memory_usage_threshold": "half"}) == 0.95
    assert memory_threshold({"RAY_memory_monitor_refresh_ms": "0"}) is None


def test_the_largest_programs_are_named():
    parts = largest_processes(3).split(", ")
    assert 1 <= len(parts) <= 3
    assert all(part.endswith(" GiB") for part in parts)
    sizes = [float(part.split()[-2]) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert "this study" in largest_processes(1000)
