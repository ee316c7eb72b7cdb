import polars as pl
import pytest

from benchmark.analysis import published as reference
from benchmark.report.charts.drawing import Chart
from benchmark.report.charts.scatter import scatter
from tests.benchmark.report.charts.frames import ATTACK, cell, drawn, failed, leaderboard, texts, written

SIDE, LEFT, TOP = 264, 46, 8  # of the plot, in pixels
CELLS = leaderboard(
    cell("dinov2", "lora", auc=0.8, vessel_ratio=2),
    failed("retfound", "full"),
    cell("dinov2", "partial", auc=0.6, vessel_ratio=0.5),
)
LORA, PARTIAL = "var(--series-3)", "var(--series-2)"


def made(chart: Chart | None) -> Chart:
    assert chart is not None
    return chart


def points(chart: Chart, **attributes: str) -> list[tuple[float, float]]:
    """Points of the plot, from its lower left corner, without those of the key."""
    places = [(x - LEFT, TOP + SIDE - y) for x, y, path in drawn(chart, "path", **attributes)]
    return [(x, y) for x, y in places if y >= -1]


def test_points_lie_at_auc_and_ratio_with_both_intervals() -> None:
    chart = made(scatter(CELLS))
    ((lora_x, lora_y),), ((partial_x, partial_y),) = points(chart, fill=LORA), points(chart, fill=PARTIAL)
    # From 0.5 to 0.85, and by factors around 1.
    assert lora_x == pytest.approx(SIDE * 0.3 / 0.35, abs=0.6)
    assert partial_x == pytest.approx(SIDE * 0.1 / 0.35, abs=0.6)
    ((_, one, _),) = [line for line in drawn(chart, "line", stroke_dasharray="2,2") if line[2].get("y2") == "0"]
    assert lora_y - (TOP + SIDE - one) == pytest.approx((TOP + SIDE - one) - partial_y, abs=1.5)
    bars = [
        (abs(float(bar.get("x2", 0))), abs(float(bar.get("y2", 0)))) for _, _, bar in drawn(chart, "line", stroke=LORA)
    ]
    assert sorted(across > up for across, up in bars) == [False, True]
    assert max(across for across, _ in bars) == pytest.approx(SIDE * 0.1 / 0.35, abs=0.01)


def key(chart: Chart) -> list[tuple[str, str]]:
    """The lines of the key from top to bottom: label in the plot and name."""
    below = [(x, round(y), written(text)) for x, y, text in drawn(chart, "text") if y > TOP + SIDE + 40]
    names, labels = ({y: text for x, y, text in below if x == at} for at in (LEFT, LEFT - 18))
    return [(labels.get(y, ""), names[y]) for y in sorted(names)]


def test_numbers_are_rows_of_the_leaderboard_and_the_key_names_them() -> None:
    chart = made(scatter(CELLS))
    assert key(chart) == [("1", "dinov2, lora"), ("3", "dinov2, partial")]


def test_the_key_lies_inside_the_picture() -> None:
    for published in (None, reference.cells()):
        chart = made(scatter(CELLS, published=published))
        height = float(chart.svg.split('viewBox="0 0 320 ')[1].split('"')[0])
        assert height - 20 < max(y for _, y, _ in drawn(chart, "text")) < height - 7


def test_a_number_is_next_to_its_point() -> None:
    chart = made(scatter(CELLS))
    ((x, y),) = points(chart, fill=LORA)
    ((left, top),) = [
        (left - LEFT, TOP + SIDE - top)
        for left, top, text in drawn(chart, "text", stroke="var(--paper)")
        if text.text == "1"
    ]
    assert 5 < ((left - x) ** 2 + (top - y) ** 2) ** 0.5 < 30


def test_the_published_study_is_hollow_and_widens_the_axes() -> None:
    rows = [cell("OpenCLIP", "lora", auc=0.55, vessel_ratio=1.3), cell("RETFound", "full")]
    published = pl.DataFrame(rows).rename({"backbone": "model"}).drop("seed", "status")
    chart = made(scatter(CELLS, published=published))
    hollow = drawn(chart, "path", stroke="var(--quiet)")
    assert [path.get("fill") for _, _, path in hollow] == [None] * 4  # two in the key
    assert chart.alt.endswith("In addition, 2 hollow points of the published study, with letters.")
    far = published.with_columns(auc=pl.lit(0.95), auc_low=pl.lit(0.9), auc_high=pl.lit(0.99))
    assert points(made(scatter(CELLS, published=far)), fill=LORA)[0][0] < points(chart, fill=LORA)[0][0]


def test_letters_mark_the_cells_of_the_published_study() -> None:
    published = reference.cells()
    chart = made(scatter(CELLS, published=published))
    own, (heading, *others) = key(chart)[:2], key(chart)[2:]
    assert own == key(made(scatter(CELLS)))
    assert heading == ("", "hollow: the published study, same shapes")
    names = [f"{model}, {strategy}" for model, strategy in published.select("model", "strategy").rows()]
    assert others == list(zip("abcdefghi", names, strict=True))
    letters = [text.text for _, _, text in drawn(chart, "text", stroke="var(--paper)", fill="var(--quiet)")]
    assert sorted(map(str, letters)) == list("abcdefghi")
    assert len(drawn(chart, "path", stroke="var(--quiet)")) == 18


def test_a_published_cell_without_the_ratio_takes_its_letter_with_it() -> None:
    published = reference.cells().with_columns(vessel_ratio=pl.when(pl.int_range(pl.len()) != 1).then("vessel_ratio"))
    labels = [label for label, _ in key(made(scatter(CELLS, published=published)))]
    assert labels == ["1", "3", "", *"acdefghi"]


def test_the_ratio_inside_the_field_of_view_has_its_own_chart() -> None:
    chart = made(scatter(CELLS, "vessel_ratio_fov"))
    assert chart.title == "AUC and vessel ratio inside the field of view"
    assert points(chart, fill=LORA)[0][1] == points(chart, fill=PARTIAL)[0][1]  # both are 1.2


@pytest.mark.parametrize(("ratio", "edge"), [(0.0, 0), (1e9, SIDE)])
def test_a_ratio_off_the_scale_lies_on_its_edge_and_the_key_notes_it(ratio: float, edge: float) -> None:
    chart = made(scatter(leaderboard(cell("a", "lora", vessel_ratio=ratio), cell("b", "partial"))))
    assert points(chart, fill=LORA)[0][1] == pytest.approx(edge, abs=0.6)
    assert {"a, lora (off the scale)", "b, partial"} <= set(texts(chart))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_points_without_intervals_have_no_bars(missing: float | None) -> None:
    bounds = {f"{measure}_{end}": missing for measure in ("auc", "vessel_ratio") for end in ("low", "high")}
    chart = made(scatter(leaderboard(cell("a", "lora") | bounds)))
    assert len(points(chart, fill=LORA)) == 1
    assert not drawn(chart, "line", stroke=LORA)


def test_without_both_measures_there_is_no_chart() -> None:
    assert scatter(CELLS.clear()) is None
    assert scatter(leaderboard(failed("a", "lora"), cell("b", "lora") | {"vessel_ratio": None})) is None


def test_names_are_escaped_and_shortened() -> None:
    chart = made(scatter(leaderboard(cell(ATTACK, ATTACK), cell("m" * 200, "lora"))))
    assert "<script" not in chart.svg
    assert max(len(text) for text in texts(chart)) <= 70
