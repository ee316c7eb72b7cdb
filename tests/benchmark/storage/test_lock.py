"""One run at a time in a folder, however the previous run ended."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.storage import lock
from benchmark.storage.lock import Holder, hold, process_start

ROOT = Path(__file__).resolve().parents[3]
HOLDING = """
import sys, time
from pathlib import Path
from benchmark.storage.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
RACING = """
import sys
from pathlib import Path
from benchmark.errors import UserError
from benchmark.storage.lock import hold
print("ready", flush=True)
sys.stdin.readline()
try:
    with hold(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except UserError:
    print("refused", flush=True)
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / ".lock"


def started(script: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def other(path):
    """A process that holds the lock."""
    process = started(HOLDING, path)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def left_behind(path: Path, age: float = 0, **changes) -> None:
    path.write_text(json.dumps(asdict(replace(Holder.this(), **changes))), encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)


def test_a_second_run_is_refused_with_the_first_ones_process(path, other):
    """ray-project/ray#35006, #48726: the job submitted twice."""
    began = json.loads(path.read_text())["since"]
    with pytest.raises(UserError) as caught, hold(path):
        pass
    message, host = str(caught.value), os.uname().nodename
    assert message.startswith(f"{path.parent} has been in use by process {other.pid} on {host} since {began}: ")
    assert f"`kill {other.pid}`" in message
    assert "choose another --out" in message
    assert len(message.splitlines()) == 1
    other.communicate()
    assert other.returncode == 0, "the first one continues and ends"


def test_the_lock_is_gone_with_its_block(path):
    with hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    with pytest.raises(ZeroDivisionError), hold(path):
        1 / 0  # noqa: B018
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_the_lock_of_a_process_that_was_killed_is_taken_over(path, other, reaped):
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
    assert path.is_file()
    with hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_another_process_with_the_same_number_is_not_taken_for_the_holder(path, other):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"began": "1"}), encoding="utf-8")
    with hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("elsewhere", [{"host": "node17"}, {"numbering": "another container"}])
def test_of_another_machine_only_the_age_counts(path, elsewhere):
    left_behind(path, age=60, pid=1, **elsewhere)
    with pytest.raises(UserError) as caught, hold(path):
        pass
    message = str(caught.value)
    assert f"in use by process 1 on {elsewhere.get('host', os.uname().nodename)}" in message
    assert "last sign of life 60 s ago" in message or "last sign of life 61 s ago" in message
    assert f"delete {path} (it is ignored after 10 minutes without a sign of life)" in message
    left_behind(path, age=601, pid=1, **elsewhere)
    with hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_lock_that_says_nothing_counts_for_a_moment(path):
    """Its holder is about to write it, or the disk was full."""
    path.touch()
    with pytest.raises(UserError, match="another run is starting here"), hold(path):
        pass
    os.utime(path, (time.time() - 60,) * 2)
    with hold(path):
        pass
    assert not path.exists()


def test_the_holder_gives_signs_of_life(path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    with hold(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


def test_what_another_run_has_taken_over_is_left_to_it(path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    before = threading.active_count()
    with hold(path):
        left_behind(path, age=500)  # after a pause of this machine
        deadline = time.monotonic() + 30
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime > 400, "no sign of life for another"
    assert path.is_file()


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_starts_at_the_same_moment_one_holds(path, stale):
    if stale:
        left_behind(path, began="1")
    processes = [started(RACING, path) for _ in range(6)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline() for process in processes]
    for process in processes:
        process.communicate("end\n")
    assert sorted(said) == ["held\n", *["refused\n"] * 5]
    assert list(path.parent.iterdir()) == []


def test_a_link_to_nothing_in_its_place_is_one_line(path):
    path.symlink_to("nowhere")
    with pytest.raises(UserError, match="keeps appearing and disappearing; delete it"), hold(path):
        pass


def test_when_a_process_began():
    assert process_start(os.getpid()) == process_start(os.getpid()) != None  # noqa: E711
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_start(child.pid) is not None
    child.communicate()
    assert process_start(child.pid) is None
    assert process_start(2**22 + 1) is None
