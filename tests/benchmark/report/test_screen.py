"""Screens with any encoding, closed and missing screens; in separate processes, because descriptors are replaced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.report.screen import open_screen, trouble

ROOT = Path(__file__).resolve().parents[3]
PRINTING = """
import os, sys
from benchmark.report.screen import take_screen, trouble
take_screen()
print("0.1–0.2 ✓ σ × … \\udcff \\u280b", flush=True)
print("– σ", file=sys.stderr)
for number in range(20000):
    print(number)
sys.stdout.flush()
os.write(2, f"trouble: {trouble(sys.stdout)}".encode())
"""


def printed(*shell: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = ["bash", "-c", f'"$0" -c "$1" {" ".join(shell)}', sys.executable, PRINTING]
    variables = os.environ | {"PYTHONUTF8": "1"} | environment
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("encoding", "first"),
    [
        ("utf-8", "0.1–0.2 ✓ σ × … \\xff ⠋"),
        ("latin-1", "0.1-0.2 + ? × ... \\xff *"),
        ("ascii", "0.1-0.2 + ? x ... \\xff *"),
        ("cp1252", "0.1–0.2 + ? × … \\xff *"),
    ],
)
def test_what_a_screen_does_not_have_is_replaced(encoding, first):
    """Textualize/rich#212, AnswerDotAI/fastprogress#37: a terminal without UTF-8."""
    result = printed(PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode(encoding).splitlines()[0] == first
    assert "Traceback" not in result.stderr.decode(encoding)


def test_a_reader_that_goes_ends_nothing():
    """`| head`."""
    result = printed("| head -n 1")
    assert result.stdout.decode().startswith("0.1–0.2")
    assert result.stderr.decode().endswith("trouble: None")
    assert "BrokenPipe" not in result.stderr.decode()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_end_nothing(closed):
    assert printed(closed).returncode == 0


def test_a_full_disk_below_the_output_is_noticed():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    assert printed("> /dev/full").stderr.decode().endswith("trouble: [Errno 28] No space left on device")


def test_only_such_a_stream_has_trouble():
    assert trouble(None) is None
    assert trouble(sys.__stdout__) is None


def test_the_descriptor_stays_open(tmp_path):
    descriptor = os.open(tmp_path / "x", os.O_CREAT | os.O_WRONLY)
    with open_screen(descriptor, "utf-8") as stream:
        stream.write("a")
    os.write(descriptor, b"b")
    os.close(descriptor)
    assert (tmp_path / "x").read_text() == "ab"
