"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint for an error message.

    Args:
        name: the name that was not found.
        known: the known names.
        otherwise: the hint if no known name is similar.

    Returns:
        `did you mean ...?` with the one or two most similar names, or `otherwise`.
    """
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.4)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
