"""A folder for the temporary files of checks and measurements."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import UserError


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder, which is deleted after the block.

    Raises:
        UserError: there is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory()
    except OSError as error:
        raise UserError(
            f"no folder for temporary files ({error.strerror}): set TMPDIR to a folder that can be written"
        ) from error
    with folder as path:
        yield Path(path)
