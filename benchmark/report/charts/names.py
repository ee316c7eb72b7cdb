"""What charts call cells: names come from configs, and their length is limited by a panel's width alone."""

import unicodedata

import polars as pl


def cell_names(cells: pl.DataFrame, letters: int) -> list[str]:
    """ "backbone, strategy", with the seed where there are several; a long backbone loses its middle."""
    several_seeds = cells["seed"].n_unique() > 1
    names = []
    for backbone, strategy, seed in cells.select("backbone", "strategy", "seed").rows():
        rest = f", {strategy}" + (f", seed {seed}" if several_seeds else "")
        names.append(shortened(backbone, max(letters - len(rest), letters // 3)) + rest)
    return names


def shortened(text: str, letters: int) -> str:
    """`text` with an ellipsis for its middle where it has more letters: names of models differ at both ends."""
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[: letters - 1 - end]}…{text[len(text) - end :]}"


def printable(text: str) -> str:
    """`text` with a replacement for control and format characters.

    XML does not allow most of them, and vl-convert ends the whole process where it meets one.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
