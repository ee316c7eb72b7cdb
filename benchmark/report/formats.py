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
