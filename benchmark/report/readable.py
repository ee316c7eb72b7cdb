"""Numbers as text, for a page and for the terminal."""

import math

NOTHING = "–"


def p_value(value: float | None) -> str:
    """A p-value with three decimals; the CSV has all digits."""
    if value is None:
        return NOTHING
    return "<\N{NARROW NO-BREAK SPACE}0.001" if value < 0.001 else f"{value:.3f}"


def p_stated(value: float | None) -> str:
    """A p-value as it follows the p in a sentence: "= 0.010" or "< 0.001"."""
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def readable_bytes(count: float) -> str:
    """Bytes in binary units, as in the configuration and for GPUs; rich has decimal units."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"


def measured_seconds(seconds: float) -> str:
    """A measured time: "12.3 s", from a minute on "8:33" or "1:02:05"."""
    return f"{seconds:.1f} s" if seconds < 59.95 else clock_time(seconds)


def clock_time(seconds: float) -> str:
    """A time as a clock shows it: "0:12", "8:33" or "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def readable_seconds(seconds: float) -> str:
    """An estimated time: "8:33" in minutes and seconds, "2 h 10 min", "3 days 4 h"; "unknown" for NaN."""
    if math.isnan(seconds):
        return "unknown"
    if 0 < seconds < 1:
        return "< 0:01"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} days {hours} h"
