"""Output to the screen with any encoding, to a screen that closes early, or without a screen.

Characters that the encoding does not have are replaced. A reader that stops reading (`| head`, a lost connection) does
not end the program, because all results are in files.
"""

import codecs
import errno
import io
import os
import sys
from typing import Any

PLAIN = "plain"  # the name of the error handler below, as `errors=` takes it
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
_WRITTEN_AS = {
    "–": "-", "—": "-", "‑": "-", "−": "-", "×": "x", "…": "...", "→": "->", "✓": "+", "✗": "x", "·": ".", "•": "*",
    "‘": "'", "’": "'", "“": '"', "”": '"', "≥": ">=", "≤": "<=", "±": "+/-",
}  # fmt: skip


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_without, error.object[error.start : error.end])), error.end


def _without(character: str) -> str:
    """An ASCII replacement for a character that the encoding does not have."""
    if "\udc80" <= character <= "\udcff":  # a byte in a file name that is not valid text
        return f"\\x{ord(character) - 0xDC00:02x}"
    if "\u2800" <= character <= "\u28ff":  # Braille: the characters of a spinner
        return "*"
    return _WRITTEN_AS.get(character, "?")


codecs.register_error(PLAIN, _plain)


class _Screen(io.FileIO):
    """A file descriptor that accepts all output, even if nobody reads it any more.

    `trouble` is the first error with another cause, such as a full disk for a redirected output.
    """

    trouble: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in _GONE and self.trouble is None:
                self.trouble = error
            return memoryview(data).nbytes


def open_screen(descriptor: int, encoding: str | None = None) -> io.TextIOWrapper:
    """A text stream on a file descriptor, which stays open; `encoding` defaults to that of the standard output."""
    raw = _Screen(descriptor, "w", closefd=False)
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, PLAIN, line_buffering=True)


def trouble(stream: Any) -> OSError | None:
    """The error by which output to an `open_screen` was lost; None if nothing was lost or nobody reads it."""
    try:
        stream.flush()
        return getattr(stream.buffer.raw, "trouble", None)
    except (AttributeError, OSError, ValueError):
        return None


def take_screen() -> None:
    """Replace the standard output and error of this process by such streams, whether they are open or not."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would get this number, and printed text
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != descriptor:
                os.dup2(nothing, descriptor)
                os.close(nothing)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is not None:
            stream.flush()
        setattr(sys, name, open_screen(descriptor, getattr(stream, "encoding", None)))
