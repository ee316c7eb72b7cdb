"""The program and the machine of a run."""

import json
import platform
import subprocess

import numpy
import pytest

from benchmark import __version__
from benchmark.report.provenance import Program, processor, program, seconds_before, software


def git(folder, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_without_git_it_is_the_version(tmp_path):
    """An installed or copied package; the version is needed at the end of a study and must not fail there."""
    assert program(tmp_path) == Program(version=__version__, commit=None, changed=None)


def test_a_repository_has_its_commit_and_says_where_it_was_changed(tmp_path):
    file = tmp_path / "code.py"
    file.touch()
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    (tmp_path / "comparison.csv").write_text("what a run leaves")
    assert program(tmp_path) == Program(version=__version__, commit=head.stdout.strip(), changed=False)
    file.write_text('[project]\nversion = "1.2.4"\n')
    assert program(tmp_path) == Program(version=__version__, commit=head.stdout.strip(), changed=True)


def test_packages_have_the_versions_that_are_imported():
    found = software()
    assert found.packages["numpy"] == numpy.__version__
    assert found.python == platform.python_version()


def test_the_processor_has_a_name():
    assert processor().strip()


@pytest.mark.parametrize(
    "written",
    [{"seconds": {"embed": 0.1, "train": 1 / 3}}, {"Seconds per stage": {"embed": "0.1", "train": str(1 / 3)}}],
    ids=["record", "headings of an earlier version"],
)
def test_seconds_of_the_run_before(tmp_path, written):
    file = tmp_path / "run.json"
    assert seconds_before(file) == {}
    file.write_text(json.dumps(written), encoding="utf-8")
    assert seconds_before(file) == {"embed": 0.1, "train": 1 / 3}
