"""Every mark of every chart of a full page, and of a trial's page, has a tooltip and names its trial."""

import itertools
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
import vl_convert

import benchmark.report.charts.drawing
from benchmark.report.charts.curve_panels import roc_curves
from benchmark.report.charts.drawing import CELL, TOOLTIP, Chart
from benchmark.report.charts.forest import auc_forest
from benchmark.report.charts.scatter import scatter
from benchmark.report.charts.tooltips import counted, estimate, named, with_tooltips
from benchmark.report.charts.trial_panels import learning_curves, score_histogram
from benchmark.report.page import PageContent, _charts, template
from tests.benchmark.page_content import full_content_in
from tests.benchmark.report.charts.frames import SVG, cell, leaderboard
from tests.benchmark.report.charts.test_trial_panels import HISTORY, TRIAL

REFERENCES = (
    "0.5 is chance", "1 is no preference", "AUC 0.5 is chance", "ratio 1 is no preference", "chance", "treat all",
    "treat none", "the better of treating all and treating none", "hollow: the published study, same shapes",
    "the predicted probability equals the observed share",
)  # fmt: skip


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> PageContent:
    return full_content_in(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def as_drawn() -> Iterator[list[str]]:
    """What Vega drew for each chart, before it was made fit for the page; its classes tell marks from axes."""
    drawn: list[str] = []

    def record(chart: dict[str, object]) -> str:
        drawn.append(svg := vegalite_to_svg(chart))
        return svg

    vegalite_to_svg = vl_convert.vegalite_to_svg
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark.report.charts.drawing.vl_convert, "vegalite_to_svg", record)
        yield drawn


@pytest.fixture(scope="module")
def charts(content: PageContent, as_drawn: list[str]) -> list[Chart]:
    """All charts of the page, then those of a trial's."""
    of_page = list(itertools.chain.from_iterable(_charts(content).values()))
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.9])
    return [*of_page, *learning_curves(HISTORY, TRIAL), score_histogram(labels, scores, 0.5, TRIAL)]


def marks(chart: Chart) -> list[tuple[str, str | None]]:
    """Tooltip and trial of every mark."""
    found = []
    for element in ElementTree.fromstring(chart.svg).iter():
        title = element.find(f"{SVG}title")
        if title is not None:
            found.append((title.text or "", element.get("data-cell")))
    return found


def test_every_mark_has_a_tooltip_and_every_trial_s_mark_names_its_row(
    content: PageContent, charts: list[Chart], as_drawn: list[str]
) -> None:
    rows = {template("macros.html.j2").module.filtered(row) for row in content.board.trials.to_dicts()}  # type: ignore[attr-defined]
    assert len(charts) == len(as_drawn) == 3 + 2 + 4 * 3 + 3
    for chart, svg in zip(charts, as_drawn, strict=True):
        found = marks(chart)
        groups = [one for one in ElementTree.fromstring(svg).iter() if "role-mark" in one.get("class", "").split()]
        assert len(found) == sum(len(group) for group in groups) > 0, chart.title
        for tooltip, trial in found:
            if trial is None:
                assert tooltip in REFERENCES or " of the published study: " in tooltip
            else:
                assert tooltip.startswith(f"{trial}: ")
                assert any(sign.isdigit() for sign in tooltip.removeprefix(trial))
                assert f'data-cell="{trial}"' in rows or trial == TRIAL


def test_every_trial_has_marks_in_every_chart_of_all_trials(content: PageContent, charts: list[Chart]) -> None:
    done = set(named(content.board.trials.filter(status="ok"))[CELL])
    for chart in charts[:5]:
        assert {trial for _, trial in marks(chart)} - {None} == done
    for panels in (charts[place : place + 3] for place in (5, 8, 11, 14)):
        assert {trial for panel in panels for _, trial in marks(panel)} - {None} == done


def test_a_tooltip_has_the_numbers() -> None:
    cells = leaderboard(cell("dinov2", "lora", auc=0.8, vessel_ratio=1.5))
    cells = cells.with_columns(n_images=1234, n_ratio=1230)
    forest, against = auc_forest(cells), scatter(cells)
    assert forest and against
    auc = "AUC 0.800 (interval 0.750 to 0.850)"
    assert f"dinov2, lora, seed 0: {auc}, n = 1,234 images" in dict(marks(forest))
    both = f"{auc}, vessel ratio 1.50 (interval 1.45 to 1.55), n = 1,230 images"
    assert f"dinov2, lora, seed 0: {both}" in dict(marks(against))


def test_a_roc_curve_states_its_area() -> None:
    curve = pl.DataFrame({"x": [0.0, 0.0, 0.5, 0.5, 1.0], "y": [0.0, 0.5, 0.5, 1.0, 1.0]})
    curve = curve.with_columns(backbone=pl.lit("a"), strategy=pl.lit("lora"), seed=0, curve=pl.lit("roc"))
    (chart,) = roc_curves(curve)
    assert (
        marks(chart)[1][0]
        == "a, lora, seed 0: AUC 0.750; sensitivity 0.50 at specificity 0.8, sensitivity 0.50 at specificity 0.9"
    )
    (chart,) = roc_curves(curve, leaderboard(cell("a", "lora", auc=0.75)).with_columns(n_images=40))
    assert "AUC 0.750 (interval 0.700 to 0.800)" in marks(chart)[1][0]
    assert marks(chart)[1][0].endswith("n = 40 images")


def test_trials_of_several_runs_are_named_after_their_run() -> None:
    cells = leaderboard(cell("a", "lora")).with_columns(run=pl.lit("Kyoto"))
    forest = auc_forest(cells)
    assert forest
    assert {trial for _, trial in marks(forest)} == {None, "Kyoto, a, lora, seed 0"}


def test_what_is_not_known_is_left_out() -> None:
    assert estimate(0.5, None, 0.6, 2) == "0.50"
    assert (counted(None), counted(1), counted(12345)) == ("", ", n = 1 image", ", n = 12,345 images")
    frame = pl.DataFrame({CELL: ["a", None], "x": [float("nan"), 1.0]})
    assert with_tooltips(frame, lambda row: f"x {row['x']}")[TOOLTIP].to_list() == ["a: x None", "x 1.0"]
