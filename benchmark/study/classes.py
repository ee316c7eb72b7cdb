"""The names of the classes, and which of them are positive (label 1)."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.study.spellings import shown, spelling_of

_OF_NO_DISEASE = frozenset(
    {
        "normal",
        "normals",
        "healthy",
        "control",
        "controls",
        "negative",
        "neg",
        "no",
        "none",
        "absent",
        "without",
        "false",
    }
)
_SHOWN = 10


@dataclass(frozen=True)
class Classes:
    """The names of the classes in the manifest: those of `negative` are label 0, those of `positive` are label 1."""

    negative: tuple[str, ...]
    positive: tuple[str, ...]

    def __str__(self) -> str:
        return f"label 1 = {shown(_listed(self.positive))} (positive), label 0 = {shown(_listed(self.negative))}"

    @property
    def doubtful(self) -> bool:
        """Whether the names suggest that label 1 includes the class without the disease."""
        return any(map(of_no_disease, self.positive)) and not any(map(of_no_disease, self.negative))

    @property
    def names(self) -> tuple[str, ...]:
        """All classes, in order."""
        return tuple(in_order((*self.negative, *self.positive)))

    def by_label(self) -> dict[str, str]:
        """The names as they are written into files: label -> name, or names separated by commas."""
        return {"0": _listed(self.negative), "1": _listed(self.positive)}

    def label(self, name: str) -> int:
        """0 or 1, for one of `names`."""
        return int(name in self.positive)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names; numbers inside names are compared by value, so that 2_mild comes before 10_severe."""

    def key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.findall(r"\d+|\D+", name)
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name

    return sorted(names, key=key)


def with_positive(names: Iterable[str], positive: list[str]) -> Classes:
    """Divide classes into those named `positive`, which are label 1, and all others, which are label 0.

    Raises:
        ValueError: a class of this name does not exist, or no class is left for label 0.
    """
    found = in_order(names)
    by_spelling: dict[str, list[str]] = {}
    for name in found:
        by_spelling.setdefault(spelling_of(name), []).append(name)
    chosen: list[str] = []
    for name in positive:
        if spelling_of(name) not in by_spelling:
            raise ValueError(_unknown(name, found))
        chosen += by_spelling[spelling_of(name)]
    others = tuple(name for name in found if name not in chosen)
    if not others:
        raise ValueError(
            f"no class is left for label 0, because cohort.positive (--positive) names all of them: {_few(found)}"
        )
    return Classes(negative=others, positive=tuple(name for name in found if name in chosen))


def advice(names: Iterable[str]) -> str:
    """The option that makes all classes but the first positive, as an example; it can be copied into a shell."""
    _, *others = in_order(names)
    if any("," in name for name in others):
        return "--positive CLASS,CLASS"
    return f"--positive {shlex.quote(','.join(map(shown, others)))}"


def of_no_disease(name: str) -> bool:
    """Whether a class is called normal, healthy, no… or similar."""
    return any(word in _OF_NO_DISEASE for word in re.findall(r"[a-z]+", name.lower()))


def _unknown(name: str, found: list[str]) -> str:
    from backbones.naming import did_you_mean  # imports torch

    hint = did_you_mean(name, found, "name one of them")
    if any("," in other for other in found):
        hint += """; a name with a comma needs a list, as in --set cohort.positive='["a, b"]'"""
    return f"cohort.positive (--positive) names {shown(name)!r}, but the classes are {_few(found)}; {hint}"


def _few(names: list[str]) -> str:
    shortened = [shown(name) for name in names]
    if len(shortened) > _SHOWN:
        return f"{', '.join(shortened[:_SHOWN])}, … ({len(shortened)} in all)"
    return " and ".join(filter(None, (", ".join(shortened[:-1]), shortened[-1])))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
