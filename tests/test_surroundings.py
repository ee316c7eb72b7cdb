"""The command in users' environments: a folder with spaces, another language, a second study, a narrow screen."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
import yaml

from benchmark import synthetic
from benchmark.storage.rundir import RunDirectory

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ("backbones", "benchmark", "finetune", "stats", "xai", "configs", "run_benchmark.py", "pyproject.toml")
STUDY = {
    "name": "tiny",
    "cohort": {"synthetic": {"patients": 10}},  # replaced by --data
    "backbones": ["dinov2-tiny"],
    "strategies": ["classifier_only", {"name": "lora", "rank": 2}],
    "training": {"epochs": 1, "batch_size": 8, "views": 1},
    "explain": {"examples": 1},
    "controls": {"draws": 20, "seeds": 1, "images": 4},
    "statistics": {"resamples": 100},
}
ODD = {
    "CI": "true",
    "COLUMNS": "20",
    "LC_ALL": "tr_TR.UTF-8",  # where I is the capital of ı, and a comma is the decimal point
    "NO_COLOR": "1",
    "PYTHONHASHSEED": "4242",
    "TERM": "dumb",
    "TZ": "Pacific/Chatham",  # 12 hours and 45 minutes ahead
}
PLAIN = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC", "COLUMNS": "80"}
# Files that contain times, or paths of the run directory itself.
OF_THE_RUN = {
    "results.json",
    "run.json",
    "trial.json",
    "history.csv",
    "leaderboard.html",
    "README.md",
    "study_card.html",
    "study_card.md",
}


class Ended(NamedTuple):
    """Two simultaneous runs of one study: their output, their folder, and the clone's files before and after."""

    odd: subprocess.CompletedProcess[str]
    plain: subprocess.CompletedProcess[str]
    folder: Path
    before: dict[str, int]
    after: dict[str, int]


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("School Stuff")
    clone, work = folder / "retina benchmark", folder / "my work"
    clone.mkdir()
    for name in PROGRAM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, clone)
    one_eye_of_twelve_patients(work / "my data")
    (work / "my study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    before = written(clone)
    for path in (*clone.rglob("*"), clone):  # only the administrator can write here
        path.chmod(path.stat().st_mode & ~0o222)

    def run(python: list[str], study: Path, data: Path, out: Path, cwd: Path, umask: int, variables: dict[str, str]):
        # Python itself would keep its bytecode next to the code.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | variables
        command = [*python, clone / "run_benchmark.py", "--config", study, "--data", data, "--out", out]
        return subprocess.run(command, cwd=cwd, env=environment, umask=umask, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as both:
        here = [Path(path) for path in ("my study.yaml", "my data/cohort.csv", "my runs/odd")]
        odd = both.submit(run, [sys.executable, "-O"], *here, work, 0o077, ODD)
        there = [work / "my study.yaml", work / "my data" / "cohort.csv", work / "my runs" / "plain"]
        plain = both.submit(run, [sys.executable], *there, folder, 0o022, PLAIN)
    yield Ended(odd.result(), plain.result(), work / "my runs", before, written(clone))
    for path in (clone, *clone.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def one_eye_of_twelve_patients(folder: Path) -> None:
    manifest = synthetic.write_cohort(synthetic.SyntheticCohort(patients=12, image_size=128, seed=1), folder)
    table = pl.read_csv(manifest, glob=False)
    table.filter(pl.col("eye") == "left").write_csv(manifest)


def written(folder: Path) -> dict[str, int]:
    """The time at which each file below the folder was last written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_both_runs_finish(ended):
    for run in (ended.odd, ended.plain):
        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stderr == ""
        assert "\x1b" not in run.stdout


def test_every_number_is_the_same_in_both(ended):
    """Numbers do not depend on language, time zone, the order of sets, asserts, the folder or the other run."""
    odd, plain = (results(ended.folder / name) for name in ("odd", "plain"))
    assert {"leaderboard.csv", "predictions.parquet", "saliency.parquet", "cohort.parquet"} <= {p.name for p in plain}
    assert odd.keys() == plain.keys()
    assert [path for path in plain if odd[path] != plain[path]] == []
    board = pl.read_csv(RunDirectory(ended.folder / "odd").leaderboard("csv"), glob=False)
    assert board["status"].to_list() == ["ok"] * 2
    assert board["n_patients"].to_list() == board["n_images"].to_list(), "one eye of each"


def results(run: Path) -> dict[Path, bytes]:
    """The content of the files in a run directory that do not describe the run itself."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name not in OF_THE_RUN]
    files = [path for path in files if ".tfevents." not in path.name]  # their names have the time and the machine
    return {path.relative_to(run): path.read_bytes() for path in files if path.relative_to(run).parts[0] != "logs"}


def test_a_screen_of_20_columns_has_every_number(ended):
    narrow, wide = ([line.split() for line in run.stdout.splitlines()] for run in (ended.odd, ended.plain))
    numbers = [words for words in wide if "–" in "".join(words[1:])]  # intervals, and not what follows a dash
    assert len(numbers) == 2
    assert all(words in narrow for words in numbers)


def test_nothing_is_written_into_the_clone(ended):
    assert ended.after == ended.before


def test_a_private_umask_keeps_the_run_private(ended):
    modes = {path: path.stat().st_mode & 0o077 for path in (ended.folder / "odd").rglob("*")}
    assert [path for path, others in modes.items() if others] == []
