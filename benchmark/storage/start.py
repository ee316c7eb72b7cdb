"""A run's folder is locked while the run lasts, and a start that fails leaves nothing in it."""

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
    """Lock the folder for this process while the block runs; create it if it is missing.

    If the block fails before it has claimed the folder, the folder is left as it was and the log is moved elsewhere. A
    `UserError` is raised unwrapped, even if Ray has wrapped it; for any other error the traceback is written to the
    log. A note on the error gives the path of the log.

    Raises:
        UserError: the folder belongs to another run, is in use, or cannot be created.
        KeyboardInterrupt: SIGTERM or SIGHUP ended the block; its message is the signal's name.
    """
    try:
        there = directory.path.is_dir()
    except OSError as error:  # for example a name that is too long
        raise unusable(directory.path, error) from error
    if not there:
        directory.check(configuration, resume)
    # Only the holder of the lock reads or deletes what is left of an earlier run.
    with _signals_restored(), _no_empty_folders(directory.log.parent), _locked(directory), _log_kept(directory):
        directory.check(configuration, resume)
        try:
            yield
        except Exception as error:
            found = user_error(error, where=directory.path)
            if found is None or found is error:
                raise
            raise found from error
        except KeyboardInterrupt as interrupt:
            # Inside a wait of Ray, the handler's exception becomes another KeyboardInterrupt, without the name.
            if interrupt.args or _received is None:
                raise
            raise KeyboardInterrupt(_received.name) from interrupt


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
    """If the block fails, delete the folders that it created on the path to `innermost`, unless they hold files."""
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
    """Add the path of the log to an error that the log explains; move the log if the folder is not claimed yet."""
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
    """Move the log of a run that never began into the folder for temporary files; None if the log is empty."""
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
    global _last_end, _received
    before = {number: signal.getsignal(number) for number in _ENDING}
    _last_end, _received = -math.inf, None  # of an earlier run of this process
    end_in_order()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def end_in_order() -> None:
    """Let a scheduler's or `kill`'s SIGTERM, and the SIGHUP of a lost terminal, end the run as Ctrl-C does.

    Call this again after Ray has started, because Ray replaces the handler with its own.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, _end)


_last_end = -math.inf
_received: signal.Signals | None = None  # the signal that ended the run


def _end(number: int, frame: Any) -> None:
    """`timeout` and schedulers send a signal twice, and the second would interrupt the cleanup after the first."""
    global _last_end, _received
    if time.monotonic() - _last_end > AGAIN_SECONDS:
        _last_end, _received = time.monotonic(), signal.Signals(number)
        raise KeyboardInterrupt(_received.name)
