"""Where the project's files are; tests/test_wheel.py asks the same of an installation."""

import pytest

from benchmark import shipped


def test_a_checkout_has_them_next_to_the_packages():
    assert shipped.DEMO == shipped.ROOT / "configs" / "demo.yaml"
    assert shipped.DEMO.is_file()
    assert shipped.shipped("requirements.lock").is_file()
    assert shipped.COMMAND == "python run_benchmark.py"


@pytest.fixture
def installation(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "ROOT", tmp_path)
    monkeypatch.setattr(shipped, "_HERE", tmp_path / "benchmark")
    return tmp_path


def test_the_files_of_the_wheel_come_before_another_projects(installation):
    ours = installation / "benchmark" / "data" / "configs" / "demo.yaml"
    others = installation / "configs" / "demo.yaml"
    for path in (ours, others):
        path.parent.mkdir(parents=True)
        path.touch()
    assert shipped.shipped("configs/demo.yaml") == ours


def test_a_copy_without_the_file_names_where_it_should_be(installation):
    assert shipped.shipped("pyproject.toml") == installation / "pyproject.toml"
