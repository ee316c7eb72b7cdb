"""Disks that are full or not writable. The limits are real: the file size limit of a process and, for root, a small
tmpfs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from benchmark.errors import DiskFull, WriteError
from benchmark.storage import disk
from benchmark.storage.disk import ArrayFile, reserve, writing
from benchmark.storage.rundir import open_array

ROOT = Path(__file__).resolve().parents[3]
WRITERS = """
import json, sys
from pathlib import Path
import numpy as np, polars as pl
from benchmark.storage import rundir
from benchmark.errors import DiskFull
folder = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
writers = {
    "create_array": lambda path: rundir.create_array(path, noise.shape, np.uint8),
    "write_array": lambda path: rundir.write_array(path, noise),
    "write_parquet": lambda path: rundir.write_parquet(path, pl.DataFrame({"a": noise.ravel()})),
    "write_csv": lambda path: rundir.write_csv(path, pl.DataFrame({"a": noise.ravel()})),
    "write_json": lambda path: rundir.write_json(path, noise.ravel().tolist()),
    "write_text": lambda path: rundir.write_text(path, "x" * noise.size),
    "write_image": lambda path: rundir.write_image(path, noise),
}
said = {}
for name, write in writers.items():
    try:
        write(folder / name)
        said[name] = "written"
    except DiskFull as error:
        said[name] = str(error)
print(json.dumps([said, sorted(path.name for path in folder.iterdir())]))
"""
CAN_MOUNT = os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def written_under(limit: str, folder: Path) -> tuple[dict[str, str], list[str]]:
    """What every writer reports under a limit that a shell has set, and what it leaves in the folder."""
    command = f'{limit} && exec "$0" -c "$1" "$2"'
    if limit.startswith("mount"):
        command = f'exec unshare -m bash -c \'{command}\' "$0" "$1" "$2"'
    arguments = ["bash", "-c", command, sys.executable, WRITERS, str(folder)]
    environment = os.environ | {"FOLDER": str(folder)}
    result = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, (result.returncode, result.stderr)  # a bus error is -7
    return tuple(json.loads(result.stdout))


@pytest.mark.skipif(not CAN_MOUNT, reason="needs to mount a small file system")
def test_a_full_disk_is_one_line_for_every_writer_and_leaves_no_half_file(tmp_path):
    """numpy/numpy#21964, bloomberg/memray#116: a write through a memory map to a full disk is a bus error."""
    said, left = written_under('mount -t tmpfs -o size=3m tmpfs "$FOLDER"', tmp_path)
    for name, line in said.items():
        assert line.startswith(f"{tmp_path / name}: No space left on device: "), name
        assert line.endswith("3.0 MiB are free; make space and add --resume, or choose another --out"), name
    assert "6.4 MiB are needed, 3.0 MiB are free" in said["create_array"]
    assert left == []


def test_a_file_that_may_not_be_so_large_is_one_line_for_every_writer(tmp_path):
    """As with a quota or the limit of a batch system."""
    said, left = written_under("ulimit -f 3000", tmp_path)
    for name, line in said.items():
        assert line.startswith(f"{tmp_path / name}: File too large: "), name
        assert "raise the file size limit (`ulimit -f`" in line
    assert left == []


def test_what_another_library_says_of_a_full_disk_is_understood(tmp_path):
    text = "Error while serializing: I/O error: No space left on device (os error 28)"
    with (
        pytest.raises(DiskFull, match=r"x: No space left on device: [\d,.]+ MiB are free; make space"),
        writing(tmp_path / "x"),
    ):
        raise SafetensorError(text)


def test_another_refusal_names_the_reason(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x"
    message = r"file/x: cannot be written \(Not a directory\); make it writable"
    with pytest.raises(WriteError, match=message) as caught, writing(path):
        path.write_text("")
    assert not isinstance(caught.value, DiskFull)


def test_an_error_of_the_program_itself_is_left_alone(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "x"):
        1 / 0  # noqa: B018


def test_space_is_taken_when_an_array_is_made(tmp_path):
    path = tmp_path / "a.npy"
    ArrayFile(path, (3, 500_000), np.uint8)
    stat = path.stat()
    assert stat.st_blocks * 512 >= stat.st_size >= 1_500_000
    np.testing.assert_array_equal(open_array(path), np.zeros((3, 500_000), np.uint8))


@pytest.mark.parametrize("way", ["no such call", "not supported"])
def test_without_the_call_that_reserves_zeros_are_written(tmp_path, monkeypatch, way):
    """macOS has no such call; NFS and others refuse it."""
    if way == "no such call":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:

        def refused(*arguments: int) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    path = tmp_path / "a.npy"
    file = ArrayFile(path, (2, 1_500_000), np.uint8)
    assert path.stat().st_blocks * 512 >= 3_000_000
    file[1] = 7
    assert open_array(path)[:, -1].tolist() == [0, 7]


def test_reserving_keeps_what_is_there(tmp_path):
    with (tmp_path / "x").open("w+b") as file:
        file.write(b"head")
        file.flush()
        reserve(file.fileno(), 10)
        assert (tmp_path / "x").read_bytes() == b"head" + bytes(6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_come_back_as_from_an_array_in_memory(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    dtype = np.dtype(data.draw(st.sampled_from(["uint8", "float16", "int16", "float64"])))
    path = tmp_path_factory.mktemp("array") / "a.npy"
    expected, file = np.zeros(shape, dtype), ArrayFile(path, shape, dtype)
    for value in range(1, data.draw(st.integers(1, 4)) + 1):
        rows = data.draw(
            st.one_of(
                st.integers(0, shape[0] - 1),
                st.lists(st.integers(0, shape[0] - 1), max_size=6, unique=True).map(lambda rows: np.array(rows, int)),
                st.just(slice(None)),
            )
        )
        values = (np.arange(expected[rows].size) % 7 + 10 * value).reshape(expected[rows].shape).astype(dtype)
        expected[rows] = file[rows] = values
    file.flush()
    again = open_array(path)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, expected)


def test_an_array_of_no_rows_can_be_opened(tmp_path):
    ArrayFile(tmp_path / "a.npy", (0, 4), np.float32)
    assert np.load(tmp_path / "a.npy").shape == (0, 4)


def test_rows_that_are_not_there_are_refused(tmp_path):
    file = ArrayFile(tmp_path / "a.npy", (2, 2), np.uint8)
    for row in (2, -1):
        with pytest.raises(IndexError, match=f"rows {row} to {row} of 2"):
            file[row] = 0
    assert disk.DRAFT not in str(list(tmp_path.iterdir()))
