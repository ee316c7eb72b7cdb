import itertools

import polars as pl
import pytest

from benchmark.report.charts.drawing import WIDTH, Chart
from benchmark.report.charts.forest import added_forest, auc_forest, ratio_forest
from tests.benchmark.report.charts.frames import ATTACK, STRATEGIES, cell, drawn, failed, leaderboard, texts, written

LEFT, RIGHT = 10, WIDTH - 10  # of the plot
CELLS = leaderboard(
    cell("dinov2", "lora", auc=0.8), cell("retfound", "full", auc=0.65), cell("dinov2", "partial", auc=0.5)
)


def made(chart: Chart | None) -> Chart:
    assert chart is not None
    return chart


def points(chart: Chart, colour: str) -> list[tuple[float, float]]:
    """The positions of the estimates of one colour, without those of the legend."""
    top = min(y for _, y, _ in drawn(chart, "text", fill="var(--ink)", stroke="var(--paper)"))
    return [(x, y) for x, y, _ in drawn(chart, "path", fill=colour) if y > top]


def intervals(chart: Chart, colour: str) -> list[tuple[float, float]]:
    """Start and end of the intervals of one colour."""
    return [(round(x, 1), round(x + float(line.get("x2", 0)), 1)) for x, _, line in drawn(chart, "line", stroke=colour)]


def test_cells_come_in_the_order_of_the_leaderboard() -> None:
    names = [(y, written(text)) for _, y, text in drawn(made(auc_forest(CELLS)), "text", stroke="var(--paper)")]
    assert [name for _, name in names] == ["dinov2, lora", "retfound, full", "dinov2, partial"]
    assert names == sorted(names, key=lambda name: name[0])


def test_estimates_and_intervals_lie_at_their_values() -> None:
    chart = made(auc_forest(CELLS))
    # From 0.45 to 0.85: 75 pixels are 0.1.
    assert [x for x, _ in points(chart, "var(--prediction)")] == pytest.approx([272.5, 160, 47.5], abs=0.6)
    assert intervals(chart, "var(--prediction)") == [(235, 310), (122.5, 197.5), (10, 85)]


def test_forests_along_the_same_cells_have_one_axis() -> None:
    charts = [made(auc_forest(cells, CELLS)) for cells in (CELLS, CELLS.head(1), CELLS.tail(1))]
    ticks = [[text for text in texts(chart) if text[0].isdigit()] for chart in charts]
    assert ticks[0] == ticks[1] == ticks[2]
    ((low, _),) = points(charts[2], "var(--prediction)")
    ((high, _),) = points(charts[1], "var(--prediction)")
    assert [high, low] == pytest.approx([272.5, 47.5], abs=0.6), "at the same position as among all trials"


def test_the_reference_line_is_chance_or_no_preference() -> None:
    ((auc, _, _),) = drawn(made(auc_forest(CELLS)), "line", stroke_dasharray="2,2")
    assert auc == pytest.approx(47.5, abs=1)
    chart = made(ratio_forest(leaderboard(cell("a", "lora", vessel_ratio=2, artery_ratio=0.5))))
    ((ratio, _, _),) = drawn(chart, "line", stroke_dasharray="2,2")
    (vessel, _), (artery, _) = points(chart, "var(--vessel)")[0], points(chart, "var(--artery)")[0]
    assert ratio - artery == pytest.approx(vessel - ratio, abs=1.5)  # factors are drawn alike


def test_the_null_of_a_ratio_takes_the_place_of_no_preference() -> None:
    """A tick on the vessel line of each trial with a value by chance; the dashed line passes all other lines."""
    cells = leaderboard(cell("a", "lora", vessel_ratio=2), cell("b", "lora", vessel_ratio=1.5))
    cells = cells.with_columns(vessel_ratio_null=pl.Series([1.5, None], dtype=pl.Float64))
    chart = made(ratio_forest(cells))
    ((x, y, tick),) = drawn(chart, "line", stroke="var(--ink)")
    second = points(chart, "var(--vessel)")[1]
    assert x == pytest.approx(second[0], abs=1), "where a ratio of 1.5 is"
    assert y + float(tick.get("y2", 0)) / 2 == pytest.approx(points(chart, "var(--vessel)")[0][1], abs=1)
    dashed = [(y, y + float(line.get("y2", 0))) for _, y, line in drawn(chart, "line", stroke_dasharray="2,2")]
    assert len(dashed) == 5, "artery and vein of both, vessel of the second"
    assert not any(min(ends) < y + float(tick.get("y2", 0)) / 2 < max(ends) for ends in dashed)
    assert "the vertical tick on a vessel line is the ratio on other patients' vessels" in chart.alt
    far = made(ratio_forest(cells.with_columns(vessel_ratio_null=pl.lit(4.0))))
    assert len(drawn(far, "line", stroke="var(--ink)")) == 2, "the scale includes the value by chance"


