import itertools
import re
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from benchmark.analysis.curves import TREAT_ALL
from benchmark.report.charts.curve_panels import benefit_gained, calibration_curves, decision_curves, roc_curves
from benchmark.report.charts.drawing import Chart
from tests.benchmark.report.charts.frames import (
    ATTACK,
    CURVES_SCHEMA,
    STRATEGIES,
    cell,
    curve,
    drawn,
    leaderboard,
    texts,
)

ROC = [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
BINS = [(0.1, 0.2, 0.1, 0.3), (0.5, 0.4, 0.2, 0.6), (0.8, 0.9, 0.7, 1.0)]
BENEFIT = [(0.1, 0.3), (0.2, 0.2), (0.3, 0.1), (0.4, -0.05), (0.5, 0.0), (0.6, 0.0)]
KINDS: dict[str, tuple[Callable[..., list[Chart]], list[tuple[float, ...]]]] = {
    "roc": (roc_curves, [*ROC]),
    "calibration": (calibration_curves, [*BINS]),
    "decision": (decision_curves, [*BENEFIT]),
}
FIRST = "var(--series-1)"  # classifier only


def grid(kind: str, backbones: tuple[str, ...], seeds: tuple[int, ...] = (0,)) -> pl.DataFrame:
    cells = itertools.product(backbones, STRATEGIES, seeds)
    return pl.concat(curve(kind, KINDS[kind][1], backbone, strategy, seed) for backbone, strategy, seed in cells)


def vertices(chart: Chart, colour: str) -> list[list[tuple[float, float]]]:
    """The points of every line of one colour, in pixels from the lower left corner of the plot, which is 264 wide."""
    lines = []
    for x, y, path in drawn(chart, "path", stroke=colour):
        pairs = re.findall(r"([-\d.]+),([-\d.]+)", path.get("d", ""))
        if (x, y) == _origin(chart) and pairs:
            lines.append([(float(right), 264 - float(down)) for right, down in pairs])
    return lines


def _origin(chart: Chart) -> tuple[float, float]:
    """The upper left corner of the plot: the position of the first group."""
    return next((x, y) for x, y, group in drawn(chart, "g") if group.get("transform"))


@pytest.mark.parametrize("kind", KINDS)
def test_one_panel_per_backbone_in_the_order_of_the_frame(kind: str) -> None:
    draw_all, _ = KINDS[kind]
    charts = draw_all(grid(kind, ("retfound", "dinov2")))
    assert [chart.title for chart in charts] == ["retfound", "dinov2"]
    assert all(f" {chart.title}: " in chart.alt and "classifier_only, partial, lora" in chart.alt for chart in charts)
    assert set(STRATEGIES) <= set(texts(charts[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_panels_have_the_order_of_the_leaderboard(kind: str) -> None:
    draw_all, _ = KINDS[kind]
    cells = [cell(backbone, strategy, auc=0.7) for backbone in ("dinov2", "retfound") for strategy in STRATEGIES]
    ranked = leaderboard(*cells).with_columns(n_images=40)
    assert [chart.title for chart in draw_all(grid(kind, ("retfound", "dinov2", "other")), ranked)] == [
        "dinov2",
        "retfound",
        "other",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_without_data_there_is_no_panel(kind: str) -> None:
    draw_all, _ = KINDS[kind]
    assert draw_all(pl.DataFrame(schema=CURVES_SCHEMA)) == []
    unknown = curve(kind, [(float("nan"), float("nan"))], "dinov2", "lora")
    assert draw_all(unknown) == []
    other = "roc" if kind == "decision" else "decision"
    assert draw_all(grid(other, ("dinov2",))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_several_seeds_are_several_thin_lines(kind: str) -> None:
    draw_all, _ = KINDS[kind]
    (one,), (several,) = (draw_all(grid(kind, ("dinov2",), seeds)) for seeds in ((3,), (0, 1, 2)))
    assert len(vertices(one, FIRST)) == 1
    assert len(vertices(several, FIRST)) == 3
    thin = drawn(several, "path", stroke=FIRST, stroke_width="0.9")
    assert len([path for x, y, path in thin if (x, y) == _origin(several)]) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_escaped(kind: str) -> None:
    draw_all, points = KINDS[kind]
    (chart,) = draw_all(curve(kind, points, ATTACK, ATTACK))
    assert "<script" not in chart.svg
    assert any(text.startswith("<script>alert") for text in texts(chart))
    assert chart.title == ATTACK


def test_the_roc_curve_goes_through_its_corners_over_a_diagonal() -> None:
    (chart,) = roc_curves(curve("roc", [*ROC], "dinov2", "classifier_only"))
    assert vertices(chart, FIRST) == [[(264 * x, 264 * y) for x, y in ROC]]
    assert vertices(chart, "var(--quiet)") == [[(0, 0), (264, 264)]]


def test_a_roc_curve_of_many_images_stays_small() -> None:
    n = 50_000
    (chart,) = roc_curves(curve("roc", [(place / n, (place / n) ** 0.5) for place in range(n + 1)], "a", "lora"))
    assert len(chart.svg) < 30_000


def test_lines_differ_without_colour() -> None:
    (chart,) = roc_curves(grid("roc", ("dinov2",)))
    colours = [f"var(--series-{number})" for number in (1, 2, 3)]
    dashes = {path.get("stroke-dasharray") for colour in colours for _, _, path in drawn(chart, "path", stroke=colour)}
    assert len(dashes) == 3


def test_calibration_has_points_with_intervals_where_there_is_one_seed() -> None:
    (one,) = calibration_curves(curve("calibration", [*BINS], "dinov2", "classifier_only"))
    (line,) = vertices(one, FIRST)
    assert np.array(line) == pytest.approx(np.array([bin[:2] for bin in BINS]) * 264 / 0.9 - 264 * 0.1 / 0.9, abs=0.01)
    heights = sorted(abs(float(line.get("y2", 0))) for _, _, line in drawn(one, "line", stroke=FIRST))
    assert heights == pytest.approx([264 * high / 0.9 for high in (0.2, 0.3, 0.4)], abs=0.01)
    (several,) = calibration_curves(grid("calibration", ("dinov2",), (0, 1)))
    assert not drawn(several, "line", stroke=FIRST)
    (without,) = calibration_curves(curve("calibration", [bin[:2] for bin in BINS], "dinov2", "lora"))
    assert not drawn(without, "line", stroke="var(--series-3)")


def test_calibration_axes_are_as_narrow_as_what_is_drawn_and_all_panels_alike() -> None:
    narrow = curve("calibration", [(0.42, 0.44, 0.31, 0.59), (0.46, 0.53, 0.41, 0.64)], "dinov2", "classifier_only")
    low = curve("calibration", [(0.22, 0.3, 0.21, 0.4), (0.3, 0.3, 0.2, 0.4)], "retfound", "classifier_only")
    assert _drawn_at(calibration_curves(narrow)[0], (0.3, 0.65)) == pytest.approx([0.42, 0.44, 0.46, 0.53], abs=1e-3)
    together = calibration_curves(pl.concat([narrow, low]))
    assert _drawn_at(together[0], (0.2, 0.65)) == pytest.approx([0.42, 0.44, 0.46, 0.53], abs=1e-3)
    assert _drawn_at(together[1], (0.2, 0.65)) == pytest.approx([0.22, 0.3, 0.3, 0.3], abs=1e-3)
    # Intervals that are not drawn, since there are two seeds, take no room.
    seeds = calibration_curves(pl.concat([narrow, narrow.with_columns(seed=pl.lit(1, pl.Int64))]))
    assert _drawn_at(seeds[0], (0.4, 0.55)) == pytest.approx([0.42, 0.44, 0.46, 0.53], abs=1e-3)


def _drawn_at(chart: Chart, ends: tuple[float, float]) -> list[float]:
    """x and y of the points of the first strategy's line, if both axes reach from one of the ends to the other."""
    line = np.array(vertices(chart, FIRST)[0])
    return (ends[0] + line * (ends[1] - ends[0]) / 264).ravel().tolist()


def test_every_line_of_the_grid_of_calibration_has_its_number() -> None:
    (chart,) = calibration_curves(curve("calibration", [(0.3, 0.4, 0.2, 0.8)], "dinov2", "lora"))
    shown = [text for _, _, text in drawn(chart, "text") if text.get("opacity") == "1"]
    assert [text.text for text in shown].count("0.5") == 2, "on both axes"


def test_decision_curves_are_compared_with_treating_all_and_none() -> None:
    model = curve("decision", [*BENEFIT], "dinov2", "classifier_only")
    everyone = curve("decision", [(0.1, 0.3), (0.2, 0.15), (0.3, -0.05), (0.4, -5.0)], TREAT_ALL, "")
    (chart,) = decision_curves(pl.concat([model, everyone]))
    assert {"treat all", "treat none"} <= set(texts(chart))
    assert chart.alt.endswith("net benefit of classifier_only, compared with treat all and treat none.")
    # The axes run from 0 to 0.4, where the model treats none, and from -0.1 to 0.3: at least as far as -0.09.
    references = sorted(vertices(chart, "var(--quiet)"), key=len)
    nothing = 264 * 0.1 / 0.4
    assert [len(line) for line in references] == [2, 4]
    assert references[1][-1] == (264, 0)  # the end of the axis, far above the -5
    assert np.array(references[0]) == pytest.approx(np.array([(0, nothing), (264, nothing)]), abs=0.01)
    (line,) = vertices(chart, FIRST)
    expected = np.array(BENEFIT[:4]) * (264 / 0.4, 264 / 0.4) + (0, nothing)
    assert np.array(line) == pytest.approx(expected, abs=0.01)
    (alone,) = decision_curves(model)
    assert "treat all" not in texts(alone)


def test_a_line_that_falls_below_the_axis_stays_whole_and_comes_back() -> None:
    points = [(0.1, 0.3), (0.2, -4.0), (0.3, -4.0), (0.4, 0.1), (0.5, 0.1)]
    everyone = curve("decision", [(0.1, 0.3), (0.2, 0.1), (0.3, -1.0), (0.4, -2.0), (0.5, -9.0)], TREAT_ALL, "")
    (chart,) = decision_curves(pl.concat([curve("decision", points, "dinov2", "classifier_only"), everyone]))
    (line,) = vertices(chart, FIRST)
    assert [x for x, _ in line] == pytest.approx([264 * x / 0.5 for x, _ in points], abs=0.01)
    assert [y for _, y in line[1:3]] == [0, 0]
    assert line[3][1] == pytest.approx(264 * 0.2 / 0.4, abs=0.01)
    *_, treat_all = sorted(vertices(chart, "var(--quiet)"), key=len)
    assert [y for _, y in treat_all].count(0) == 1, "treating all never comes back, and ends there"


def test_references_are_thinner_and_paler_than_any_strategy_and_broken() -> None:
    everyone = curve("decision", [(0.1, 0.3), (0.2, 0.1)], TREAT_ALL, "")
    (chart,) = decision_curves(pl.concat([grid("decision", ("dinov2",)), everyone]))
    lines = [path for _, _, path in drawn(chart, "path") if path.get("stroke-dasharray")]
    references = [path for path in lines if path.get("stroke") == "var(--quiet)"]
    strategies = [path for path in lines if "--series" in path.get("stroke", "")]
    assert len(references) == 4 and len(strategies) == 6  # each one in the plot and in the legend
    for look in ("stroke-width", "opacity"):
        assert max(float(path.get(look, 1)) for path in references) < min(
            float(path.get(look, 1)) for path in strategies
        )
    assert "1,0" not in {path.get("stroke-dasharray") for path in references}


def test_models_that_never_act_have_decision_curves_too() -> None:
    (chart,) = decision_curves(curve("decision", [(0.1, 0.0), (0.9, 0.0)], "dinov2", "lora"))
    ((first, last),) = vertices(chart, "var(--series-3)")
    assert first[1] == last[1] == pytest.approx(264 * 0.4 / 1.4, abs=0.01)


GAINED_TO_NONE = [(0.1, 0.3, 0.2, 0.4), (0.3, 0.1, 0.05, 0.15), (0.5, 0.02, -0.04, 0.08)]
GAINED_TO_ALL = [(0.1, 0.02, -0.01, 0.05), (0.3, 0.12, 0.06, 0.2), (0.5, 0.4, 0.3, 0.5)]


def gained(backbone: str = "dinov2", seed: int = 0) -> pl.DataFrame:
    """Treating all is the better of the two at 0.1, treating none at 0.3 and 0.5."""
    of_cell = (backbone, "classifier_only", seed)
    return pl.concat(
        [curve("decision", GAINED_TO_NONE, *of_cell), curve("decision_difference", GAINED_TO_ALL, *of_cell)]
    )


def test_benefit_gained_is_over_the_better_of_treating_all_and_none() -> None:
    """The axis reaches to twice the highest gain, 0.1, either way."""
    (chart,) = benefit_gained(gained())
    (line,) = vertices(chart, FIRST)
    expected = [(0.1, 0.02), (0.3, 0.1), (0.5, 0.02)]
    assert np.array(line) == pytest.approx(
        np.array([(264 * (x - 0.1) / 0.4, 132 + 132 * y / 0.2) for x, y in expected]), abs=0.01
    )
    assert chart.alt.endswith("the better of treating all and treating none, which is the dotted line at 0.")


def test_benefit_gained_has_a_band_where_there_is_one_seed() -> None:
    (chart,) = benefit_gained(gained())
    ((_, _, area),) = drawn(chart, "path", fill=FIRST, opacity="0.18")
    heights = {round(float(y), 1) for y in re.findall(r",([-\d.]+)", area.get("d", ""))}
    bounds = [bound for *_, low, high in (GAINED_TO_ALL[0], *GAINED_TO_NONE[1:]) for bound in (low, high)]
    assert heights == {round(132 - 132 * bound / 0.2, 1) for bound in bounds}
    (several,) = benefit_gained(pl.concat([gained(), gained(seed=1)]))
    assert not drawn(several, "path", fill=FIRST, opacity="0.18")
    assert len(vertices(several, FIRST)) == 2


def test_benefit_gained_is_drawn_where_a_model_acts_otherwise_than_the_better_of_the_two() -> None:
    """A band around a model that acts alike on every image would hide those that do not."""
    alike = [(0.05, 0.4, 0.3, 0.5), (0.6, 0.0, -0.1, 0.1)]
    ends = pl.concat(
        [
            curve("decision", alike, "dinov2", "classifier_only"),
            curve("decision_difference", [(0.05, 0.0, -0.1, 0.1), (0.6, 0.4, 0.3, 0.5)], "dinov2", "classifier_only"),
        ]
    )
    (plain,), (chart,) = benefit_gained(gained()), benefit_gained(pl.concat([gained(), ends]))
    assert vertices(chart, FIRST) == vertices(plain, FIRST)
    assert benefit_gained(ends) == []


def test_benefit_gained_has_a_panel_for_each_backbone_and_needs_both_curves() -> None:
    charts = benefit_gained(pl.concat([gained("retfound"), gained("dinov2")]))
    assert [chart.title for chart in charts] == ["retfound", "dinov2"]
    assert benefit_gained(curve("decision", GAINED_TO_NONE, "dinov2", "lora")) == []
    assert benefit_gained(pl.DataFrame(schema=CURVES_SCHEMA)) == []
