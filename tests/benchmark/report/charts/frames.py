"""Small leaderboards and curves, and the positions of the elements of a chart."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import polars as pl

from benchmark.report.charts.drawing import Chart

STRATEGIES = ("classifier_only", "partial", "lora")
ATTACK = "<script>alert('1')</script>\"'&\x1b"
SVG = "{http://www.w3.org/2000/svg}"
MEASURES = ("auc", *(f"{region}_ratio{suffix}" for suffix in ("", "_fov") for region in ("vessel", "artery", "vein")))
LEADERBOARD_SCHEMA = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    **{f"{measure}{end}": pl.Float64 for measure in MEASURES for end in ("", "_low", "_high")},
    "status": pl.String,
}
CURVES_SCHEMA = {
    "backbone": pl.String,
    "strategy": pl.String,
    "seed": pl.Int64,
    "curve": pl.String,
    **dict.fromkeys(("x", "y", "low", "high"), pl.Float64),
    "n": pl.Int64,
}


def cell(backbone: str, strategy: str, seed: int = 0, width: float = 0.05, **estimates: float) -> dict[str, Any]:
    """A row of the leaderboard: every measure with bounds `width` to either side."""
    row: dict[str, Any] = {"backbone": backbone, "strategy": strategy, "seed": seed, "status": "ok"}
    for measure in MEASURES:
        value = estimates.get(measure, 0.7 if measure == "auc" else 1.2)
        row |= {measure: value, f"{measure}_low": value - width, f"{measure}_high": value + width}
    return row


def failed(backbone: str, strategy: str) -> dict[str, Any]:
    return {"backbone": backbone, "strategy": strategy, "seed": 0, "status": "out of memory"}


def leaderboard(*cells: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(cells, schema=LEADERBOARD_SCHEMA)


def curve(kind: str, points: list[tuple[float, ...]], backbone: str, strategy: str, seed: int = 0) -> pl.DataFrame:
    """Points are (x, y), or (x, y, low, high)."""
    of = {"backbone": backbone, "strategy": strategy, "seed": seed, "curve": kind}
    return pl.DataFrame(
        [of | dict(zip(("x", "y", "low", "high"), point, strict=False)) for point in points], schema=CURVES_SCHEMA
    )


def drawn(chart: Chart, tag: str, **attributes: str) -> list[tuple[float, float, Element]]:
    """Every element with this tag and these attributes (`stroke_width` for stroke-width), with its origin."""
    wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
    return [
        (x, y, element)
        for x, y, element in _placed(ElementTree.fromstring(chart.svg), 0, 0)
        if element.tag == SVG + tag and wanted.items() <= element.attrib.items()
    ]


def texts(chart: Chart) -> list[str]:
    return [written(element) for _, _, element in drawn(chart, "text")]


def written(element: Element) -> str:
    """What a text shows: not its tooltip."""
    return (element.text or "") + "".join("".join(part.itertext()) for part in element if part.tag != SVG + "title")


def _placed(element: Element, x: float, y: float) -> Iterator[tuple[float, float, Element]]:
    for shift in re.findall(r"translate\(([^)]*)\)", element.get("transform", "")):
        right, down = (float(part) for part in shift.split(","))
        x, y = x + right, y + down
    yield x, y, element
    for child in element:
        yield from _placed(child, x, y)
