"""What is reported to a patient in one line, without a traceback."""

import errno
import os


class UserError(Exception):
    """Something in the input or the surroundings that the user can fix; the message names it and the fix."""


class WriteError(UserError, OSError):
    """A file could not be written."""


class DiskFull(WriteError):  # noqa: N818 - reads as what happened
    """It could not be written for want of space: nothing that comes after it could be either."""


# What may go wrong with one image or one model without being the trouble of all: every streaming step makes a row of
# it, for raising ends the stream. CUDA out of memory is a RuntimeError.
OF_ONE_ROW = (RuntimeError, ValueError, ArithmeticError, OSError, MemoryError)
MORE_SPACE = "make space and add --resume, or choose another --out"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def named(error: BaseException) -> str:
    """An error on one line, with its kind."""
    kind, message = type(error).__name__, str(error).strip()
    return f"{kind}: {message.splitlines()[0]}" if message else kind


def out_of_space(error: BaseException | str) -> int | None:
    """`ENOSPC`, `EDQUOT` or `EFBIG` where an error, or the text of one, says that there is no more space."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return number
    # Libraries that are not written in Python raise their own, and of another process there is only the text.
    return next((number for number in _FULL if os.strerror(number) in str(error)), None)


def user_error(error: BaseException, where: object = "a file") -> UserError | None:
    """The `UserError` behind an error: Ray wraps what a worker or a callback raised in errors of its own.

    A full disk counts as one whatever met it; `where` is its name when the error has none.
    """
    behind: BaseException | None = error
    seen: set[int] = set()
    while behind is not None and id(behind) not in seen:
        if isinstance(behind, UserError):
            return behind
        if isinstance(behind, OSError) and out_of_space(behind) is not None:
            reason = behind.strerror or " ".join(str(behind).split())
            return DiskFull(f"{behind.filename or where}: {reason}; {MORE_SPACE}")
        seen.add(id(behind))
        of_ray = type(behind).__module__.startswith("ray.")
        behind = behind.__cause__ or (of_ray and (getattr(behind, "cause", None) or behind.__context__)) or None
    return None


def stop_when_full(reason: str) -> None:
    """End the run where a part of it failed for want of space: every later part would fail as well.

    Args:
        reason: the text of the error.

    Raises:
        DiskFull: it was for want of space.
    """
    if out_of_space(reason) is not None:
        _, own, message = reason.rpartition(f"{DiskFull.__name__}: ")
        raise DiskFull(message if own else f"{reason}: {MORE_SPACE}")
