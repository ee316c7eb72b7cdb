"""Convert an Altair chart to an SVG inside a page: without script, identifiers or anything to load.

Colours and font are CSS variables of the page, so one drawing serves the light page, the dark page and print. Every
mark has a tooltip (`<title>`), and names its trial as the rows of the page's tables do (`data-cell`), so that the
page's filter reaches it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from xml.etree import ElementTree

import altair as alt
import polars as pl
import vl_convert
from markupsafe import Markup

from benchmark.report.charts.names import printable

Channel = TypeVar("Channel", alt.X, alt.Y)

WIDTH = 320  # pixels: a phone shows a panel at its natural size, a wide page three side by side
FONT_SIZE = 11  # pixels
INK, QUIET, RULE, PAPER = "var(--ink)", "var(--quiet)", "var(--rule)", "var(--paper)"
FAINT = 0.5  # opacity of intervals
CELL, TOOLTIP = "data_cell", "tooltip"  # columns of `rows`

_THEME = alt.Config(
    background="transparent",
    font="var(--sans)",
    text=alt.MarkConfig(fontSize=FONT_SIZE, color=INK, baseline="middle"),
    point=alt.MarkConfig(filled=True, opacity=1),
    view=alt.ViewConfig(stroke=None),
    axis=alt.AxisConfig(
        domainColor=QUIET, gridColor=RULE, tickColor=QUIET, tickSize=4,
        labelColor=QUIET, labelFontSize=FONT_SIZE, labelPadding=3,
        titleColor=INK, titleFontSize=FONT_SIZE, titleFontWeight="normal",
    ),
    # Vega does not know the font of the page: labels at the ends of x are moved outward, to below their ticks.
    axisX=alt.AxisConfig(labelFlush=True, labelFlushOffset=6),
    axisY=alt.AxisConfig(titleX=-34),
    legend=alt.LegendConfig(
        orient="top", title=None, offset=8, columnPadding=12, rowPadding=1,
        labelColor=INK, labelFontSize=FONT_SIZE, symbolOpacity=1, symbolStrokeWidth=2,
    ),
)  # fmt: skip
_SVG = "http://www.w3.org/2000/svg"
_FRAMES = {"background", "foreground"}  # classes of empty paths around every group
_MARK = "mark:"  # begins the description of a mark; descriptions that Vega makes begin with other words
_FOR_SCRIPTS = {"class", "pointer-events", "role", "aria-hidden", "aria-label", "aria-roledescription"}


@dataclass(frozen=True)
class Chart:
    """One panel.

    Attributes:
        svg: an `<svg role="img">` with `alt` as its label and a viewBox, without a size of its own.
        title: the title of the panel; not part of the drawing.
        alt: a description of the drawing; names from a configuration are not escaped.
        width: its natural width in pixels, at which its text has the intended size.
    """

    svg: Markup
    title: str
    alt: str
    width: int


class Margins(NamedTuple):
    """Pixels around the plot for axes and legend; fixed, because the font of the page cannot be measured here."""

    top: int
    right: int
    bottom: int
    left: int

    @property
    def plot_width(self) -> int:
        return WIDTH - self.left - self.right


def rows(frame: pl.DataFrame) -> alt.Chart:
    """An empty chart with the rows of a frame; NaN becomes null, and text is made `printable`.

    Args:
        frame: the columns to be encoded; `TOOLTIP`, what a mark says in words; and, unless the marks belong to no
            trial, `CELL`, the trial's name. A line or an area has those of its first point.
    """
    frame = frame.fill_nan(None).with_columns(pl.col(pl.String).map_elements(printable, return_dtype=pl.String))
    cells = frame[CELL] if CELL in frame.columns else [None] * len(frame)
    # Vega writes a mark's description into the SVG, and nothing else of that kind. `_embeddable` takes it apart.
    described = [_MARK + json.dumps(of_mark) for of_mark in zip(cells, frame[TOOLTIP], strict=True)]
    frame = frame.drop(CELL, TOOLTIP, strict=False).with_columns(description=pl.Series(described, dtype=pl.String))
    # As text, because Altair would check and copy every number.
    chart = alt.Chart(alt.InlineData(values=frame.write_json(), format=alt.JsonDataFormat(type="json")))
    return chart.encode(description="description:N")


def pixels(channel: type[Channel], field: str, size: int) -> Channel:
    """The field in pixels from the upper left corner of a plot that is `size` pixels wide or high."""
    domain = (0, size) if channel is alt.X else (size, 0)
    return channel(f"{field}:Q", axis=None, scale=alt.Scale(domain=domain, nice=False, zero=False))


def draw(
    layers: Sequence[alt.Chart | alt.LayerChart | alt.FacetChart],
    margins: Margins,
    height: int,
    title: str,
    description: str,
    resolve: alt.Resolve | None = None,
) -> Chart:
    """The finished panel; the first layers lie below the later ones.

    Args:
        height: of the plot in pixels.
        title, description: the chart's `title` and `alt`.
        resolve: the axes or scales that layers do not share.
    """
    # All settings at once, because each method of a chart copies the whole chart.
    chart = alt.layer(
        *layers,
        width=margins.plot_width,
        height=height,
        padding=margins._asdict(),
        autosize=alt.AutoSizeParams(type="none"),
        config=_THEME,
        resolve=resolve or alt.Undefined,
    )
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return Chart(_embeddable(svg, description), title, description, WIDTH)


def _embeddable(svg: str, label: str) -> Markup:
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in [child for child in parent if child.get("class") in _FRAMES]:
            parent.remove(child)
    for element in list(root.iter()):
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if (description := element.get("aria-label", "")).startswith(_MARK):
            _describe(element, *json.loads(description.removeprefix(_MARK)))
        for name in _FOR_SCRIPTS & set(element.attrib):
            del element.attrib[name]
        if element.tag == "text" and "stroke" in element.attrib:
            element.set("paint-order", "stroke")  # the outline keeps lines away from letters; paint it below them
    root.attrib = {"xmlns": _SVG, "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": printable(label)}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _describe(mark: ElementTree.Element, cell: str | None, tooltip: str) -> None:
    title = ElementTree.Element("title")
    title.text = tooltip
    mark.insert(0, title)
    if cell is not None:
        mark.set("data-cell", cell)
