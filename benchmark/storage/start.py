"""From the start of a run to its end: its folder is locked, and a start that fails leaves nothing in it."""

import math
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.errors import user_error
from benchmark.storage.lock import hold
from benchmark.storage.rundir import RunDirectory, unusable

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
AGAIN_SECONDS = 5.0


@contextmanager
def started(directory: RunDirectory, configuration: dict[str, Any], resume: bool) -> Iterator[None]:
    """The folder, made where it is missing, for this process alone while the block runs.

    A block that fails before it has claimed the folder leaves it as it was; its log is kept elsewhere. A `UserError`
    comes out as it is, whatever Ray wrapped it in; another error leaves its traceback in the log. Where the log is, is
    a note of the error.

    Raises:
        UserError: the folder is another run's, is in use, or cannot be made.
        KeyboardInterrupt: SIGTERM or SIGHUP ended the block; it says which.
    """
    try:
        there = directory.path.is_dir()
    except OSError as error:  # a name that is too long
        raise unusable(directory.path, error) from error
    if not there:
        directory.check(configuration, resume)
    # What is there of a run is looked at, and taken away, by the one that holds the lock.
    with _signals_restored(), _no_empty_folders(directory.log.parent), _locked(directory), _log_kept(directory):
        directory.check(configuration, resume)
        try:
            yield
        except Exception as error:
            found = user_error(error, where=directory.path)
            if found is None or found is error:
                raise
            raise found from error


@contextmanager
def _locked(directory: RunDirectory) -> Iterator[None]:
    locking = hold(directory.lock)
    try:
        directory.log.parent.mkdir(parents=True, exist_ok=True)
        locking.__enter__()
    except OSError as error:
        raise unusable(directory.path, error) from error
    try:
        yield
    finally:
        locking.__exit__(None, None, None)


@contextmanager
def _no_empty_folders(innermost: Path) -> Iterator[None]:
    """Take away again what was made of the way there, where the block fails and leaves nothing in it."""
    made = [path for path in (innermost, *innermost.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def _log_kept(directory: RunDirectory) -> Iterator[None]:
    """Note where the log is with an error that it explains; before the folder is claimed, it does not stay there."""
    log, kept = directory.log, None
    had_log = log.is_file()
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) and user_error(error) is None:
            kept = log
            with suppress(OSError), log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                traceback.print_exception(error, file=file)
        if not directory.study.is_file():
            kept = log if had_log else _moved_away(log)
        if kept is not None:
            error.add_note(f"log: {kept}")
        raise


def _moved_away(log: Path) -> Path | None:
    """The log of a run that never began, in the folder of temporary files; None where nothing is in it."""
    with suppress(OSError):
        if not log.stat().st_size:
            log.unlink()
            return None
        name = f"retina-benchmark-{time.strftime('%Y%m%d-%H%M%S')}-"
        kept = Path(tempfile.mkdtemp(prefix=name)) / log.name
        shutil.move(log, kept)
        return kept
    return log if log.exists() else None


@contextmanager
def _signals_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _ENDING}
    end_in_order()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def end_in_order() -> None:
    """Let a scheduler's or `kill`'s SIGTERM, and the SIGHUP of a lost terminal, end the run as Ctrl-C does.

    To be called again after Ray has started, which puts a handler of its own in the place of this one.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, _end)


_last_end = -math.inf


def _end(number: int, frame: Any) -> None:
    """`timeout` and schedulers send a signal twice, and the second would end the tidying up after the first."""
    global _last_end
    if time.monotonic() - _last_end > AGAIN_SECONDS:
        _last_end = time.monotonic()
        raise KeyboardInterrupt(signal.Signals(number).name)
