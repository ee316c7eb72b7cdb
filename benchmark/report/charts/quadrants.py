"""A glyph of the retina: where a map is strong, by quadrant, in the centre and on the optic disc."""

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from benchmark.report.charts import spans
from benchmark.report.charts.names import printable
from benchmark.report.charts.tooltips import counted, estimate
from xai.regions import CENTRE, QUADRANTS, SIDED_QUADRANTS

_SIDE, _RADIUS = 72, 34  # pixels: of the glyph, and of the field of view in its middle
_DISC_RADIUS = 5  # pixels
# From the middle, as shares of the radius, in a right eye: 15° of 22.5°. Of unknown sides the disc has no place.
_DISC, _DISC_APART = (0.66, -0.07), (0.9, 0.9)
_KEY_STEPS = 24
_MEANING = "times the mean of the field of view"
_FRAME = Markup('fill="none" stroke="var(--quiet)" stroke-width="1"')


def shown_regions(names: Iterable[str]) -> list[str]:
    """Those regions that have a place in the glyph, from the centre outwards."""
    known = set(names)
    return [name for name in ("centre", *SIDED_QUADRANTS, *QUADRANTS, "disc") if name in known]


def full_shade(ratios: Iterable[float | None]) -> float:
    """The ratio of the full shade: a round number that no ratio exceeds, and at least 1."""
    return spans.linear([0, 1, *(ratio for ratio in ratios if ratio is not None)]).high


def quadrant_glyph(regions: Mapping[str, Mapping[str, Any] | None], cell: str, top: float) -> Markup:
    """An SVG whose regions have the more of the colour of text, the stronger the map is there.

    Args:
        regions: name of `xai.regions` -> ratio to the mean of the field of view, low, high and n_images; None for a
            region without a ratio. Names without a place are left out.
        cell: the trial's full name.
        top: the ratio of the full shade; 0 has the colour of the page.
    """
    names = shown_regions(regions)
    said = {name: _said(name, regions[name]) for name in names}
    drawn = Markup("").join(_region(name, regions[name], cell, said[name], top, names) for name in names)
    label = f"{cell}: {'; '.join(said.values())}"
    frame = Markup('<circle cx="{0}" cy="{0}" r="{1}" {2}/>').format(_SIDE / 2, _RADIUS, _FRAME)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {0}" width="{0}" height="{0}" role="img" '
        'aria-label="{1}">{2}{3}</svg>'
    ).format(_SIDE, printable(label), drawn, frame)


def shade_key() -> Markup:
    """The shades from 0 to the full one, from left to right; it has no text and may be stretched."""
    steps = (
        Markup('<rect x="{}" width="1" height="1" fill="var(--ink)" fill-opacity="{}"/>').format(
            place, round(place / (_KEY_STEPS - 1), 3)
        )
        for place in range(_KEY_STEPS)
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} 1" preserveAspectRatio="none" '
        'shape-rendering="crispEdges" aria-hidden="true">{}</svg>'
    ).format(_KEY_STEPS, Markup("").join(steps))


def _said(name: str, found: Mapping[str, Any] | None) -> str:
    where = name.replace("_", " ").replace("disc", "optic disc")
    if found is None or found["ratio"] is None:
        return f"{where}: not known"
    number = estimate(found["ratio"], found["low"], found["high"], 2)
    return f"{where}: {number} {_MEANING}{counted(found['n_images'])}"


def _region(name: str, found: Mapping[str, Any] | None, cell: str, said: str, top: float, names: list[str]) -> Markup:
    ratio = None if found is None else found["ratio"]
    look = Markup('stroke="var(--quiet)" stroke-width="0.75"')
    look += (
        Markup(' fill="var(--paper)" stroke-dasharray="2 2"')
        if ratio is None
        else Markup(' fill="var(--ink)" fill-opacity="{}"').format(round(min(max(ratio / top, 0), 1), 3))
    )
    shape = _shape(name, sided="superior_nasal" in names)
    # The disc lies on a quadrant, whose shade must not show through.
    ground = shape.format(Markup('fill="var(--paper)"')) if name == "disc" else ""
    return Markup('<g data-cell="{}"><title>{}</title>{}{}</g>').format(
        printable(cell), printable(f"{cell}: {said}"), ground, shape.format(look)
    )


def _shape(name: str, sided: bool) -> Markup:
    """The element of a region, with a place for how it looks."""
    middle, inner = _SIDE / 2, _RADIUS * CENTRE
    if name in ("centre", "disc"):
        right, down = (0.0, 0.0) if name == "centre" else _DISC if sided else _DISC_APART
        radius = inner if name == "centre" else _DISC_RADIUS
        x, y = middle + right * _RADIUS, middle + down * _RADIUS
        return Markup(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.2f}" {{}}/>')
    place = (SIDED_QUADRANTS if name in SIDED_QUADRANTS else QUADRANTS).index(name)
    right, down = (-1, 1)[place % 2], (-1, 1)[place // 2]
    clockwise = int(right * down > 0)
    ends = [(middle + right * radius, middle + down * radius) for radius in (_RADIUS, inner)]
    (far_x, far_y), (near_x, near_y) = ends
    return Markup(
        f'<path d="M{far_x:.2f},{middle:.2f}A{_RADIUS},{_RADIUS},0,0,{clockwise},{middle:.2f},{far_y:.2f}'
        f'V{near_y:.2f}A{inner:.2f},{inner:.2f},0,0,{1 - clockwise},{near_x:.2f},{middle:.2f}Z" {{}}/>'
    )
