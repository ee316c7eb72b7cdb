"""The diagram has every count, is described in words, and nothing in it overlaps or leaves its box."""

import itertools
from xml.etree import ElementTree

import pytest

from benchmark.report.charts.flow import FONT_SIZE, LINE, TITLE, flow_chart
from benchmark.report.flow_words import flow_lines
from tests.benchmark.report.charts.frames import SVG, drawn, texts
from tests.benchmark.report.flows import DRAWN, EXTERNAL, FOLDER, LISTED

FLOWS = {"folder": FOLDER, "manifest": LISTED, "synthetic": DRAWN, "external": EXTERNAL}


def rectangles(chart):
    """x, y, right, bottom of every box."""
    found = []
    for _, _, element in drawn(chart, "rect"):
        x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_every_box_is_drawn_and_described(flow):
    chart = flow_chart(flow)
    root = ElementTree.fromstring(chart.svg)
    assert root.attrib["role"] == "img"
    assert root.find(f"{SVG}title").text == chart.title == TITLE
    lines = list(flow_lines(flow))
    assert len(rectangles(chart)) == len(lines)
    for line in lines:
        assert f"{line.title}: " in root.attrib["aria-label"]
        assert line.title in texts(chart)
    words = " ".join(texts(chart))
    assert all(count in words for count in ("140 images" if flow in (DRAWN, EXTERNAL) else "17 with the pixels",))


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_boxes_do_not_overlap_and_hold_their_text(flow):
    chart = flow_chart(flow)
    boxes = rectangles(chart)
    _, _, width, height = map(float, ElementTree.fromstring(chart.svg).attrib["viewBox"].split())
    for (x, y, right, bottom), (other_x, other_y, other_right, other_bottom) in itertools.combinations(boxes, 2):
        assert right <= other_x or other_right <= x or bottom <= other_y or other_bottom <= y
    for x, y, right, bottom in boxes:
        assert x >= 0 and y >= 0 and right <= width and bottom <= height
    for _, _, element in drawn(chart, "text"):
        x, y = float(element.attrib["x"]), float(element.attrib["y"])
        (box,) = [each for each in boxes if each[0] < x < each[2] and each[1] < y < each[3]]
        assert x + 0.5 * FONT_SIZE * len(element.text or "") < box[2], element.text
        assert box[1] + FONT_SIZE <= y <= box[3] - (LINE - FONT_SIZE)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_lines_lead_from_box_to_box(flow):
    """Every box but the first is reached by an arrow, and no line crosses a box."""
    chart = flow_chart(flow)
    boxes, lines = rectangles(chart), []
    for _, _, element in drawn(chart, "path", fill="none"):
        start, end = element.attrib["d"].removeprefix("M").split("L")
        lines.append([tuple(map(float, point.split(","))) for point in (start, end)])
    reached = [box for box in boxes if any(on_edge(end, box) for _, end in lines)]
    assert len(reached) == len(boxes) - 1
    for (x, y), (to_x, to_y) in lines:
        for left, top, right, bottom in boxes:
            inside = max(min(x, to_x), left) < min(max(x, to_x), right) and top < min(y, to_y) < bottom
            inside |= max(min(y, to_y), top) < min(max(y, to_y), bottom) and left < min(x, to_x) < right
            assert not inside


def on_edge(point, box):
    x, y = point
    left, top, right, bottom = box
    return (y == top and left <= x <= right) or (x in (left, right) and top <= y <= bottom)


def test_colours_are_those_of_the_page_and_names_are_not_markup():
    svg = flow_chart(FOLDER).svg
    colours = {element.attrib[name] for element in ElementTree.fromstring(svg).iter() for name in ("fill", "stroke")
               if name in element.attrib}  # fmt: skip
    assert colours == {"none", "var(--paper)", "var(--ink)", "var(--quiet)"}
    assert "<script>" not in svg
    assert "\x1b" not in svg
