"""Failed writes reported in one line, and arrays that can be written without a bus error.

A write through a memory map to a full disk kills the process (SIGBUS). An array's blocks are therefore reserved when it
is created, and its rows are written with ordinary calls, which report failures on any file system.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from polars.exceptions import PolarsError
from safetensors import SafetensorError

from benchmark.errors import MORE_SPACE, DiskFull, WriteError, out_of_space

MIB = 2**20
DRAFT = ".part"
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft that becomes the file if the block succeeds: a reader never sees half a file.

    Raises:
        WriteError: as `writing`.
    """
    draft = path.with_name(path.name + DRAFT)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an error raised while writing `path` into one line.

    Args:
        needed: size of the file in bytes, if known.

    Raises:
        WriteError: the file could not be written; `DiskFull` if space ran out.
    """
    try:
        yield
    except WriteError:
        raise
    except (OSError, PolarsError, SafetensorError) as error:
        raised = getattr(error, "cause", None) or error  # raised in another process, Ray's error wraps it
        raise _refused(path, raised, needed) from error


def _refused(path: Path, error: Exception, needed: int | None) -> WriteError:
    path = path.with_name(path.name.removesuffix(DRAFT))
    number = out_of_space(error)
    if number is None:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        return WriteError(f"{path}: cannot be written ({reason}); make it writable, or choose another --out")
    size = "" if needed is None else f"{needed / MIB:,.1f} MiB are needed, "
    if number == errno.EFBIG:
        limit = "raise the file size limit (`ulimit -f`, or that of the file system) and add --resume"
        return DiskFull(f"{path}: {os.strerror(number)}: {size}{limit}, or choose another --out")
    return DiskFull(f"{path}: {os.strerror(number)}: {size}{_free(path)}; {MORE_SPACE}")


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free / MIB:,.1f} MiB are free"
    except OSError:
        return "free space is unknown"


class ArrayFile:
    """A new `.npy` that is filled part by part: `file[row] = values`, `file[rows] = values`. Rows not written are zero.

    Raises:
        WriteError: the file cannot be created or written; `DiskFull` if its space cannot be reserved.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        size = shape[0] * self._row
        try:
            with writing(path, size):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("wb", buffering=0)
                descr = np.lib.format.dtype_to_descr(self.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(self._file, header)
                self._begin = self._file.tell()
                reserve(self._file.fileno(), self._begin + max(size, 1))  # an empty file cannot be mapped
        except WriteError:
            with suppress(OSError):
                path.unlink()  # part of the space may have been reserved
            raise

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, rows: int | slice | np.ndarray, values: ArrayLike) -> None:
        chosen = np.arange(len(self))[rows] if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise IndexError(f"{self.path}: rows {chosen.min()} to {chosen.max()} of {len(self)}")
        table = np.broadcast_to(np.asarray(values, self.dtype), (chosen.size, *self.shape[1:]))
        for part in np.split(np.arange(chosen.size), np.flatnonzero(np.diff(chosen) != 1) + 1):
            if part.size:  # consecutive rows in one call
                content = np.ascontiguousarray(table[part[0] : part[-1] + 1])
                self._write(content.reshape(-1).view(np.uint8).data, self._begin + int(chosen[part[0]]) * self._row)

    def _write(self, content: memoryview, place: int) -> None:
        with writing(self.path):
            while content:
                written = os.pwrite(self._file.fileno(), content, place)
                content, place = content[written:], place + written

    def flush(self) -> None:
        """Return when everything is on disk; network file systems report a full disk only now."""
        with writing(self.path):
            os.fsync(self._file.fileno())


def reserve(descriptor: int, size: int) -> None:
    """Reserve disk space of `size` bytes, all zero, for a file now: a sparse file would fail later.

    Raises:
        OSError: there is not enough space.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
    zeros, place = bytes(MIB), os.fstat(descriptor).st_size  # the header is kept
    while place < size:
        place += os.pwrite(descriptor, zeros[: size - place], place)
