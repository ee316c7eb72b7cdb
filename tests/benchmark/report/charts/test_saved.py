import base64
from xml.etree import ElementTree

import pytest

from benchmark.report.charts.drawing import Chart
from benchmark.report.charts.forest import auc_forest, ratio_forest
from benchmark.report.charts.saved import address, standalone
from tests.benchmark.report.charts.frames import ATTACK, SVG, cell, leaderboard


@pytest.fixture(scope="module")
def chart() -> Chart:
    made = ratio_forest(leaderboard(cell("dinov2", "lora"), cell(ATTACK, "full")))
    assert made
    return made


def test_a_saved_figure_refers_to_nothing_outside(chart: Chart) -> None:
    svg = standalone(chart, ATTACK)
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        assert element.tag.startswith(SVG)
        for name, value in element.attrib.items():
            assert "var(" not in value and "url(" not in value and not name.endswith("href")
    assert svg.count("http") == 1, "the namespace"
    colours = {element.get("fill") for element in root.iter()} | {element.get("stroke") for element in root.iter()}
    assert {"#6a3d80", "#a8322d", "#24599b"} <= colours, "the regions in the colours of the light page"
    fonts = {element.attrib["font-family"] for element in root.iter(f"{SVG}text")}
    assert len(fonts) == 1 and fonts.pop().endswith("sans-serif")


def test_a_saved_figure_has_its_title_its_size_and_all_marks(chart: Chart) -> None:
    root = ElementTree.fromstring(standalone(chart, "AUC in Kyoto"))
    paper, heading, drawing = root
    assert heading.text == "AUC in Kyoto"
    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"
    assert (paper.attrib["width"], paper.attrib["height"]) == (root.attrib["width"], root.attrib["height"])
    on_page = list(ElementTree.fromstring(chart.svg).iter(f"{SVG}title"))
    assert [title.text for title in drawing.iter(f"{SVG}title")] == [title.text for title in on_page]
    assert root.attrib["aria-label"] == ElementTree.fromstring(chart.svg).attrib["aria-label"]


def test_the_address_has_the_file() -> None:
    chart = auc_forest(leaderboard(cell("dinov2", "lora")))
    assert chart
    kind, _, content = address(chart, "AUC").partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content).decode() == standalone(chart, "AUC")
