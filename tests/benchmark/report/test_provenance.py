"""Which program and machine made a run."""

import subprocess

from benchmark import __version__
from benchmark.report.provenance import processor, program


def git(folder, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_without_git_it_is_the_version(tmp_path):
    """An installation, or packages that were copied; this is asked when a study ends and must not fail there."""
    assert program(tmp_path) == __version__


def test_a_repository_has_its_commit_and_says_where_it_was_changed(tmp_path):
    file = tmp_path / "code.py"
    file.touch()
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    (tmp_path / "comparison.csv").write_text("what a run leaves")
    assert program(tmp_path) == f"{__version__}, commit {head.stdout.strip()}"
    file.write_text("changed")
    assert program(tmp_path) == f"{__version__}, commit {head.stdout.strip()} with changes"


def test_the_processor_has_its_memory():
    assert processor().endswith(" GiB")
