import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report.charts.quadrants import full_shade, quadrant_glyph, shade_key, shown_regions
from tests.benchmark.report.charts.frames import SVG
from xai.regions import QUADRANTS, SIDED_QUADRANTS, region_names

CELL = "dinov2, lora, seed 0"


def found(ratio: float | None) -> dict[str, float | int | None] | None:
    return None if ratio is None else {"ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1, "n_images": 1230}


def parts(glyph: str) -> dict[str, ElementTree.Element]:
    """The last shape of every region, by its name in the tooltip."""
    shapes = {}
    for group in ElementTree.fromstring(glyph).iter(f"{SVG}g"):
        title = group.findtext(f"{SVG}title") or ""
        assert group.get("data-cell") == CELL
        assert title.startswith(f"{CELL}: ")
        shapes[title.removeprefix(f"{CELL}: ").split(":")[0]] = group[-1]
    return shapes


@given(st.lists(st.none() | st.floats(0, 50), min_size=7, max_size=7))
def test_the_shades_are_the_ratios(ratios: list[float | None]) -> None:
    names = shown_regions(region_names(sided=True, disc=True))
    top = full_shade(ratios)
    glyph = quadrant_glyph({name: found(ratio) for name, ratio in zip(names, ratios, strict=False)}, CELL, top)
    shapes = parts(glyph)
    assert len(shapes) == len(names) == 6
    for (said, shape), ratio in zip(shapes.items(), ratios, strict=False):
        shade = shape.get("fill-opacity")
        assert said.replace("optic ", "") in {name.replace("_", " ") for name in names}
        assert (shade is None) == (ratio is None)
        if ratio is not None:
            assert float(shade or "") * top == pytest.approx(ratio, abs=0.001 * top)


@given(st.lists(st.floats(0, 1e3), max_size=5))
def test_no_ratio_exceeds_the_full_shade(ratios: list[float]) -> None:
    assert full_shade([*ratios, None]) >= max([*ratios, 1])


def test_a_region_states_its_numbers() -> None:
    glyph = quadrant_glyph({"superior_nasal": found(1.3), "disc": None}, CELL, 2)
    numbers = "superior nasal: 1.30 (interval 1.20 to 1.40) times the mean of the field of view, n = 1,230 images"
    assert f"<title>{CELL}: {numbers}</title>" in glyph
    assert f'aria-label="{CELL}: {numbers}; optic disc: not known"' in glyph


@pytest.mark.parametrize("names", [SIDED_QUADRANTS, QUADRANTS])
def test_quadrants_lie_where_they_are_in_a_right_eye(names: tuple[str, ...]) -> None:
    """Above and below, and to both sides: each quadrant begins at its side and is drawn to its end."""
    shapes = parts(quadrant_glyph({name: found(1) for name in names}, CELL, 2))
    for name, right, lower in zip(names, (False, True, False, True), (False, False, True, True), strict=True):
        path = shapes[name.replace("_", " ")].attrib["d"]
        x, y, end_x, end_y = map(
            float,
            re.match(r"M([\d.]+),([\d.]+)A34,34,0,0,\d,([\d.]+),([\d.]+)", path).groups(),  # type: ignore[union-attr]
        )
        assert (x > 36, y) == (right, 36)
        assert (end_x, end_y > 36) == (36, lower)


def test_the_ring_has_no_place_and_missing_regions_are_left_out() -> None:
    assert shown_regions(region_names(sided=False, disc=False)) == ["centre", *QUADRANTS]
    assert parts(quadrant_glyph({"ring": found(1), "centre": found(1)}, CELL, 2)).keys() == {"centre"}


def test_the_disc_lies_on_the_nasal_side_where_sides_are_known() -> None:
    def place(*names: str) -> tuple[float, float]:
        disc = parts(quadrant_glyph({name: found(1) for name in (*names, "disc")}, CELL, 2))["optic disc"]
        return float(disc.attrib["cx"]) - 36, float(disc.attrib["cy"]) - 36

    x, y = place(*SIDED_QUADRANTS)
    assert x > 15 and (x**2 + y**2) ** 0.5 + 5 < 34, "inside the field of view"
    x, y = place(*QUADRANTS)
    assert (x**2 + y**2) ** 0.5 > 34 + 5, "apart from it"


def test_names_are_escaped() -> None:
    glyph = quadrant_glyph({"centre": found(1)}, "<script>\"'&\x1b", 2)
    group = next(ElementTree.fromstring(glyph).iter(f"{SVG}g"))
    assert group.get("data-cell") == "<script>\"'&\N{REPLACEMENT CHARACTER}"


def test_the_key_runs_from_nothing_to_the_full_shade() -> None:
    shades = [float(step.attrib["fill-opacity"]) for step in ElementTree.fromstring(shade_key())]
    assert shades == sorted(shades) and (shades[0], shades[-1]) == (0, 1)
