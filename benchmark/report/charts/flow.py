"""The flow of images and patients as a diagram (STARD 2015, Bossuyt et al.): boxes from the manifest to the analysis.

Boxes that remain are in one column, and what is left out is next to it. The splits are side by side, and the analyses
of the test images are below them.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from benchmark.analysis.flow import Box, LeftOut
from benchmark.report.charts.drawing import INK, PAPER, QUIET, Chart
from benchmark.report.charts.names import printable
from benchmark.report.flow_words import TITLES, flow_lines, lost, of_images, of_patients, reasons_of, repeated

TITLE = "Flow of images and patients"
WIDTH, NATURAL = 400, 480  # units of the drawing; pixels on a wide page
FONT_SIZE, LINE, PADDING = 12, 16, 8
MAIN, SIDE, GUTTER = 224, 156, 20  # widths of both columns, and the space between them; they add up to WIDTH
GAP, BRANCH, APART = 34, 17, 10  # below a box; from there to the line of what is left out; between boxes of one column
_LETTER = 6.0  # width of a letter: the font of the page cannot be measured here
_REASONS = 3


@dataclass(frozen=True)
class _Placed:
    """A box with its text, whose first line is its title."""

    x: float
    y: float
    width: float
    lines: Sequence[str]
    dashed: bool = False

    @property
    def height(self) -> float:
        return LINE * len(self.lines) + 2 * PADDING

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


class _Drawing:
    """Boxes and lines that are placed from the top to the bottom."""

    def __init__(self) -> None:
        self.boxes: list[_Placed] = []
        self.lines: list[tuple[float, float, float, float, bool]] = []  # x, y, x, y, whether it ends in an arrow

    @property
    def height(self) -> float:
        return max(box.bottom for box in self.boxes)

    def add(self, x: float, y: float, width: float, lines: Sequence[str], dashed: bool = False) -> _Placed:
        placed = _Placed(x, y, width, lines, dashed)
        self.boxes.append(placed)
        return placed

    def chain(self, box: Box, above: _Placed, x: float, side: float) -> tuple[Box, _Placed]:
        """Place the boxes below one that is already there, until one has several parts or none.

        Args:
            above: the box that is there.
            x: left side of the boxes that remain.
            side: left side of what is left out.

        Returns:
            The last box.
        """
        stem = min(max(above.middle, x + GUTTER), x + MAIN - GUTTER)
        lowest = 0.0  # where there is room for the next box of what is left out
        while len(box.parts) == 1:
            if box.left_out is not None:
                gone = self.add(side, above.bottom + APART / 2, SIDE, _of_left_out(box.left_out), dashed=True)
                y, end = above.bottom + BRANCH, side if side > x else side + SIDE
                self.lines.append((stem, y, end, y, True))
                lowest = gone.bottom + APART
            (box,) = box.parts
            lines = _of_box(box, MAIN)
            y = max(above.bottom + GAP, lowest - LINE * len(lines) - 2 * PADDING if box.left_out else 0)
            placed = self.add(x, y, MAIN, lines)
            self.lines.append((stem, above.bottom, stem, placed.y, True))
            above = placed
        return box, above


def flow_chart(flow: Box) -> Chart:
    """The diagram; its description has the same boxes in words."""
    drawing = _Drawing()
    first = drawing.add(0, 0, MAIN, _of_box(flow, MAIN))
    used, last = drawing.chain(flow, first, x=0, side=MAIN + GUTTER)
    for placed, split in zip(_row(drawing, used, last), used.parts, strict=True):
        drawing.chain(split, placed, x=WIDTH - MAIN, side=0)
    return Chart(_svg(drawing, flow), TITLE, _described(flow), NATURAL)


def _row(drawing: _Drawing, box: Box, above: _Placed) -> list[_Placed]:
    """Place all parts of a box side by side below everything else, joined to it by one line."""
    if not box.parts:
        return []
    top = max(above.bottom + GAP, drawing.height + APART + LINE)
    width = (WIDTH - APART * (len(box.parts) - 1)) / len(box.parts)
    row = [
        drawing.add(place * (width + APART), top, width, _of_box(part, width)) for place, part in enumerate(box.parts)
    ]
    bus = top - BRANCH
    drawing.lines.append((above.middle, above.bottom, above.middle, bus, False))
    ends = [above.middle, *(placed.middle for placed in row)]
    drawing.lines.append((min(ends), bus, max(ends), bus, False))
    drawing.lines += [(placed.middle, bus, placed.middle, top, True) for placed in row]
    return row


def _of_box(box: Box, width: float) -> list[str]:
    texts = [of_images(box.counts), of_patients(box.counts), repeated(box) if box.repeated else ""]
    return [TITLES[box.name], *(line for text in texts for line in _wrapped(text, width))]


def _of_left_out(left_out: LeftOut) -> list[str]:
    texts = [*lost(left_out.counts), *reasons_of(left_out, _REASONS)]
    return [TITLES[left_out.name], *(line for text in texts for line in _wrapped(text, SIDE))]


def _wrapped(text: str, width: float) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * PADDING) / _LETTER))


def _described(flow: Box) -> str:
    return f"{TITLE}. " + ". ".join(f"{line.title}: {line.content}" for line in flow_lines(flow)) + "."


def _svg(drawing: _Drawing, flow: Box) -> Markup:
    svg = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {} {:g}" role="img" aria-label="{}" '
        'font-family="var(--sans)" font-size="{}"><title>{}</title>{}</svg>'
    )
    drawn = Markup("").join([*map(_line, drawing.lines), *(part for box in drawing.boxes for part in _box(box))])
    return svg.format(WIDTH + 2, drawing.height + 2, printable(_described(flow)), FONT_SIZE, TITLE, drawn)


def _line(line: tuple[float, float, float, float, bool]) -> Markup:
    x, y, to_x, to_y, arrow = line
    drawn = Markup('<path d="M{:g},{:g}L{:g},{:g}" fill="none" stroke="{}"/>').format(x, y, to_x, to_y, QUIET)
    if not arrow:
        return drawn
    if y == to_y:
        back = 6 if to_x < x else -6
        head = f"M{to_x:g},{to_y:g}l{back},-3.5v7z"
    else:
        head = f"M{to_x:g},{to_y:g}l-3.5,-6h7z"
    return drawn + Markup('<path d="{}" fill="{}"/>').format(head, QUIET)


def _box(box: _Placed) -> Iterator[Markup]:
    frame = '<rect x="{:g}" y="{:g}" width="{:g}" height="{:g}" rx="3" fill="{}" stroke="{}"{}/>'
    dashes = Markup(' stroke-dasharray="4 3"' if box.dashed else "")
    yield Markup(frame).format(box.x, box.y, box.width, box.height, PAPER, QUIET, dashes)
    for place, line in enumerate(box.lines):
        y = box.y + PADDING + LINE * place + FONT_SIZE
        weight = Markup("" if place else ' font-weight="600"')
        yield Markup('<text x="{:g}" y="{:g}" fill="{}"{}>{}</text>').format(
            box.x + PADDING, y, INK, weight, printable(line)
        )
