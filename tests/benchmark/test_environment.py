"""Variables that a library fails on while it is imported are named in one line, whatever is to be run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.environment import require_readable
from benchmark.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FAULTS = [
    ("HF_HUB_DOWNLOAD_TIMEOUT", "30s", "HF_HUB_DOWNLOAD_TIMEOUT is '30s', not a whole number of seconds: correct it"),
    ("HF_HUB_ETAG_TIMEOUT", "", "HF_HUB_ETAG_TIMEOUT is '', not a whole number of seconds"),
    ("HF_ENDPOINT", "http://[::1", "HF_ENDPOINT is 'http://[::1', not an address such as https://huggingface.co"),
    ("HF_ENDPOINT", "https://hf-mirror.com:abc", "HF_ENDPOINT is 'https://hf-mirror.com:abc', not an address"),
]


@pytest.mark.parametrize(("name", "value", "told"), FAULTS)
def test_a_variable_is_named(name, value, told, monkeypatch):
    for other, *_ in FAULTS:
        monkeypatch.delenv(other, raising=False)
    require_readable()
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        require_readable()
    assert str(error.value).startswith(told)


@pytest.mark.parametrize("command", [["--dry-run"], ["doctor"]])
def test_the_command_ends_in_one_line(command):
    name, value, told = FAULTS[0]
    run = [sys.executable, str(ROOT / "run_benchmark.py"), *command]
    done = subprocess.run(run, env=os.environ | {name: value}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {told}")
