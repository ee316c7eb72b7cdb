"""Which images are shown: chosen by rule, so that nobody can pick those that please."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Group = Literal["best", "median", "worst"]
GROUPS: tuple[Group, ...] = ("best", "median", "worst")
RULE = (
    "Images that have a vessel ratio and whose vessels were found are ranked by the ratio, ties in the order of the "
    "test set; the highest, the lowest and the one nearest the middle (of two, the lower) are taken in turn, passing "
    "over patients already shown."
)


@dataclass(frozen=True)
class Example:
    """One image to show.

    Attributes:
        group: best looks at the vessels most, worst least.
        index: its place among the ratios given.
        rank: 1 for the highest ratio, `ranked` for the lowest.
        ranked: how many images were ranked.
        ratio: its own.
    """

    group: Group
    index: int
    rank: int
    ranked: int
    ratio: float


def choose(ratios: np.ndarray, patients: Sequence[str] | np.ndarray, no_vessels: np.ndarray, k: int) -> list[Example]:
    """Choose by `RULE` up to k best, k median and k worst images, of as many different patients.

    Args:
        ratios: (n,) float; an image whose ratio is not finite has none and is never shown.
        patients: (n,) the patient on each image.
        no_vessels: (n,) bool, flagged so by `xai.vessels.quality`: over a handful of pixels a ratio is noise, and the
            extremes would be images without vessels to look at.
        k: images a group; with fewer than 3 k patients the groups get fewer, as equal in number as can be.

    Returns:
        Group after group in the order of `GROUPS`, each by rank. No image and no patient comes twice.

    Raises:
        ValueError: k is negative, or the arrays differ in length.
    """
    if k < 0:
        raise ValueError(f"examples: k must be at least 0, got {k}")
    if not len(ratios) == len(patients) == len(no_vessels):
        raise ValueError(f"examples: {len(ratios)} ratios, {len(patients)} patients and {len(no_vessels)} flags")
    order = np.argsort(-ratios, kind="stable")
    order = order[np.isfinite(ratios[order]) & ~no_vessels[order]]
    last = len(order) - 1
    waiting: dict[Group, Iterator[int]] = {  # places in `order`, the next to be taken first
        "best": iter(range(len(order))),
        "worst": iter(range(last, -1, -1)),
        "median": iter(sorted(range(len(order)), key=lambda place: (abs(2 * place - last), -place))),
    }
    shown: set[str] = set()
    examples = []
    for _ in range(k):
        for group, places in waiting.items():
            place = next((place for place in places if patients[order[place]] not in shown), None)
            if place is None:  # everybody is shown
                break
            index = int(order[place])
            shown.add(patients[index])
            examples.append(Example(group, index, place + 1, len(order), float(ratios[index])))
    return sorted(examples, key=lambda example: (GROUPS.index(example.group), example.rank))
