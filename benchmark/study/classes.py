"""The names of the two classes, and which of them is positive (label 1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.study.spellings import shown, spelling_of

_OF_NO_DISEASE = frozenset(
    {"normal", "normals", "healthy", "control", "controls", "negative", "neg", "no", "none", "absent", "without"}
)
_SHOWN = 10


@dataclass(frozen=True)
class Classes:
    """The names of the labels in the manifest: `negative` is label 0, `positive` is label 1."""

    negative: str
    positive: str

    def __str__(self) -> str:
        return f"label 1 = {shown(self.positive)} (positive), label 0 = {shown(self.negative)}"

    @property
    def doubtful(self) -> bool:
        """Whether the names suggest that label 1 is the class without the disease."""
        return _of_no_disease(self.positive) and not _of_no_disease(self.negative)

    def by_label(self) -> dict[str, str]:
        """The names as they are written into files: label -> name."""
        return {"0": self.negative, "1": self.positive}


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names; numbers inside names are compared by value, so that 2_mild comes before 10_severe."""

    def key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.findall(r"\d+|\D+", name)
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name

    return sorted(names, key=key)


def with_positive(names: Iterable[str], positive: str) -> Classes:
    """The two classes, with the one named `positive` as label 1.

    Raises:
        ValueError: there are not exactly two classes, or neither has this name.
    """
    found = in_order(names)
    if len(found) != 2:
        listed = ", ".join(map(shown, found[:_SHOWN])) + (", …" if len(found) > _SHOWN else "")
        raise ValueError(f"cohort.positive needs exactly two classes, found {len(found)} ({listed})")
    first, second = found
    if spelling_of(positive) == spelling_of(first):
        return Classes(negative=second, positive=first)
    if spelling_of(positive) == spelling_of(second):
        return Classes(negative=first, positive=second)
    from backbones.naming import did_you_mean  # imports torch

    meant = did_you_mean(positive, found, "name one of them")
    raise ValueError(
        f"cohort.positive (--positive) is {shown(positive)!r}, but the classes are {shown(first)} and {shown(second)}; "
        f"{meant}"
    )


def _of_no_disease(name: str) -> bool:
    return any(word in _OF_NO_DISEASE for word in re.findall(r"[a-z]+", name.lower()))
