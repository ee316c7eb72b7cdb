"""Names of trials in charts; they come from configurations, so they must be made short and printable."""

import unicodedata

import polars as pl


def trial_names(trials: pl.DataFrame) -> pl.Series:
    """Full names "backbone, strategy, seed 0", after the run if there is one: the names of the rows of the tables."""
    parts = [*(["run"] if "run" in trials.columns else []), "backbone", "strategy"]
    return trials.select(pl.format(", ".join(["{}"] * len(parts)) + ", seed {}", *parts, "seed")).to_series()


def cell_names(cells: pl.DataFrame, letters: int) -> list[str]:
    """Names "backbone, strategy", with the seed if there are several; long backbones are shortened in the middle."""
    several_seeds = cells["seed"].n_unique() > 1
    names = []
    for backbone, strategy, seed in cells.select("backbone", "strategy", "seed").rows():
        rest = f", {strategy}" + (f", seed {seed}" if several_seeds else "")
        names.append(shortened(backbone, max(letters - len(rest), letters // 3)) + rest)
    return names


def shortened(text: str, letters: int) -> str:
    """`text` with at most so many letters; an ellipsis replaces the middle, because names differ at both ends."""
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[: letters - 1 - end]}…{text[len(text) - end :]}"


def printable(text: str) -> str:
    """`text` with a replacement for control and format characters.

    XML does not allow most of them, and vl-convert ends the whole process if it meets one.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign)[0] == "C" else sign for sign in text)
