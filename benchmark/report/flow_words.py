"""The flow of images and patients in words, for the diagram and for its description."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmark.analysis.flow import Box, Counts, LeftOut

TITLES = {
    "found": "Files in the folder",
    "drawn": "Synthetic images drawn",
    "listed": "Images listed",
    "used": "Images used",
    "train": "Training",
    "val": "Validation",
    "test": "Test",
    "scored": "Predictions analysed",
    "masked": "With vessel masks",
    "explained": "Saliency analysed",
    "files": "Files left out",
    "unusable": "Unusable images",
    "unscored": "Without a score",
    "unmasked": "Without vessel masks",
    "unexplained": "Without a vessel ratio",
}


class Line(NamedTuple):
    """One box of the flow, or what is left out of one, with the number of boxes above it, as text."""

    depth: int
    title: str
    content: str


def flow_lines(box: Box, depth: int = 0) -> Iterator[Line]:
    """All boxes from the top; what is left out of a box comes before the boxes below it."""
    content = f"{of_images(box.counts)} of {of_patients(box.counts)}" if box.counts.patients else of_images(box.counts)
    yield Line(depth, TITLES[box.name], content + (f"; {repeated(box)}" if box.repeated else ""))
    if box.left_out is not None:
        reasons = ", ".join(reasons_of(box.left_out))
        yield Line(depth + 1, TITLES[box.left_out.name], f"{'; '.join(lost(box.left_out.counts))} ({reasons})")
    for part in box.parts:
        yield from flow_lines(part, depth + 1)


def of_images(counts: Counts) -> str:
    """The images of a box: "400 images (202 positive)"."""
    if counts.positive is None:
        return number(counts.images, "file")
    return number(counts.images, "image") + _positive(counts.positive)


def of_patients(counts: Counts) -> str:
    """The patients of a box: "200 patients (101 positive)"; empty for files of unknown patients."""
    if counts.patients is None or counts.positive_patients is None:
        return ""
    return number(counts.patients, "patient") + _positive(counts.positive_patients)


def lost(counts: Counts) -> list[str]:
    """The images that are left out, and the patients of whom no other image remains, where there are any."""
    of_lost = f"{number(counts.patients, 'patient')} without another image" if counts.patients else ""
    return [text for text in (of_images(counts), of_lost) if text]


def repeated(box: Box) -> str:
    """The images of a box that have the same pixels as another."""
    return f"{grouped(box.repeated)} with the pixels of another image, not left out"


def reasons_of(left_out: LeftOut, most: int = 10) -> list[str]:
    """Why images are left out, most frequent first: "no such file: 3"; rare reasons are counted together."""
    named = [f"{reason}: {grouped(images)}" for reason, images in left_out.reasons.items()]
    if len(named) <= most:
        return named
    return [*named[:most], f"other reasons: {grouped(sum(list(left_out.reasons.values())[most:]))}"]


def number(count: int, what: str) -> str:
    """A count with its noun: "1 image", "2 images"."""
    return f"{grouped(count)} {what}{'' if count == 1 else 's'}"


def _positive(count: int) -> str:
    return f" ({grouped(count)}\N{NO-BREAK SPACE}positive)"


def grouped(count: int) -> str:
    """A count with its thousands apart, as everywhere on the pages."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
