"""What a start leaves behind if it fails, is ended, or finds another run."""

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.errors import DiskFull, UserError
from benchmark.storage.rundir import RunDirectory
from benchmark.storage.start import started
from benchmark.study.config import Study

ROOT = Path(__file__).resolve().parents[3]
STUDY = Study(
    name="x", cohort={"synthetic": {}}, backbones=["openclip-tiny"], strategies=["classifier_only"]
).dump()  # fmt: skip
WORKING = """
import json, sys, time
from pathlib import Path
from benchmark.storage.rundir import RunDirectory
from benchmark.storage.start import end_in_order, started
directory, STUDY = RunDirectory(Path(sys.argv[1])), json.loads(sys.argv[2])
try:
    with started(directory, STUDY, resume=False):
        if "claim" in sys.argv:
            directory.claim(STUDY, resume=False)
        end_in_order()
        try:
            print("works", flush=True)
            sys.stdin.read()
        finally:
            print("tidies up", flush=True)
            time.sleep(0.5)  # a second signal arrives meanwhile
except KeyboardInterrupt as ended:
    print("ended by", *ended.args, flush=True)
"""


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "x")


def fails(directory: RunDirectory, error: BaseException, claim: bool, log: str = "") -> BaseException:
    """The error that a start raises if its block raises this error."""
    with pytest.raises(type(error)) as caught, started(directory, STUDY, resume=False):
        with directory.log.open("a") as file:
            file.write(log)
        if claim:
            directory.claim(STUDY, resume=False)
        raise error
    assert not directory.lock.exists()
    return caught.value


def test_a_start_that_fails_leaves_nothing(directory, tmp_path):
    for _ in range(2):  # the second time it is not refused for what the first one left
        error = fails(directory, UserError("no Ray cluster"), claim=False)
        assert not hasattr(error, "__notes__"), "an empty log is of no use"
        assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_start_that_failed_is_kept_elsewhere(directory, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    error = fails(directory, UserError("Ray does not start"), claim=False, log="what Ray said\n")
    (note,) = error.__notes__
    assert note.startswith(f"log: {tmp_path}/temporary/retina-benchmark-")
    assert Path(note.removeprefix("log: ")).read_text() == "what Ray said\n"
    assert not directory.path.parent.exists()


def test_what_was_in_the_folder_before_stays(directory):
    (directory.path / "logs").mkdir(parents=True)
    (directory.path / "notes.txt").write_text("mine")
    directory.log.write_text("before\n")
    fails(directory, UserError("no Ray cluster"), claim=False, log="now\n")
    assert sorted(path.name for path in directory.path.iterdir()) == ["logs", "notes.txt"]
    assert directory.log.read_text() == "before\nnow\n"


def test_a_fault_of_the_program_leaves_its_traceback_in_the_log(directory):
    error = fails(directory, ValueError("a slip"), claim=True)
    assert error.__notes__ == [f"log: {directory.log}"]
    assert "in fails\n" in directory.log.read_text()
    assert directory.log.read_text().endswith("ValueError: a slip\n")
    again = RunDirectory(directory.path.with_name("y"))
    assert not hasattr(fails(again, UserError("a fault of the input"), claim=True), "__notes__")
    assert again.log.read_text() == "", "one line is enough"


def test_a_run_in_use_is_refused_and_left_alone(directory):
    with started(directory, STUDY, resume=False):
        directory.claim(STUDY, resume=False)
        before = sorted(directory.path.rglob("*"))
        for resume in (False, True):
            with pytest.raises(UserError, match="has been in use by process"), started(directory, STUDY, resume=resume):
                pass
        assert sorted(directory.path.rglob("*")) == before
    with pytest.raises(UserError, match="already holds a run"), started(directory, STUDY, resume=False):
        pass
    with started(directory, STUDY, resume=True):
        pass


def test_the_log_of_a_run_that_starts_is_left_alone(directory):
    """Before it has claimed the folder; the log may not exist yet when the second one looks."""
    with started(directory, STUDY, resume=False):
        for made in (False, True):
            if made:
                directory.log.write_text("of the first\n")
            with pytest.raises(UserError, match="in use") as caught, started(directory, STUDY, resume=False):
                pass
            assert not hasattr(caught.value, "__notes__")
        assert directory.log.read_text() == "of the first\n"
        directory.claim(STUDY, resume=False)


def test_a_full_disk_that_ray_met_names_the_folder(directory):
    """Ray Tune writes its files there, and its error names no file."""
    message = rf"^{directory.path}: No space left on device; make space and add --resume"
    with pytest.raises(DiskFull, match=message), started(directory, STUDY, resume=False):
        directory.claim(STUDY, resume=False)
        raise OSError(errno.ENOSPC, "No space left on device")


def test_nothing_to_resume_makes_no_folder(directory, tmp_path):
    with pytest.raises(UserError, match="no run to resume"), started(directory, STUDY, resume=True):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/x", "loop", "loop/x", 300 * "n"])
def test_what_cannot_be_a_folder_is_one_line(tmp_path, out):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    run = started(RunDirectory(tmp_path / out), STUDY, resume=False)
    with (
        pytest.raises(UserError, match=r"cannot be used as a run directory \(.+\); choose another --out") as caught,
        run,
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture(params=["SIGTERM", "SIGHUP"])
def name(request) -> Iterator[str]:
    """The name of a signal that ends a new process, even if the tests themselves run under nohup."""
    number = getattr(signal, request.param)
    before = signal.signal(number, signal.SIG_DFL)
    yield request.param
    signal.signal(number, before)


@pytest.mark.parametrize("claim", [True, False])
def test_signals_end_a_run_in_order_also_when_they_come_twice(directory, name, claim):
    """`timeout` signals its child, then the whole group."""
    command = [sys.executable, "-c", WORKING, str(directory.path), json.dumps(STUDY), *["claim"] * claim]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "works\n"
    process.send_signal(getattr(signal, name))
    assert process.stdout.readline() == "tidies up\n"
    process.send_signal(getattr(signal, name))
    said, _ = process.communicate()
    assert said == f"ended by {name}\n"
    assert process.returncode == 0
    assert not directory.lock.exists()
    assert directory.path.exists() == claim


def test_signals_are_given_back(directory):
    before = signal.getsignal(signal.SIGTERM)
    with started(directory, STUDY, resume=False):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_is_named_although_a_library_replaces_the_exception(directory, name):
    """Ray's waits in compiled code end with a KeyboardInterrupt of their own."""
    with pytest.raises(KeyboardInterrupt) as caught, started(directory, STUDY, resume=False):
        try:
            signal.raise_signal(getattr(signal, name))
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
    assert caught.value.args == (name,)
    with pytest.raises(KeyboardInterrupt) as caught, started(directory, STUDY, resume=False):
        raise KeyboardInterrupt  # Ctrl-C in a later run
    assert caught.value.args == ()
