"""Which program and machine made a run."""

import subprocess

from benchmark.report.provenance import processor, program


def git(folder, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_a_copy_without_git_has_its_version(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    assert program(tmp_path) == "1.2.3"


def test_packages_without_their_project_file_can_still_report(tmp_path):
    """This is asked when a study ends: it must not fail there."""
    assert program(tmp_path) == "unknown version"


def test_a_repository_has_its_commit_and_says_where_it_was_changed(tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nversion = "1.2.3"\n')
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    (tmp_path / "comparison.csv").write_text("what a run leaves")
    assert program(tmp_path) == f"1.2.3, commit {head.stdout.strip()}"
    file.write_text('[project]\nversion = "1.2.4"\n')
    assert program(tmp_path) == f"1.2.4, commit {head.stdout.strip()} with changes"


def test_the_processor_has_its_memory():
    assert processor().endswith(" GiB")
