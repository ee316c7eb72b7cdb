"""A chart as a file of its own: an SVG that needs no page, with its title, in the colours of the light page."""

import base64
import functools
import re
from pathlib import Path
from xml.etree import ElementTree

from benchmark.report.charts.drawing import Chart
from benchmark.report.charts.names import printable

_STYLE = Path(__file__).resolve().parents[1] / "templates" / "style.css"
_SVG = "http://www.w3.org/2000/svg"
_TITLE_HEIGHT, _MARGIN, _FONT_SIZE = 24, 10, 13  # pixels


def standalone(chart: Chart, title: str) -> str:
    """The chart as an XML document with a size, a background and a title; nothing in it refers to anything outside."""
    root = ElementTree.fromstring(chart.svg)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        for name, value in element.attrib.items():
            if value.startswith("var(--"):
                element.set(name, _variables()[value.removeprefix("var(").removesuffix(")")])
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    drawing = ElementTree.Element("g", transform=f"translate(0,{_TITLE_HEIGHT})")
    drawing.extend(list(root))
    page = {"width": f"{width:g}", "height": f"{height + _TITLE_HEIGHT:g}"}
    for child in list(root):
        root.remove(child)
    ink, font = _variables()["--ink"], _variables()["--sans"]
    look = {"fill": ink, "font-family": font, "font-size": f"{_FONT_SIZE}px", "font-weight": "600"}
    heading = ElementTree.Element("text", {"x": f"{_MARGIN}", "y": "16"} | look)
    heading.text = printable(title)
    root.extend([ElementTree.Element("rect", page | {"fill": _variables()["--paper"]}), heading, drawing])
    root.attrib |= page | {"xmlns": _SVG, "viewBox": f"0 0 {page['width']} {page['height']}"}
    return ElementTree.tostring(root, encoding="unicode")


def address(chart: Chart, title: str) -> str:
    """The file as a data: address for a link."""
    return "data:image/svg+xml;base64," + base64.b64encode(standalone(chart, title).encode()).decode("ascii")


@functools.cache
def _variables() -> dict[str, str]:
    """The custom properties of the light page; font names in single quotes, which XML allows in attributes."""
    root = re.search(r":root \{(.*?)\}", _STYLE.read_text(encoding="utf-8"), re.DOTALL)
    if root is None:
        raise ValueError(f"{_STYLE} has no :root")
    return {name: value.strip().replace('"', "'") for name, value in re.findall(r"(--[\w-]+):([^;]+);", root[1])}
