"""Output to the screen and to the log, in separate processes, because file descriptors are redirected."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.report.progress import Reporter, Stage

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


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


def drawn(console: Console, stage: Stage) -> list[str]:
    """The lines of the live display."""
    console.print(stage)
    lines = console.file.getvalue().splitlines()
    console.file.truncate(0)
    console.file.seek(0)
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("width", [80, 120])
def test_run_stage_and_trials_have_lines_of_their_own(clock, width):
    """On 80 columns, neither bar nor times are squeezed, however long the names are."""
    console = Console(file=io.StringIO(), width=width, height=24)
    reporter = Reporter(console, ["embed", "train"], {"embed": 100, "train": 300}, lambda: clock[0])
    with reporter.stage("embed", 1, "views") as stage:
        clock[0] = 200
        stage.advance()
    with reporter.stage("train", 10, "epochs") as stage:
        stage.say(f"what is [being] done {'at length ' * 20}")
        stage.show("retfound-dinov2-meh-with_a_very_long_name_of_its_own-classifier_only-s10", "starts")
        stage.show("dinov2-lora-s0", "epoch 3/8", "AUC 0.871", "1,412 images/s")
        clock[0] = 260
        console.file.truncate(0)
        console.file.seek(0)
        run, now, first, second = drawn(console, stage)
        assert max(map(len, (run, now, first, second))) <= width
        assert run.endswith("% 4:20, about 8:16 left")
        assert run.index("34%") >= 50
        assert now[2:].startswith("2/2 train   0/10 epochs what is [being] done at length")
        assert first.startswith("    retfound-dinov2-meh")
        assert first.endswith("starts")
        assert second.split() == ["dinov2-lora-s0", "epoch", "3/8", "AUC", "0.871", "1,412", "images/s"]
        stage.drop("dinov2-lora-s0")
        assert len(drawn(console, stage)) == 3
        for number in range(40):
            stage.show(f"trial {number}", "starts")
        *lines, last = drawn(console, stage)
        assert len(lines) < 24
        assert last == "    and 21 more"


def test_without_a_terminal_a_long_stage_has_a_line_every_few_minutes(clock):
    console = Console(file=io.StringIO(), width=40)
    reporter = Reporter(console, ["train", "report"], {"train": 4500, "report": 60}, lambda: clock[0])
    with reporter.stage("train", 90, "epochs") as stage:
        stage.show("a cell", "epoch 1/90")
        for _ in range(90):
            clock[0] += 50
            stage.advance()
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4500 // 300 + 1
    assert lines[0] == "  1/2 train   6/90 epochs; 5:00, about 1 h 11 min left"
    assert lines[-1].endswith("in 1:15:00")


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
