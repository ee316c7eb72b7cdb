import polars as pl
import pytest

from benchmark.analysis.subgroups import SUBGROUPS_SCHEMA
from benchmark.report.charts.subgroups import subgroup_forests
from tests.benchmark.report.charts.frames import ATTACK, cell, drawn, failed, leaderboard, texts, written

TRIALS = leaderboard(cell("dinov2", "lora", auc=0.8), cell("retfound", "full", auc=0.65))


def group(covariate: str, name: str, value: float | None, backbone: str = "dinov2", width: float = 0.1) -> dict:
    bounds = {} if value is None else {"low": value - width, "high": value + width}
    strategy = "lora" if backbone == "dinov2" else "full"
    trial = {"backbone": backbone, "strategy": strategy, "seed": 0}
    return dict.fromkeys(SUBGROUPS_SCHEMA) | trial | bounds | {
        "covariate": covariate, "subgroup": name, "measure": "auc", "value": value, "n_patients": 120,
    }  # fmt: skip


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SUBGROUPS_SCHEMA)


GROUPS = frame(
    group("sex", "female", 0.7),
    group("sex", "male", 0.9),
    group("site", "A", 0.75),
    group("sex", "male", 0.5, "retfound"),
)


def test_the_first_trial_has_a_panel_per_covariate() -> None:
    charts = subgroup_forests(GROUPS, TRIALS)
    assert [chart.title for chart in charts] == ["sex", "site"]
    names = [written(text) for _, _, text in drawn(charts[0], "text", stroke="var(--paper)")]
    assert names == ["female, 120 patients", "male, 120 patients"]


def test_estimates_lie_at_their_values_on_one_axis() -> None:
    """From 0.5 to 1: 300 pixels are 0.5."""
    sex, site = subgroup_forests(GROUPS, TRIALS)
    points = [x for x, _, _ in drawn(sex, "path", fill="var(--prediction)")]
    assert points == pytest.approx([130, 250], abs=0.6)
    assert [x for x, _, _ in drawn(site, "path", fill="var(--prediction)")] == pytest.approx([160], abs=0.6)
    (line,) = drawn(sex, "line", stroke_dasharray="2,2")
    assert line[0] == pytest.approx(190, abs=1), "the AUC of all test images"
    assert [text for text in texts(sex) if text[0].isdigit()] == [text for text in texts(site) if text[0].isdigit()]


def test_marks_say_their_numbers_and_belong_to_the_trial() -> None:
    chart = subgroup_forests(GROUPS, TRIALS)[0]
    assert "sex female: AUC 0.700 (interval 0.600 to 0.800), 120 patients" in chart.svg
    assert 'data-cell="dinov2, lora, seed 0"' in chart.svg
    assert "the dashed line is the AUC of all test images, 0.800" in chart.alt


def test_what_has_no_auc_is_not_drawn() -> None:
    unknown = frame(group("sex", "female", None), group("site", "A", 0.7))
    assert [chart.title for chart in subgroup_forests(unknown, TRIALS)] == ["site"]
    assert (
        subgroup_forests(GROUPS, leaderboard(failed("dinov2", "lora")).with_columns(auc=pl.lit(None, pl.Float64))) == []
    )
    without = frame(group("sex", "female", 0.7)).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in ("low", "high")
    )
    assert len(subgroup_forests(without, TRIALS)) == 1


def test_any_name_is_text() -> None:
    (chart,) = subgroup_forests(frame(group(ATTACK, ATTACK, 0.7)), TRIALS)
    assert "<script" not in chart.svg
