"""The wheel in an environment of its own, used from an empty folder: nothing of a checkout is left to lean on."""

import os
import re
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from tests.benchmark.lab_results import results_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def call(*command: object, **options) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """The folder of the commands of an environment with the wheel; it has the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    call(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, check=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    call(sys.executable, "-m", "venv", "--without-pip", environment, check=True)
    places = sysconfig.get_paths("venv", vars={"base": str(environment), "platbase": str(environment)})
    lines = [f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()]
    Path(places["purelib"], "dependencies.pth").write_text("".join(lines), encoding="utf-8")
    programs = Path(places["scripts"])
    call(*pip, "--python", programs / "python", "install", "--no-deps", "--no-index", wheel, check=True)
    return programs


@pytest.fixture
def empty(tmp_path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def test_its_help_names_the_command(programs, empty):
    done = call(programs / "retina-benchmark", "--help", cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  retina-benchmark doctor --config" in done.stdout
    assert "run_benchmark.py" not in done.stdout


def test_without_options_it_is_the_demo_of_the_wheel(programs, empty):
    done = call(programs / "retina-benchmark", "--dry-run", cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("openclip-tiny", "dinov2-tiny", "retfound-tiny"):
        assert name in done.stdout
    assert "runs/demo" in done.stdout
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--config", "none.yaml"), r"none\.yaml: cannot be read "),
        (("--set", "training.epohcs=3"), r"--set training\.epohcs: unknown key"),
        (("--out", "file/run"), r".*file/run: cannot be used as a run directory "),
        (("leaderboard", "none.json"), r"none\.json: cannot be read "),
    ],
)
def test_an_error_is_one_line(options, error, programs, empty):
    (empty / "file").touch()
    done = call(programs / "retina-benchmark", *options, cwd=empty)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"error: {error}.*\n", done.stderr), done.stderr


def test_an_unknown_option_is_answered_with_the_usage(programs, empty):
    done = call(programs / "retina-benchmark", "--no-such-option", cwd=empty)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: retina-benchmark [OPTIONS]")
    assert done.stderr.endswith("Error: No such option '--no-such-option'.\n")


def test_templates_tables_and_the_lock_are_in_it(programs, empty):
    results = empty / "results.json"
    results.write_text(results_of(big__lora=0.8, big__full=0.7).model_dump_json(), encoding="utf-8")
    done = call(programs / "retina-benchmark", "leaderboard", results, cwd=empty)
    assert done.returncode == 0, done.stderr
    assert (empty / "overview" / "overview.html").is_file()
    assert "p = 0.914" in call(programs / "retina-benchmark", "reference", cwd=empty).stdout
    script = """
from benchmark.preflight.doctor.software import check_packages
from benchmark.report.provenance import program
from benchmark import __version__
assert program().version == __version__, program()
print(check_packages(None)[0])
"""
    done = call(programs / "python", "-c", script, cwd=empty)
    assert done.returncode == 0, done.stderr
    assert "not checked" not in done.stdout


def test_the_example_of_the_front_door_runs(programs, empty):
    """Its workers must not take a file of the user's for a module of ours."""
    (empty / "stats.py").write_text("raise ImportError('this is the file of the user')", encoding="utf-8")
    script = "import sys; sys.path.remove(''); import benchmark, doctest; print(doctest.testmod(benchmark))"
    done = call(programs / "python", "-c", script, cwd=empty)
    assert done.returncode == 0, done.stderr
    assert re.search(r"TestResults\(failed=0, attempted=[1-9]", done.stdout), done.stdout
    study = yaml.safe_load((empty / "runs" / "small" / "study.yaml").read_text(encoding="utf-8"))
    assert study["name"] == "small"
