"""Every wait reports its cause and ends after a limit: a watch over work that gives no result.

This module does not depend on Ray: a function reports what blocks the work (`benchmark.scheduling.cluster.Trouble`).
"""

import math
import os
import time
from collections.abc import Callable

from benchmark.errors import UserError

PATIENCE = "RETINA_BENCHMARK_PATIENCE"  # minutes
LOCAL_MINUTES, CLUSTER_MINUTES = 10.0, 120.0  # a cluster may have to start nodes, or be busy with other work
QUIET_SECONDS = 10.0  # without a result before the watch looks for a cause
LOOK_SECONDS = 5.0  # between two looks
REPEAT_SECONDS = 120.0  # before the same line is repeated


def patience(is_local: bool) -> float:
    """Seconds that a study waits while nothing runs or everything fails, from the environment or the default.

    Raises:
        UserError: the variable is not a positive number.
    """
    text = os.environ.get(PATIENCE)
    if not text:
        return 60 * (LOCAL_MINUTES if is_local else CLUSTER_MINUTES)
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not minutes > 0:
        raise UserError(f"{PATIENCE}={text} is not a number of minutes above 0: correct it, or unset it")
    return 60 * minutes


class Watch:
    """Watches work from the outside: call `look` repeatedly, and report results with `came`.

    Args:
        trouble: returns what blocks the work in one line without a full stop, or None if the work is simply slow. It is
            called with True if results have come since the last call, and raises a UserError if waiting cannot help.
        say: receives the line to show.
        patience: seconds that trouble may last without a result.
    """

    def __init__(
        self,
        trouble: Callable[[bool], str | None],
        say: Callable[[str], None],
        patience: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trouble, self._say, self._patience, self._clock = trouble, say, patience, clock
        self._last_result = self._last_look = clock()
        self._began: float | None = None  # when the present trouble began
        self._said: tuple[str, float] = ("", -math.inf)
        self._fresh = True

    def came(self) -> None:
        """A result came: the work is not blocked any more."""
        self._last_result, self._began, self._fresh = self._clock(), None, True

    def look(self) -> str | None:
        """Report what blocks the work, if anything does; returns the line to end with once patience is exhausted."""
        now = self._clock()
        quiet = min(QUIET_SECONDS, self._patience / 2)
        if now - self._last_result < quiet or now - self._last_look < min(LOOK_SECONDS, quiet):
            return None
        self._last_look = now
        try:
            found = self._trouble(self._fresh)
        except UserError as error:  # waiting cannot help
            return str(error)
        self._fresh = False
        if found is None:
            self._began = None
            return None
        if self._began is None:
            self._began = now
        if now - self._began >= self._patience:
            minutes = f"{self._patience / 60:.3g} minutes"
            return (
                f"no progress for {minutes}: {found}; fix this, then use --resume ({PATIENCE} sets the minutes to wait)"
            )
        kind = found.partition(";")[0]  # the figures after it may change with every look
        if kind != self._said[0] or now - self._said[1] >= REPEAT_SECONDS:
            self._said = (kind, now)
            self._say(f"waiting: {found}")
        return None
