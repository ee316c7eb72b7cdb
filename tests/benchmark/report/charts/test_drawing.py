from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest

from benchmark.report.charts.drawing import CELL, TOOLTIP, WIDTH, Chart, Margins, draw, pixels, rows
from tests.benchmark.report.charts.frames import ATTACK, SVG, drawn


@pytest.fixture(scope="module")
def chart() -> Chart:
    frame = pl.DataFrame({"x": [10.0, 30.0, None, float("nan")], "name": [ATTACK, "b", "c", "d"]})
    frame = frame.with_columns(pl.col("name").alias(TOOLTIP), pl.col("name").alias(CELL))
    at = {"x": pixels(alt.X, "x", 300), "y": alt.value(5)}
    layers = [
        rows(frame.drop_nulls()).mark_text(stroke="var(--paper)").encode(**at, text="name:N"),
        rows(frame).mark_point(size=20).encode(**at, color=alt.Color("name:N", legend=None)),
    ]
    return draw(layers, Margins(top=7, right=10, bottom=3, left=10), 40, ATTACK, f"Names: {ATTACK}")


def test_a_chart_is_one_labelled_picture_without_a_size(chart: Chart) -> None:
    root = ElementTree.fromstring(chart.svg)
    assert root.attrib == {
        "viewBox": "0 0 320 50",
        "role": "img",
        "aria-label": "Names: <script>alert('1')</script>\"'&�",
    }
    assert (chart.width, chart.title, chart.alt) == (WIDTH, ATTACK, f"Names: {ATTACK}")


def test_nothing_can_collide_load_run_or_be_read_aloud(chart: Chart) -> None:
    assert "<script" not in chart.svg
    assert chart.svg.count("http") == 1  # the namespace
    root = ElementTree.fromstring(chart.svg)
    inner = [name for element in root.iter() for name in element.attrib if element is not root]
    assert not {
        name for name in inner if name in {"id", "class", "role", "style", "href"} or name.startswith(("aria", "on"))
    }
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {"svg", "g", "path", "line", "text", "title"}


def test_colours_and_font_are_the_page_s(chart: Chart) -> None:
    for _, _, text in drawn(chart, "text"):
        assert text.get("font-family") == "var(--sans)"
        assert text.get("font-size") == "11px"
        assert text.get("fill") == "var(--ink)"


def test_an_outline_lies_behind_its_letters(chart: Chart) -> None:
    assert [text.get("paint-order") for _, _, text in drawn(chart, "text", stroke="var(--paper)")] == ["stroke"] * 2


def test_pixels_are_pixels_and_rows_without_a_value_are_not_drawn(chart: Chart) -> None:
    places = [(x, y) for x, y, path in drawn(chart, "path") if path.get("d")]
    assert places == [(20, 12), (40, 12)]
