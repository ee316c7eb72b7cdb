"""The screen, whatever it is: any encoding, closed in the middle, or not there at all.

A character that the screen does not have is replaced, and a reader that has gone (`| head`, a lost connection) ends
nothing: what matters is in files.
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
    """A character that an encoding does not have, in ASCII."""
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no text
        return f"\\x{ord(character) - 0xDC00:02x}"
    if "\u2800" <= character <= "\u28ff":  # Braille, of which a spinner is drawn
        return "*"
    return _WRITTEN_AS.get(character, "?")


codecs.register_error(PLAIN, _plain)


class _Screen(io.FileIO):
    """A file descriptor that takes everything, also when nobody reads it any more.

    `trouble` is the first error that has another reason, such as a full disk below a redirected output.
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
    """A text stream on a file descriptor, which stays open; `encoding`: by default that of the standard output."""
    raw = _Screen(descriptor, "w", closefd=False)
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, PLAIN, line_buffering=True)


def trouble(stream: Any) -> OSError | None:
    """Why something that was printed on an `open_screen` was lost, other than that nobody reads it."""
    try:
        stream.flush()
        return getattr(stream.buffer.raw, "trouble", None)
    except (AttributeError, OSError, ValueError):
        return None


def take_screen() -> None:
    """Put such streams in the place of this process's standard output and error, open or not."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would get its number, and what is printed
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != descriptor:
                os.dup2(nothing, descriptor)
                os.close(nothing)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is not None:
            stream.flush()
        setattr(sys, name, open_screen(descriptor, getattr(stream, "encoding", None)))
