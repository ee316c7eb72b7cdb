"""Selection of example images by a fixed rule, to prevent cherry-picking."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Group = Literal["best", "median", "worst"]
GROUPS: tuple[Group, ...] = ("best", "median", "worst")
RULE = (
    "Images with a vessel ratio and detected vessels are ranked by the ratio, with ties in the order of the test set. "
    "The image with the highest ratio, the one with the lowest and the one nearest the middle rank (of two, the lower) "
    "are selected in turn, skipping patients already shown."
)


@dataclass(frozen=True)
class Example:
    """One example image.

    Attributes:
        group: "best" for a high vessel ratio, "worst" for a low one.
        index: position of the image in the given ratios.
        rank: 1 for the highest ratio, `ranked` for the lowest.
        ranked: number of ranked images.
        ratio: the image's ratio.
    """

    group: Group
    index: int
    rank: int
    ranked: int
    ratio: float


def choose(ratios: np.ndarray, patients: Sequence[str] | np.ndarray, no_vessels: np.ndarray, k: int) -> list[Example]:
    """Selects up to k best, k median and k worst images by `RULE`, each of a different patient.

    Args:
        ratios: (n,) float, vessel ratio of each image; an image without a finite ratio is never selected.
        patients: (n,), patient of each image.
        no_vessels: (n,) bool, flag `no_vessels` of `xai.vessels.quality`. These images are not selected, because a
            ratio over a few pixels is noise and the extremes would be images without visible vessels.
        k: number of images per group. With fewer than 3 k patients the groups have fewer images, as equal in number as
            possible.

    Returns:
        The examples in the order of `GROUPS`, and by rank in each group. No image and no patient occurs twice.

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
    waiting: dict[Group, Iterator[int]] = {  # positions in `order`, in the order of selection
        "best": iter(range(len(order))),
        "worst": iter(range(last, -1, -1)),
        "median": iter(sorted(range(len(order)), key=lambda place: (abs(2 * place - last), -place))),
    }
    shown: set[str] = set()
    examples = []
    for _ in range(k):
        for group, places in waiting.items():
            place = next((place for place in places if patients[order[place]] not in shown), None)
            if place is None:  # every patient has been selected
                break
            index = int(order[place])
            shown.add(patients[index])
            examples.append(Example(group, index, place + 1, len(order), float(ratios[index])))
    return sorted(examples, key=lambda example: (GROUPS.index(example.group), example.rank))
