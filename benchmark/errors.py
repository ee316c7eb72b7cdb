"""Errors that are reported to the user in one line, without a traceback."""

import errno
import os


class UserError(Exception):
    """Something in the input or the environment that the user can fix; the message names it and the fix."""


class Interrupted(UserError):  # noqa: N818 - reads as what happened
    """The user or the system ended the run; the exit code is that of a program ended by Ctrl-C."""

    exit_code = 130


class WriteError(UserError, OSError):
    """A file could not be written."""


class DiskFull(WriteError):  # noqa: N818 - reads as what happened
    """A file could not be written because no space is left; later files could not be written either."""


# Errors that may concern one image or one model only. Every streaming step records them in a row, because raising them
# would end the stream. CUDA out of memory is a RuntimeError.
OF_ONE_ROW = (RuntimeError, ValueError, ArithmeticError, OSError, MemoryError)
MORE_SPACE = "make space and add --resume, or choose another --out"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def named(error: BaseException) -> str:
    """The type and message of an error on one line."""
    kind, message = type(error).__name__, str(error).strip()
    return f"{kind}: {message.splitlines()[0]}" if message else kind


def out_of_space(error: BaseException | str) -> int | None:
    """`ENOSPC`, `EDQUOT` or `EFBIG` if an error, or the text of one, reports that no space is left; otherwise None."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return number
    # Libraries not written in Python raise their own errors, and from another process only the text is available.
    return next((number for number in _FULL if os.strerror(number) in str(error)), None)


def user_error(error: BaseException, where: object = "a file") -> UserError | None:
    """Find the `UserError` that caused an error, if there is one.

    Ray wraps what a worker or a callback raised in its own errors. A full disk counts as a `UserError` wherever it
    occurred; `where` names the file if the error does not.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, OSError) and out_of_space(cause) is not None:
            reason = cause.strerror or " ".join(str(cause).split())
            return DiskFull(f"{cause.filename or where}: {reason}; {MORE_SPACE}")
        seen.add(id(cause))
        of_ray = type(cause).__module__.startswith("ray.")
        cause = cause.__cause__ or (of_ray and (getattr(cause, "cause", None) or cause.__context__)) or None
    return None


def stop_when_full(reason: str) -> None:
    """End the run if a part of it failed because no space is left: every later part would fail as well.

    Args:
        reason: the text of the error.

    Raises:
        DiskFull: the error reports that no space is left.
    """
    if out_of_space(reason) is not None:
        _, own, message = reason.rpartition(f"{DiskFull.__name__}: ")
        raise DiskFull(message if own else f"{reason}: {MORE_SPACE}")
