"""Output to the screen and to the log, in separate processes, because file descriptors are redirected."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.report.progress import Reporter

ROOT = Path(__file__).resolve().parents[3]
STUDY = """
import os, sys
from pathlib import Path
from benchmark.report.progress import Reporter, screen_apart_from

def study(fail):
    with screen_apart_from(Path(sys.argv[1])) as console:
        reporter = Reporter(console, ["prepare", "train"])
        with reporter.stage("prepare", 2, "images") as stage:
            print("noise of Python")
            print("noise on the error stream", file=sys.stderr)
            os.write(1, b"noise of a library\\n")
            os.system("echo noise of a child; echo noise of its error stream >&2")
            stage.say("eye.jpg")
            stage.advance(2)
            if fail:
                raise ValueError("broken")

try:
    study(fail="fail" in sys.argv)
except ValueError as error:
    print("caught", error, flush=True)
print("after", flush=True)  # before what the child writes, however Python buffers
os.system("echo child after")
os.write(2, b"errors after\\n")
"""
NOISE = [
    "noise of Python",
    "noise on the error stream",
    "noise of a library",
    "noise of a child",
    "noise of its error stream",
]


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "logs" / "run.log"


def piped(log: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STUDY, str(log), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


def test_everything_but_the_console_goes_into_the_log(log):
    result = piped(log)
    first, *others = result.stdout.splitlines()
    assert first.startswith("✓ 1/2 prepare")
    assert "2 images in" in first
    assert others == ["after", "child after"]
    assert result.stderr == "errors after\n"
    assert sorted(log.read_text(encoding="utf-8").splitlines()) == sorted(NOISE)


def test_the_screen_is_back_after_an_exception(log):
    result = piped(log, "fail")
    assert result.stdout.splitlines() == ["caught broken", "after", "child after"]
    assert result.stderr == "errors after\n"
    assert sorted(log.read_text(encoding="utf-8").splitlines()) == sorted(NOISE)


def test_a_log_is_continued(log):
    piped(log)
    piped(log)
    assert sorted(log.read_text(encoding="utf-8").splitlines()) == sorted(2 * NOISE)


def test_on_a_terminal_too(log):
    """On a terminal, the progress is drawn live."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", STUDY, str(log)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    screen = b""
    try:
        while part := os.read(ours, 4096):
            screen += part
    except OSError:  # Linux reports in this way that the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    shown = screen.decode()
    assert "eye.jpg" in shown
    assert "0/2 images" in shown
    assert "noise" not in shown
    assert sorted(log.read_text(encoding="utf-8").splitlines()) == sorted(NOISE)


def test_one_line_per_stage_without_a_terminal():
    console = Console(file=io.StringIO(), width=80)
    reporter = Reporter(console, ["prepare", "train"])
    with reporter.stage("draw", 3, "images"):
        pass
    reporter.skip("prepare", "complete")
    with reporter.stage("train", 4, "epochs") as stage:
        stage.say("a cell")
        stage.note("waiting: memory is short; most is held by [others]")
        stage.advance(4)
    reporter.finish()
    *lines, last = console.file.getvalue().splitlines()
    assert last.startswith("✓ all stages in 0.")
    assert [line.split()[:3] for line in lines] == [
        ["✓", "draw", "3"],
        ["✓", "1/2", "prepare"],
        ["waiting:", "memory", "is"],
        ["✓", "2/2", "train"],
    ]
    assert lines[1].endswith("complete")
    assert lines[2].endswith("by [others]")
    assert lines[3].endswith("s")
    assert reporter.seconds.keys() == {"draw", "train"}


def test_the_log_may_lie_on_a_full_disk(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "log").symlink_to("/dev/full")
    script = f"""
from pathlib import Path
from benchmark.report.progress import screen_apart_from
from benchmark.report.screen import take_screen
take_screen()
with screen_apart_from(Path({str(tmp_path / "log")!r})) as console:
    print("for the log")
    console.print("for the screen")
print("after")
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "for the screen\nafter\n"), result.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_without_utf8_shows_stages(log, encoding):
    """Textualize/rich#212."""
    command = [sys.executable, "-c", STUDY, str(log)]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, check=True)
    assert result.stdout.decode(encoding).startswith("+ 1/2 prepare")
