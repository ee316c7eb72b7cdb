"""Numbers as a reader sees them, on a page and on the terminal."""

NOTHING = "–"


def p_value(value: float | None) -> str:
    """Three decimals; the CSV has the others."""
    if value is None:
        return NOTHING
    return "<\N{NARROW NO-BREAK SPACE}0.001" if value < 0.001 else f"{value:.3f}"


def p_stated(value: float | None) -> str:
    """As it follows a p in a sentence."""
    told = p_value(value)
    return told if told.startswith("<") else f"= {told}"


def readable_bytes(count: float) -> str:
    """In the binary units of the configuration and of GPUs; rich has decimal ones."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"


def readable_seconds(seconds: float) -> str:
    """An estimate, so to no more digits than it has; rich has H:MM:SS."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
