"""Runs of the command line that are killed, moved, started twice, or have a small disk end as other runs do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from benchmark import synthetic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ROOT = Path(__file__).resolve().parents[3]
SECONDS = 1200
CAN_MOUNT = os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
mounting = pytest.mark.skipif(not CAN_MOUNT, reason="needs to mount a small file system")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small cohort and its configuration."""
    folder = tmp_path_factory.mktemp("lab")
    manifest = synthetic.write_cohort(synthetic.SyntheticCohort(patients=8, image_size=96, seed=3), folder / "cohort")
    study = {
        "name": "small",
        "cohort": {"manifest": str(manifest), "shares": {"train": 0.4, "val": 0.3, "test": 0.3}},
        "backbones": ["retfound-tiny"],
        "strategies": ["classifier_only", {"name": "lora", "rank": 2}],
        "training": {"epochs": 2, "batch_size": 8, "views": 1},
        "explain": {"examples": 1},
        "controls": {"draws": 50, "seeds": 1, "images": 4},
        "statistics": {"resamples": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    drawn = {"synthetic": {"patients": 8, "image_size": 96, "seed": 3}, "shares": study["cohort"]["shares"]}
    (folder / "drawn.yaml").write_text(yaml.safe_dump(study | {"cohort": drawn}), encoding="utf-8")
    return folder


def command(config: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "run_benchmark.py"), "--config", str(config), "--out", str(out), *options]


def ended(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "errors": "replace", "timeout": SECONDS, "check": False}
    return subprocess.run([*map(str, arguments)], cwd=ROOT, env=os.environ | environment, **options)


def until(state: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for a state of the run directory."""
    deadline = time.monotonic() + SECONDS
    while not state():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def begun(*arguments: str | Path) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, arguments)], cwd=ROOT, **pipes)


def numbers(run: Path) -> pl.DataFrame:
    return pl.read_csv((run / "leaderboard.csv").read_bytes())


@pytest.fixture(scope="module")
def whole(folder) -> Path:
    """An uninterrupted run on an odd terminal, in a folder with an odd name, next to one that a pattern matches."""
    (folder / "my run x #1 100%").mkdir()
    out = folder / "my run [x] #1 100%"
    result = ended(*command(folder / "drawn.yaml", out), PYTHONIOENCODING="latin-1", COLUMNS="40")
    assert result.returncode == 0, result.stderr
    assert f"Page: {out}/leaderboard.html" in result.stdout
    assert "+ 8/8 report" in result.stdout
    assert not any((folder / "my run x #1 100%").iterdir())
    assert not (out / ".lock").exists()
    return out


def test_every_command_reads_a_run_with_an_odd_name(whole, folder):
    """pola-rs/polars#19801: a folder with brackets in its name."""
    again = folder / "r[1]"
    shutil.copytree(whole, again)
    (folder / "r1").mkdir()
    for name, out, *runs in (
        ("compare", folder / "c [x].csv", whole, again),
        ("leaderboard", folder / "o [x]", again / "results.json"),
    ):
        arguments = (sys.executable, "run_benchmark.py", name, *runs, "--out", out)
        result = ended(*arguments, PYTHONIOENCODING="ascii", COLUMNS="40")
        assert result.returncode == 0, result.stderr
        assert str(out) in result.stdout
        assert out.exists()
    assert not any((folder / "r1").iterdir())


def test_a_run_that_is_killed_in_every_stage_and_moved_ends_as_others_do(whole, folder):
    run = folder / "killed-0"
    stages: list[tuple[str, Callable[[Path], object]]] = [
        ("draw", lambda run: any(run.glob("synthetic/images/*.jpg"))),
        ("prepare", lambda run: (run / "images.npy").is_file()),
        ("segment", lambda run: (run / "vessels" / "regions.npy").is_file()),
        ("embed", lambda run: any(run.glob("embeddings/*/*.npy"))),
        ("train", lambda run: any(run.glob("trials/*/history.csv"))),
        ("explain", lambda run: any(run.glob("trials/*/cam.npy"))),
        ("control", lambda run: (run / "vessels" / "erased.npy").is_file()),
        ("report", lambda run: (run / "leaderboard.csv").is_file()),
    ]
    for number, (stage, state) in enumerate(stages):
        if number:  # moved after each kill, so that earlier paths are invalid
            moved = folder / f"killed-{number}"
            run.rename(moved)
            run = moved
        process = begun(*command(folder / "drawn.yaml", run, *(["--resume"] if number else [])))
        until(lambda: state(run), process)  # noqa: B023 - waited for here
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (run / ".lock").is_file(), stage
    result = ended(*command(folder / "drawn.yaml", run, "--resume"))
    assert result.returncode == 0, result.stderr
    assert numbers(run).equals(numbers(whole))
    vessels = pl.read_parquet((run / "vessels" / "vessels.parquet").read_bytes())
    assert vessels["error"].null_count() == len(vessels), "images were found after the move"
    assert not [*run.rglob("*.part"), *run.rglob("*.part.npy"), *run.glob(".lock*")]


def test_a_second_start_is_one_line_and_the_first_ends_in_order(folder):
    """ray-project/ray#35006, #48726: the job submitted twice."""
    out = folder / "twice"
    first = begun(*command(folder / "study.yaml", out))
    until(lambda: (out / "study.yaml").is_file(), first)
    for options in ([], ["--resume"]):
        second = ended(*command(folder / "study.yaml", out, *options))
        assert second.returncode == 1
        (line,) = second.stderr.splitlines()
        assert line.startswith(f"error: {out} has been in use by process {first.pid} on ")
    until(lambda: any(out.glob("embeddings/*/*.npy")), first)
    for _ in range(2):  # as `timeout` does: to its child, and to the group
        first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=SECONDS)
    assert first.returncode == 130
    assert said == f"error: interrupted by SIGTERM; the same command with --out {out} --resume continues\n"
    assert not (out / ".lock").exists()
    assert json.loads((out / ".prepare.json").read_text())["images"] == 16


def in_small_places(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell with separate mounts, which end with it; `$RUN` is the command line."""
    run = f'"{sys.executable}" "{ROOT}/run_benchmark.py" --config "{folder}/study.yaml"'
    return ended("unshare", "-m", "bash", "-c", script.replace("$RUN", run), DISK=str(folder / "disk"), **environment)


@mounting
@pytest.mark.parametrize(("size", "file"), [("2m", "/images.npy:"), ("3000k", "/vessels/regions.npy:"), ("3500k", "")])
def test_a_full_disk_is_one_line_and_resumes_after_space_was_made(folder, whole, size, file):
    """numpy/numpy#21964, bloomberg/memray#116: this was a bus error."""
    (folder / "disk").mkdir(exist_ok=True)
    script = f"""
mount -t tmpfs -o size={size} tmpfs "$DISK" || exit 99
$RUN --out "$DISK/run" >/dev/null; echo "first: $?"
mount -o remount,size=100m "$DISK"
$RUN --out "$DISK/run" --resume >/dev/null; echo "then: $?"
find "$DISK" -name '*.part*' -o -name .lock
cat "$DISK/run/leaderboard.csv" > "$DISK.csv"
"""
    result = in_small_places(script, folder)
    assert result.stdout == "first: 1\nthen: 0\n", result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {folder}/disk/run{file}"), line
    assert ": No space left on device" in line
    assert line.endswith("; make space and add --resume, or choose another --out")
    assert pl.read_csv((folder / "disk.csv").read_bytes()).equals(numbers(whole))


@mounting
def test_the_shared_memory_of_a_container_is_enough(folder, whole):
    """Docker's default is 64 MiB."""
    out = folder / "container"
    script = f'mount -t tmpfs -o size=64m tmpfs /dev/shm && $RUN --out "{out}"'
    result = in_small_places(script, folder)
    assert result.returncode == 0, result.stderr
    assert numbers(out).equals(numbers(whole))


def test_a_reader_that_goes_does_not_end_a_run(folder, whole):
    out = folder / "unread"
    result = ended("bash", "-c", '"$@" | head -n 1; exit ${PIPESTATUS[0]}', "-", *command(folder / "study.yaml", out))
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 1), result.stderr
    assert numbers(out).equals(numbers(whole))