def test_every_region_has_a_line_of_its_own_and_a_shape() -> None:
    chart = made(ratio_forest(CELLS))
    assert {"vessel", "artery", "vein"} <= set(texts(chart))
    places = [points(chart, f"var(--{region})") for region in ("vessel", "artery", "vein")]
    for vessel, artery, vein in zip(*places, strict=True):
        assert vein[1] - artery[1] == artery[1] - vessel[1] == 8
    shapes = {
        path.get("d")
        for region in ("vessel", "artery", "vein")
        for _, _, path in drawn(chart, "path", fill=f"var(--{region})")[-1:]
    }
    assert len(shapes) == 3


def test_both_ratio_forests_have_one_scale() -> None:
    cells = leaderboard(cell("a", "lora", vessel_ratio=3, vessel_ratio_fov=1.5))
    ticks = [
        [text for text in texts(made(ratio_forest(cells, suffix))) if text[0].isdigit()] for suffix in ("", "_fov")
    ]
    assert ticks[0] == ticks[1]


@pytest.mark.parametrize(("ratio", "edge"), [(0.0, LEFT), (-0.0, LEFT), (1e9, RIGHT)])
def test_a_ratio_off_the_scale_is_an_arrow_at_its_end(ratio: float, edge: float) -> None:
    cells = leaderboard(cell("a", "lora", vessel_ratio=ratio), cell("b", "lora", vessel_ratio=1.1))
    ((off, _), (on, _)) = sorted(
        points(made(ratio_forest(cells)), "var(--vessel)"), key=lambda place: abs(place[0] - edge)
    )
    assert off == pytest.approx(edge, abs=0.6)
    assert LEFT < on < RIGHT


def test_an_interval_off_the_scale_ends_in_an_arrow() -> None:
    row = cell("a", "lora", vessel_ratio=2) | {"vessel_ratio_high": 1e6, "vessel_ratio_low": 1.0}
    chart = made(ratio_forest(leaderboard(row)))
    assert max(end for _, end in intervals(chart, "var(--vessel)")) == RIGHT
    assert [x for x, _ in points(chart, "var(--vessel)")][1:] == pytest.approx([RIGHT], abs=0.6)


def test_failed_cells_and_cells_without_a_ratio_are_left_out() -> None:
    bare = cell("b", "lora") | {f"{region}_ratio": None for region in ("vessel", "artery", "vein")}
    cells = leaderboard(cell("a", "lora"), bare, failed("c", "lora"))
    assert {"a, lora", "b, lora"} == {text for text in texts(made(auc_forest(cells))) if "lora" in text}
    assert {"a, lora"} == {text for text in texts(made(ratio_forest(cells))) if "lora" in text}
    only_failed = leaderboard(failed("c", "lora"))
    assert auc_forest(only_failed) is ratio_forest(only_failed) is ratio_forest(only_failed, "_fov") is None
    assert auc_forest(CELLS.clear()) is None


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_an_estimate_without_an_interval_is_a_point(missing: float | None) -> None:
    chart = made(auc_forest(leaderboard(cell("a", "lora") | {"auc_low": missing, "auc_high": missing})))
    assert len(points(chart, "var(--prediction)")) == 1
    assert not intervals(chart, "var(--prediction)")


@pytest.mark.parametrize("n", [1, 40])
def test_any_number_of_cells_has_room(n: int) -> None:
    cells = leaderboard(*(cell(f"{ATTACK}{place}" + 40 * "m", STRATEGIES[place % 3]) for place in range(n)))
    chart = made(auc_forest(cells))
    rows = [y for _, y, _ in drawn(chart, "text", stroke="var(--paper)")]
    assert len(rows) == n
    assert all(later - earlier >= 40 for earlier, later in itertools.pairwise(rows))
    assert "<script" not in chart.svg


def test_the_description_names_the_highest_and_the_lowest() -> None:
    assert made(auc_forest(CELLS)).alt == (
        "AUC, 3 trials with intervals; the dashed line at 0.5 is chance. "
        "Highest AUC: dinov2, lora; lowest: dinov2, partial."
    )
    alone = made(ratio_forest(CELLS.head(1).with_columns(pl.lit(1.3).alias("vessel_ratio"))))
    assert alone.alt == (
        "Ratio to everything that is not vessel, 1 trial with intervals; the dashed line at 1 is no preference."
    )


def test_models_with_and_without_the_score_are_three_lines_of_a_trial() -> None:
    values = {"auc_both": 0.8, "auc_covariates": 0.65, "auc_score": 0.7}
    trial = {"backbone": "dinov2", "strategy": "lora", "seed": 0}
    for name, value in tuple(values.items()):
        values |= {f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
    chart = made(added_forest(pl.DataFrame([trial | values])))
    # From 0.5 to 0.9: 75 pixels are 0.1.
    for colour, x in (("prediction", 235), ("series-2", 122.5), ("series-3", 160)):
        assert [place for place, _ in points(chart, f"var(--{colour})")] == pytest.approx([x], abs=0.6)
    assert "AUC of covariates and score 0.800 (interval 0.700 to 0.900)" in chart.svg
    unknown = pl.DataFrame([trial | dict.fromkeys(values)], schema_overrides=dict.fromkeys(values, pl.Float64))
    assert added_forest(unknown) is None
