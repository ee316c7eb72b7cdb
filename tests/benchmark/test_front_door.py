"""What `import benchmark` gives; its example runs in tests/test_wheel.py."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import benchmark
from benchmark.report.results import Results
from tests.benchmark.lab_results import results_of

ROOT = Path(benchmark.__file__).resolve().parents[1]


def test_importing_it_is_light():
    script = "import sys, benchmark; assert not {'torch', 'ray', 'polars', 'pydantic', 'click'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_it_offers_three_functions():
    for name in benchmark.__all__:
        assert callable(getattr(benchmark, name))
        assert name in dir(benchmark)
    with pytest.raises(AttributeError, match="no attribute 'load_studies'"):
        benchmark.load_studies  # noqa: B018


def test_results_are_read(tmp_path):
    written = results_of(big__lora=0.8, big__full=0.7)
    (tmp_path / "results.json").write_text(written.model_dump_json(), encoding="utf-8")
    read = benchmark.read_results(tmp_path)
    assert isinstance(read, Results)
    assert read == written


def test_every_package_is_typed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["packages"]
    assert all((ROOT / package / "py.typed").is_file() for package in packages)
