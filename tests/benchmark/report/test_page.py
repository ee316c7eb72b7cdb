"""leaderboard.html, read by an HTML parser."""

import base64
import dataclasses
import io
import itertools
from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import benchmark.report.page
from benchmark.analysis import published as reference
from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.flow import flow_table
from benchmark.analysis.leaderboard import SCHEMA, Leaderboard
from benchmark.analysis.planted import compare_with_truth
from benchmark.report.charts.spans import Span
from benchmark.report.page import CONTROL_COLUMNS, PAIRS_SHOWN, Axis, PageContent, render
from benchmark.report.results import ClassCount
from benchmark.report.sections import SECTIONS
from benchmark.storage.rundir import RunDirectory
from benchmark.synthetic import SyntheticCohort
from tests.benchmark.page_content import (
    BACKBONES,
    FAILED,
    REASON,
    STRATEGIES,
    attacked,
    content_in,
    full_content_in,
)
from tests.benchmark.report.flows import FOLDER
from xai.examples import RULE

VOID = {"meta", "link", "img", "br", "wbr", "input"}
CHARTS = ("forest", "scatter", "roc", "calibration", "decision", "gained")


class _Tree(HTMLParser):
    """HTML -> an element tree; a tag that is left open or closed twice fails."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = TreeBuilder()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.builder.end(tag).tag == tag

    def handle_data(self, data: str) -> None:
        self.builder.data(data)


def parse(page: str) -> Element:
    tree = _Tree()
    tree.feed(page)
    tree.close()
    return tree.builder.close()


def text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def having(root: Element, attribute: str, value: str) -> list[Element]:
    """Elements with `value` among the words of an attribute."""
    return [element for element in root.iter() if value in element.get(attribute, "").split()]


def rows(root: Element, table: str = "table-leaderboard", published: bool = False) -> list[Element]:
    """The rows of the trials of the run, or of a published study."""
    (found,) = having(root, "id", table)
    return [
        row
        for body in found.iter("tbody")
        if (body.get("class") == "published") == published
        for row in body.iter("tr")
    ]


def row_of(root: Element, backbone: str, strategy: str, table: str = "table-leaderboard") -> Element:
    (found,) = [row for row in rows(root, table) if [text(th) for th in row.iter("th")] == [backbone, strategy]]
    return found


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> PageContent:
    return content_in(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def page(content: PageContent) -> Element:
    return parse(render(content))


@pytest.fixture(scope="module")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Element:
    return without_charts(full_content_in(tmp_path_factory.mktemp("pictures")))


def without_charts(content: PageContent) -> Element:
    """The page without charts, which take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark.report.page, "_charts", lambda content: {place: [] for place in CHARTS})
        return parse(render(content))


def changed(content: PageContent, **changes: object) -> Element:
    """A page without charts; `changes` are applied to the content or to its leaderboard."""
    of_board = {name: changes.pop(name) for name in set(changes) & {f.name for f in dataclasses.fields(Leaderboard)}}
    return without_charts(dataclasses.replace(content, board=dataclasses.replace(content.board, **of_board), **changes))


def shown(root: Element, table: str, backbone: str = "openclip-tiny", strategy: str = "classifier_only") -> list[str]:
    """The text of the columns after the name in the row of a trial."""
    return [text(cell) for cell in row_of(root, backbone, strategy, table).iter("td")]


def heads(root: Element, table: str) -> list[str]:
    (found,) = having(root, "id", table)
    return [text(th) for th in found.iter("th") if th.get("scope") == "col"]


def test_one_row_per_trial_in_the_order_of_the_leaderboard(page: Element, content: PageContent) -> None:
    named = [tuple(text(th) for th in row.iter("th")) for row in rows(page)]
    assert named == content.board.trials.select("backbone", "strategy").rows()
    done = content.board.trials.filter(pl.col("status") == "ok")
    assert [tuple(text(th) for th in row.iter("th")) for row in rows(page, "table-fov")] == done.select(
        "backbone", "strategy"
    ).rows()


def test_images_and_patients_are_side_by_side(page: Element, content: PageContent) -> None:
    levels = [[text(cell) for cell in row][2:4] for row in rows(page, "table-patients")[:4]]
    assert levels == [
        ["images", "1 234"],
        ["patients, mean", "617"],
        ["patients, maximum", "617"],
        ["patients, attention", "617"],
    ]
    section = next(each for each in page.iter("section") if each.get("aria-labelledby") == "patients")
    assert "Trials are ranked by images" in text(section)
    assert "train 750 31 700 19 visits unknown 2 (1–4) test 250 12 235 3 7 2.5 (1–6)" in text(section)


def test_with_one_image_per_patient_the_page_says_so(content: PageContent) -> None:
    single = content.board.trials.with_columns(n_patients=pl.col("n_images"))
    failed = {"dinov2-tiny-partial-s0": "ValueError: one class"}
    board = dataclasses.replace(content.board, trials=single)
    page = parse(render(dataclasses.replace(content, board=board, failed_attention=failed)))
    assert "Per patient" not in heads(page, "table-leaderboard")
    section = next(each for each in page.iter("section") if each.get("aria-labelledby") == "patients")
    assert "Every test patient has one image" in text(section)
    assert "No attention for dinov2-tiny-partial-s0: ValueError: one class" in text(section)


def test_estimates_stand_with_their_intervals(page: Element) -> None:
    assert shown(page, "table-leaderboard") == [
        "1 a 1–3",  # rank
        "0.800 0.750–0.860",
        "0.820 0.770–0.880",  # of patients
        "+0.050 0.000–0.110",  # AUC lost without vessels, and its p-value
        "0.027",
        "1.30 1.25–1.36",  # vessel ratio in the field of view, by chance, and the p-value of the permutation test
        "1.05",
        "0.049",
    ]
    assert shown(page, "table-convention") == [
        "0.800 0.750–0.860",
        "0.700 0.650–0.760",
        "1.40 1.35–1.46",  # vessel, artery, vein
        "1.20 1.15–1.26",
        "1.30 1.25–1.36",
        "1 230",  # images with a ratio
    ]
    assert shown(page, "table-fov") == [
        "1.30 1.25–1.36", "1.10 1.05–1.16", "1.20 1.15–1.26", "0.15 0.10–0.21", "1 230",
    ]  # fmt: skip


def test_images_with_a_ratio_are_counted_where_not_all_have_one(content: PageContent) -> None:
    complete = changed(content, trials=content.board.trials.with_columns(n_ratio="n_images", n_map="n_images"))
    assert "With ratio" not in text(having(complete, "id", "table-convention")[0])
    assert not [span for span in complete.iterfind(".//figcaption/span") if text(span).endswith(" maps")]


def test_ranks_and_the_letters_of_groups(page: Element, content: PageContent) -> None:
    ranks = [text(row.find("td")) for row in rows(page)[:-1]]  # type: ignore[arg-type]
    assert ranks == ["1 a 1–3", "2 a 1–4", "3 ab 2–5", "4 ab 3–6", "5 b 4–7", "6 b 5–8", "7 b 6–9", "8 b 7–10"]
    assert "share a letter" in having(page, "class", "group")[0].get("title", "")
    two_best = pl.when(pl.col("rank") <= 2).then(1.5).otherwise("rank").alias("rank")
    tied = changed(content, trials=content.board.trials.with_columns(two_best, group=pl.lit(None, pl.String)))
    ranks = [text(row.find("td")) for row in rows(tied)[:3]]  # type: ignore[arg-type]
    assert ranks == ["1.5 1–3", "1.5 1–4", "3 2–5"]


def test_bars_are_drawn_to_the_scale_of_their_axis(page: Element) -> None:
    bar = having(row_of(page, "openclip-tiny", "classifier_only"), "class", "bar")[0]
    drawn = {line.get("class"): (line.get("x1"), line.get("x2")) for line in bar.iter("line")}
    # The AUC axis runs from 0.3 to 1.
    assert drawn["reference"] == ("28.57%", "28.57%")
    assert drawn["span"] == ("64.29%", "80.0%")
    assert drawn["point"] == ("71.43%", "71.43%")


def test_every_bar_lies_on_its_axis(page: Element) -> None:
    lines = [line for svg in having(page, "class", "bar") for line in svg.iter("line")]
    places = [float(line.get(end, "").rstrip("%")) for line in lines for end in ("x1", "x2")]
    assert 0 <= min(places) < max(places) <= 100


def test_controls_are_next_to_the_ratio_they_test(page: Element, content: PageContent) -> None:
    assert shown(page, "table-controls") == [
        "1.30",
        "1.05",
        "1.24 1.19–1.30",
        "0.049",
        "1.09",
        "1.19 1.14–1.25",
        "0.047",
    ]
    assert shown(page, "table-models") == [
        "0.31", "0.12", "0.17", "0.620 0.570–0.680",
        "+0.050 0.000 to 0.110", "−0.010 −0.060 to 0.050", "+0.060 0.010 to 0.120", "0.027",
    ]  # fmt: skip
    assert "Not computed: dinov2-tiny-partial-s0, parameter randomisation: out of memory" in text(page)
    assert shown(page, "table-other") == ["1.83 1.78–1.89", "1.25", "1.46 1.41–1.52", "0.019", "1 230"]
    assert "maps that explain the other class, label 0" in text(page)
    unasked = [pl.lit(None).alias(name) for name in CONTROL_COLUMNS]
    without = changed(content, trials=content.board.trials.with_columns(unasked))
    assert not having(without, "id", "table-controls") + having(without, "id", "table-other")


def test_the_page_says_where_discs_could_not_be_aligned(page: Element, content: PageContent) -> None:
    assert "mask of the optic disc. The others" not in text(page), "all images with a ratio have one"
    for known, expected in ((0, "Here no image has a mask"), (7, "Here only 7 of 1230 images have a mask")):
        cells = content.board.trials.with_columns(n_disc=pl.when(pl.col("status") == "ok").then(known))
        assert expected in text(changed(content, trials=cells))


def test_the_null_is_the_reference_of_a_vessel_ratio(page: Element, content: PageContent) -> None:
    """Without a value by chance, as for arteries and veins, the line at 1 stays."""

    def marks(of: Element) -> list[str]:
        row = rows(of, "table-convention")[0]
        return [next(bar.iter("line")).get("class", "") for bar in having(row, "class", "bar")]

    bars = having(rows(page)[0], "class", "bar")
    assert [next(bar.iter("line")).get("class") for bar in bars] == ["reference", "reference", "null"]
    expected = "The thin tick is the vessel ratio of the same maps on other patients’ vessels"
    assert marks(page)[2:] == ["null", "reference", "reference"]
    assert expected in text(page)
    without = changed(content, trials=content.board.trials.with_columns(vessel_ratio_null=pl.lit(None, pl.Float64)))
    assert marks(without)[2:] == ["reference"] * 3
    assert expected not in text(without)


def verdicts_of(root: Element) -> list[list[str]]:
    """The verdict and outcome of each measure, by trial."""
    return [[text(td) for td in having(row, "class", "verdict")] for row in rows(root, "table-planted")]


def test_verdicts_stand_with_their_numbers_and_are_compared_with_the_truth(page: Element, content: PageContent) -> None:
    assert shown(page, "table-planted") == [
        "0.800",
        *("vessels ✓ right", "0.027"),
        *("vessels ✓ right", "0.049"),
        *("vessels ✓ right", "0.019"),
        *("vessels ✓ right", "1.30 1.25–1.36"),
    ]
    number = pl.col("rank")
    cells = content.board.trials.with_columns(
        predicts=number != 4,
        depends=pl.when(number != 3).then(number == 1),
        above_null=number <= 2,
        other_above_null=number == 1,
        vessel_ratio_fov_high=pl.when(number == 2).then(0.9).otherwise("vessel_ratio_fov_high"),
        vessel_ratio_fov_low=pl.when(number == 2).then(0.8).otherwise(1.0),
    )
    by_signal = {
        signal: without_charts(dataclasses.replace(content, planted=compare_with_truth(cells, cohort)))
        for signal in ("vessels", "periphery")
        for cohort in [SyntheticCohort(signal=signal)]
    }
    assert verdicts_of(by_signal["vessels"])[:4] == [
        ["vessels ✓ right", "vessels ✓ right", "vessels ✓ right", "not shown ○ missed"],
        ["not shown ○ missed", "vessels ✓ right", "not shown ○ missed", "elsewhere ✗ wrong"],
        ["–", "not shown ○ missed", "not shown ○ missed", "not shown ○ missed"],
        ["not shown not judged"] * 4,
    ]
    assert verdicts_of(by_signal["periphery"])[:4] == [
        ["vessels ✗ wrong", "vessels ✗ wrong", "vessels ✗ wrong", "not shown ✓ right"],
        ["not shown ✓ right", "vessels ✗ wrong", "not shown ✓ right", "elsewhere ✓ right"],
        ["–", "not shown ✓ right", "not shown ✓ right", "not shown ✓ right"],
        ["not shown not judged"] * 4,
    ]
    explained = {
        "vessels": ("in the arteries.", "outside the vessels nothing depends on the label"),
        "periphery": ("away from the vessels.", "the vessels do not depend on the label"),
    }
    for signal, sentences in explained.items():
        assert all(sentence in text(by_signal[signal]) for sentence in sentences)
        assert "Not judged: the AUC is not shown to be above 0.5" in text(by_signal[signal])
    assert "Not judged" not in text(page)


def test_images_whose_truth_nobody_knows_are_compared_with_none(content: PageContent) -> None:
    page = changed(content, planted=None)
    assert not having(page, "id", "planted") and not having(page, "href", "#planted")
    assert not having(page, "download", "planted.csv")


def test_without_a_signal_nothing_is_judged(content: PageContent) -> None:
    nothing = compare_with_truth(content.board.trials, SyntheticCohort(best_auc=0.5))
    page = changed(content, planted=nothing)
    assert "Severity is" not in text(page)
    strong = compare_with_truth(content.board.trials, SyntheticCohort(effect=1.8))
    assert "Severity is far more visible than in patients (effect 1.8)." in text(changed(content, planted=strong))
    assert "No signal was planted" in text(page) and "on the label" not in text(page)
    assert verdicts_of(page)[0] == ["vessels not judged"] * 4


def test_conventions_are_changed_one_at_a_time(page: Element) -> None:
    found = zip(heads(page, "table-conventions")[2:], shown(page, "table-conventions"), strict=True)
    # As `page_content.CONVENTIONS` counts them.
    assert dict(found) == {
        "As above": "1.00 0.90–1.10",
        "Inside the field of view": "1.30 1.20–1.40",
        "Raw maps": "1.60 1.50–1.70",
        "Every patient alike": "1.10 1.00–1.20",
        "Ratio of sums": "1.20 1.10–1.30",
        "Geometric mean": "2.50 2.40–2.60",
        "Without doubtful masks": "2.40 2.30–2.50",
    }


def names_of(content: PageContent) -> list[str]:
    return [
        "{backbone}, {strategy}, seed {seed}".format(**row)
        for row in content.board.trials.filter(status="ok").to_dicts()
    ]


def test_other_regions_are_columns(page: Element, content: PageContent) -> None:
    assert heads(page, "table-regions")[2:] == ["Ring", "Superior nasal"]
    assert shown(page, "table-regions") == ["2.20 2.10–2.30", "2.30 2.20–2.40"]
    (glyphs,) = having(page, "class", "glyphs")
    assert [figure.get("data-cell") for figure in glyphs] == names_of(content), "one per trial, as on the leaderboard"
    for figure in glyphs:
        (shape,) = [shape for shape in figure.iter("path") if shape.get("fill-opacity")]
        assert float(shape.get("fill-opacity", "")) == pytest.approx(2.3 / 2.5, abs=0.001), "the scale ends at 2.5"
    without = changed(content, ratios=content.board.ratios.clear())
    assert not having(without, "id", "table-regions")
    assert not having(without, "id", "table-conventions")


def test_a_failed_cell_comes_last_and_says_why(page: Element) -> None:
    last = rows(page)[-1]
    assert [text(th) for th in last.iter("th")] == list(FAILED)
    assert [text(td) for td in last.iter("td")] == [f"Failed: {REASON}"]


def test_all_cells_failed(content: PageContent) -> None:
    named = content.board.trials.select(*TRIAL, status=pl.lit("no weights"))
    failed = pl.concat([pl.DataFrame(schema=SCHEMA), named], how="diagonal")
    nothing = {name: table.clear() for name, table in content.board.tables().items()}
    planted = compare_with_truth(failed, SyntheticCohort())
    page = parse(render(dataclasses.replace(content, board=Leaderboard(failed, **nothing), planted=planted)))
    assert all("Failed: no weights" in text(row) for row in rows(page))
    sections = {section.get("aria-labelledby") for section in page.iter("section")} - {None}
    assert sections == {"leaderboard", "correlation", "saliency", "examples", "cohort", "facts", "downloads"}
    assert [chart.get("data-title") for chart in having(page, "class", "chart")] == ["Flow of images and patients"]


def test_several_seeds_get_a_column_and_a_row_of_pictures_each(page: Element, full_page: Element) -> None:
    names = ["Backbone", "Strategy"]
    assert heads(page, "table-leaderboard") == [
        *names, "Rank", "AUC", "Per patient", "AUC lost without vessels", "p, lost",
        "Vessel ratio, field of view", "By chance", "p, ratio",
    ]  # fmt: skip
    assert heads(page, "table-convention") == [*names, "AUC", "F1", "Vessel", "Artery", "Vein", "With ratio"]
    assert heads(full_page, "table-leaderboard")[:4] == [*names, "Seed", "Rank"]
    assert len(rows(full_page)) == 18
    assert len(having(page, "class", "maps")) == 3
    titles = [text(next(line.iter("h3"))) for line in having(full_page, "class", "maps")]
    assert titles == [f"{backbone} seed {seed}" for seed in (0, 7) for backbone in BACKBONES]


def test_several_seeds_get_a_section(page: Element, full_page: Element) -> None:
    assert not having(page, "id", "seeds")
    assert len(rows(full_page, "table-seeds")) == 8  # one of nine failed
    assert shown(full_page, "table-seeds", strategy="partial") == [
        "2", "0.605 a 0.535–0.685", "0.011", "1.30 a 1.23–1.38", "0.03", "1.45 a 1.38–1.53", "0.03",
    ]  # fmt: skip
    assert not having(page, "id", "table-repeatability")
    of_auc = [text(td) for td in rows(full_page, "table-repeatability")[0].iter("td")]
    assert of_auc == ["AUC", "0.83 0.59 to 0.94", "0.051", "0.023", "8", "16"]


def test_strategies_are_compared_on_average_over_backbones_and_backbones_over_strategies(page, full_page) -> None:
    headings = [text(heading) for heading in page.iter("h3")]
    assert "Strategies, averaged over backbones" in headings
    assert "Backbones, averaged over strategies" in headings
    best = [[text(cell) for cell in rows(page, f"table-{family}")[0]] for family in ("strategies", "backbones")]
    assert best[0][:5] == ["partial", "6", "0.553 a 0.508–0.608", "0.653 a 0.608–0.708", "0.75 a 0.71–0.81"]
    assert best[1][0] == "timm:vit_tiny"
    assert len(rows(page, "table-contrasts")) == 1 + 3
    assert len(rows(full_page, "table-contrasts")) == 1 + 3 + 28
    assert [text(td) for td in rows(page, "table-contrasts")[0].iter("td")] == [
        "strategies", "classifier_only", "partial",
        "+0.028 0.004 to 0.055", "0.021", "+0.11 0.08 to 0.14", "0.021", "+0.13 0.10 to 0.15", "0.021",
    ]  # fmt: skip


@pytest.mark.parametrize("table", ["table-strategies", "table-backbones", "table-contrasts", "table-seeds"])
def test_what_a_difference_holds_for_is_said_with_it(page: Element, full_page: Element, table: str) -> None:
    (of_several,) = having(full_page, "id", table)
    caption = text(of_several.find("caption"))  # type: ignore[arg-type]
    assert "other patients, other trainings" in caption or "other patients and other trainings" in caption
    if table != "table-seeds":
        (of_one,) = having(page, "id", table)
        assert "other patients, these trained models" in text(of_one.find("caption"))  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ["table-leaderboard", "table-pairs"])
def test_ranks_letters_and_pairs_are_of_trained_models(page: Element, full_page: Element, table: str) -> None:
    for root in (page, full_page):
        (found,) = having(root, "id", table)
        caption = text(found.find("caption"))  # type: ignore[arg-type]
        assert "these trained models" in caption
        assert ("over their trainings are compared below" in caption) == (root is full_page)


def test_calls_and_probabilities(page: Element) -> None:
    found = zip(heads(page, "table-calls")[2:], shown(page, "table-calls"), strict=True)
    assert dict(found) == {
        "p, AUC": "0.010",
        "Threshold": "0.438",
        "Sensitivity": "0.83 0.78–0.89",
        "Specificity": "0.67 0.62–0.73",
        "PPV": "0.55 0.50–0.61",
        "NPV": "0.89 0.84–0.95",
        "Balanced accuracy": "0.75 0.70–0.81",
    }
    found = zip(heads(page, "table-probabilities")[2:], shown(page, "table-probabilities"), strict=True)
    assert dict(found) == {
        "Average precision": "0.76 0.71–0.82",
        "Brier score": "0.214 0.164–0.274",
        "Intercept": "−0.12 −0.17 to −0.06",
        "Slope": "0.94 0.89–1.00",
        "ECE": "0.041",
    }


def test_operating_points_have_a_row_each(page: Element) -> None:
    """The threshold of the highest F1 has its own table."""
    assert heads(page, "table-operating") == [
        "Backbone", "Strategy", "Point", "Threshold", "Sensitivity", "Specificity", "PPV", "NPV",
    ]  # fmt: skip
    of_cell = [[text(td) for td in row.iter("td")] for row in rows(page, "table-operating")][:4]
    assert [point for point, *_ in of_cell] == ["sensitivity 80", "sensitivity 90", "specificity 80", "specificity 90"]
    # Sensitivity is the second of `benchmark.analysis.measures.CALLS`, as the fixture counts them.
    assert of_cell[0][1:] == ["0.500", "0.78 0.75–0.82", "0.76 0.73–0.80", "0.74 0.71–0.78", "0.72 0.69–0.76"]


def test_within_a_cell_each_label_is_by_itself(page: Element) -> None:
    """A ratio that follows the score has opposite effects in the two labels, so no mean of both is shown."""
    assert shown(page, "table-within") == [
        "0.71 0.66–0.77", "301", "94", "0.38 0.33–0.44", "506", "227", "+0.29 0.24 to 0.35", "1 230",
    ]  # fmt: skip
    assert "0.54" not in text(having(page, "id", "table-within")[0]), "the value pooled over labels is not shown"


def test_a_label_that_was_not_compared_is_said_to_have_too_few(content: PageContent) -> None:
    few = content.board.trials.with_columns(right_by_ratio_negative=None, n_wrong_negative=pl.lit(4))
    assert shown(changed(content, trials=few), "table-within")[3:6] == ["too few to compare", "506", "4"]


@pytest.mark.parametrize(("target", "explained"), [(1, "positive"), (0, "negative")])
def test_the_class_that_the_maps_explain_is_named(content: PageContent, target: int, explained: str) -> None:
    page = without_charts(dataclasses.replace(content, target_class=target))
    assert f"The maps explain the {explained} class" in text(having(page, "id", "table-within")[0])


RATIO_TABLES = (
    "table-leaderboard",
    "table-within",
    "table-fov",
    "table-controls",
    "table-other",
    "table-regions",
    "table-conventions",
)


def test_a_cell_that_is_not_shown_to_predict_is_marked_wherever_it_has_a_ratio(content: PageContent) -> None:
    lora = pl.col("strategy") == "lora"
    cells = content.board.trials.with_columns(predicts=pl.when(lora).then(False).otherwise("predicts"))
    page = changed(content, trials=cells)
    for table in RATIO_TABLES:
        names = [[text(th) for th in row.iter("th")] for row in rows(page, table)]
        done = [name for name in names if name != ["dinov2-tiny", "lora"]]  # which failed
        assert {name[1] for name in done} == {"classifier_only", "partial", "lora†"}, table
    for table in ("table-calls", "table-probabilities", "table-operating"):
        assert "†" not in text(having(page, "id", table)[0])
    captions = [text(figure.find("figcaption")) for figure in page.iter("figure") if "AUC" in text(figure)]  # type: ignore[arg-type]
    assert sum(caption.startswith("lora†") for caption in captions) == 2
    assert "† Not shown to predict better than chance" in text(page)
    assert "†" not in text(without_charts(content))


def test_pairs_come_surest_first(page: Element) -> None:
    assert "Which of these trained models differ? 28 pairs" in text(page)
    pairs = [[text(td) for td in row.iter("td")] for row in rows(page, "table-pairs")]
    assert len(pairs) == 28
    assert pairs[0] == [
        "timm:vit_tiny, partial", "timm:vit_tiny, lora",
        "+0.010 −0.010 to 0.040", "0.039", "equivalent within 0.03", "−0.02 −0.04 to 0.01", "0.046", "1 028",
    ]  # fmt: skip
    assert pairs[-1][:2] == ["openclip-tiny, classifier_only", "openclip-tiny, partial"]


def test_of_many_pairs_those_with_the_smallest_p_values_are_shown(page: Element, full_page: Element) -> None:
    assert len(rows(full_page, "table-pairs")) == PAIRS_SHOWN == 100
    (many,), (few,) = (having(root, "id", "table-pairs") for root in (full_page, page))
    assert "The 100 pairs with the smallest p-values of the AUC are shown; all are in comparisons.csv" in text(many)
    assert "smallest" not in text(few)
    assert "Which of these trained models differ? 120 pairs" in text(full_page)
    assert text(rows(full_page, "table-pairs")[0]).startswith("timm:vit_tiny, partial, seed 7")


def test_one_cell_has_no_pair(content: PageContent) -> None:
    assert not having(changed(content, comparisons=content.board.comparisons.clear()), "id", "table-pairs")


def test_the_published_study_is_shown_only_if_asked_for(page: Element, full_page: Element) -> None:
    assert not having(page, "id", "published")
    table = reference.cells()
    assert not rows(page, "table-convention", published=True)
    theirs = rows(full_page, "table-convention", published=True)
    assert [tuple(text(th) for th in row.iter("th")) for row in theirs] == table.select("model", "strategy").rows()
    assert [text(td) for td in theirs[0].iter("td")] == [
        "–", "0.60 0.57–0.63", "0.59 0.56–0.62", "1.09 1.09–1.10", "1.11 1.10–1.12", "1.07 1.06–1.07", "–",
    ]  # fmt: skip


def test_charts_are_pictures_with_a_title_and_a_label(page: Element, content: PageContent) -> None:
    *charts, flow = having(page, "class", "chart")
    assert [text(chart.find("figcaption")) for chart in charts] == [  # type: ignore[arg-type]
        "AUC", "Ratio to everything that is not vessel", "Ratio inside the field of view",
        "AUC and vessel ratio", "AUC and vessel ratio inside the field of view",
        *4 * BACKBONES,
    ]  # fmt: skip
    charts.append(flow)
    drawings = [chart.find("svg") for chart in charts]
    assert {drawing.get("role") for drawing in drawings} == {"img"}  # type: ignore[union-attr]
    labels = [drawing.get("aria-label", "") for drawing in drawings]  # type: ignore[union-attr]
    for what in ("ROC curves", "Calibration", "Decision curves", "Net benefit gained"):
        assert [label.split(":")[0] for label in labels if label.startswith(what)] == [
            f"{what} of {backbone.split(':')[0]}" for backbone in BACKBONES
        ]
    assert len(set(labels)) == len(labels)
    assert not [element for drawing in drawings for element in drawing.iter() if element.get("id")]  # type: ignore[union-attr]


def test_the_published_study_is_in_the_scatter(tmp_path: Path) -> None:
    html = render(full_content_in(tmp_path))
    assert "hollow: the published study, same shapes" in html
    assert "Hollow points with letters are the cells of the published study." in " ".join(html.split())


def test_maps_are_embedded_and_missing_maps_are_noted(page: Element, content: PageContent) -> None:
    pictures = {
        image.get("alt"): image.get("src", "") for line in having(page, "class", "maps") for image in line.iter("img")
    }
    assert set(pictures) == {"Mean Grad-CAM of openclip-tiny, lora", "Mean Grad-CAM of timm:vit_tiny, partial"}
    kind, data = pictures["Mean Grad-CAM of openclip-tiny, lora"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == content.pictures["openclip-tiny-lora-s0"].read_bytes()
    assert sorted(text(box) for box in having(page, "class", "no-picture")) == ["failed"] + 6 * ["no map"]
    for line in having(page, "class", "maps"):
        assert [text(caption).split()[0] for caption in line.iter("figcaption")] == list(STRATEGIES)


def test_examples_are_embedded_with_their_description(page: Element, content: PageContent) -> None:
    (figure,) = having(page, "class", "example")
    (image,) = figure.iter("img")
    assert image.get("alt") == "Image and its map"
    kind, data = image.get("src", "").split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as embedded:
        assert embedded.size == (224, 224)
    assert RULE in text(page)
    assert not having(changed(content, examples={}), "id", "examples")


def test_every_map_has_a_scale(content: PageContent) -> None:
    page = changed(content, tops={"openclip-tiny-lora-s0": 0.4321})
    scales = [
        text(figure.find("span"))  # type: ignore[arg-type]
        for line in having(page, "class", "maps")
        for figure in line.iter("figure")
        if figure.find("img") is not None
    ]
    assert scales == ["00.43", "0highest"], "of the map whose highest value is known, and of the other"


def test_the_mean_image_is_shown_where_there_is_one(content: PageContent, tmp_path: Path) -> None:
    image = tmp_path / "mean.jpg"
    Image.new("RGB", (8, 8)).save(image)
    first = next(changed(content, mean_image=image).iter("img"))
    assert first.get("alt") == "Mean image"
    assert first.get("src", "").startswith("data:image/jpeg;base64,")


def correlation_of(root: Element) -> Element:
    section, *_ = having(root, "aria-labelledby", "correlation")
    (found,) = having(section, "class", "lead")
    return found


def test_the_correlation_is_a_sentence(page: Element) -> None:
    found = correlation_of(page)
    assert text(found) == (
        "Over 8 cells, Spearman’s ρ between AUC and the vessel ratio is −0.31 in these patients. "
        "For other cells, corrected for the sampling error of patients, it lies between −0.82 and 0.30 "
        "(95 % interval; p = 0.462, exact permutation within the layout)."
    )
    assert "The coefficient describes these cells in these patients. The interval and the p-value" in text(page)


def test_a_correlation_that_is_not_known_has_the_reason_and_no_interval(content: PageContent) -> None:
    unknown = content.board.correlation.with_columns(
        **dict.fromkeys(("low", "high", "corrected"), pl.lit(None, pl.Float64)), not_known=pl.lit("too few")
    )
    found = correlation_of(changed(content, correlation=unknown))
    assert "For other cells it is not known: too few (p = 0.462, exact permutation within the layout)." in text(found)


@pytest.mark.parametrize(
    ("predicting", "expected"),
    [(0, "No cell is shown to predict"), (1, "Only 1 of them is shown"), (5, "Only 5 of them are")],
)
def test_a_correlation_of_cells_that_do_not_predict_carries_a_warning(content, predicting, expected) -> None:
    correlation = content.board.correlation.with_columns(n_predicting=pl.lit(predicting, pl.Int64))
    found = correlation_of(changed(content, correlation=correlation))
    assert expected in text(found)


def test_every_correlation_is_in_a_table(page: Element, content: PageContent) -> None:
    found = [[text(td) for td in row.iter("td")] for row in rows(page, "table-correlation")]
    assert len(found) == 16
    same = ["0.462", "8", "exact permutation within the layout"]
    assert found[:2] == [
        ["AUC", "vessel ratio", "Spearman", "−0.31 −0.71 to 0.25", "−0.37 −0.82 to 0.30", *same],
        ["AUC", "vessel ratio", "Kendall", "−0.21 −0.61 to 0.35", "−0.27 −0.72 to 0.40", *same],
    ]
    assert found[-1][:4] == ["F1", "vessel ratio in the field of view", "Kendall", "0.49 0.09 to 1.05"]
    alone = changed(content, correlation=content.board.correlation.head(1))
    assert not having(alone, "id", "table-correlation")


def test_a_threshold_that_nothing_reaches_sorts_highest(content: PageContent) -> None:
    operating = content.board.operating.with_columns(
        threshold=pl.when(pl.col("point") == "specificity_90").then(float("inf")).otherwise("threshold")
    )
    page = changed(content, operating=operating)
    cells = [
        td for row in rows(page, "table-operating") for td in row.iter("td") if td.get("data-label") == "Threshold"
    ]
    assert {td.get("data-value") for td in cells if text(td) == "∞"} == {"Infinity"}


@pytest.mark.parametrize(("p_value", "written"), [(1.0, "p = 1.000"), (0.001, "p = 0.001"), (2 / 362_880, "p < 0.001")])
def test_small_p_values_are_small(content: PageContent, p_value: float, written: str) -> None:
    page = changed(content, correlation=content.board.correlation.with_columns(p_value=pl.lit(p_value)))
    assert written in text(correlation_of(page))


def test_an_undefined_correlation_says_so(content: PageContent) -> None:
    undefined = content.board.correlation.with_columns(
        estimate=pl.lit(None, pl.Float64), p_value=pl.lit(None, pl.Float64), n_cells=pl.lit(1, pl.Int64)
    )
    sentence = text(changed(content, correlation=undefined))
    assert "correlation between AUC and the vessel ratio is undefined over 1 cell:" in sentence
    assert "No correlation was computed." in text(changed(content, correlation=content.board.correlation.clear()))


def test_nulls_are_dashes_without_a_bar(content: PageContent) -> None:
    here = (pl.col("backbone") == "openclip-tiny") & (pl.col("strategy") == "partial")
    gone = [
        pl.when(~here).then(name).alias(name)
        for name in ("vein_ratio", "vein_ratio_low", "vein_ratio_high", "auc_low", "threshold", "ppv")
    ]
    page = changed(content, trials=content.board.trials.with_columns(gone))
    auc, _, _, _, vein, _ = row_of(page, "openclip-tiny", "partial", "table-convention").iter("td")
    assert text(vein) == "–"
    assert vein.get("data-value") == ""
    assert vein.find("svg") is None
    assert text(auc) == "0.790 –"
    assert [line.get("class") for line in auc.iter("line")] == ["reference", "point"]
    _, threshold, _, _, ppv, *_ = row_of(page, "openclip-tiny", "partial", "table-calls").iter("td")
    assert [(text(td), td.get("data-value")) for td in (threshold, ppv)] == [("–", ""), ("–", "")]


def test_every_table_can_be_downloaded_from_the_page_alone(page: Element, content: PageContent) -> None:
    inside = {link.get("download"): link.get("href", "") for link in page.iter("a") if link.get("download")}
    assert content.planted is not None
    tables = {"leaderboard": content.board.trials, **content.board.tables(), "planted": content.planted.trials}
    tables["flow"] = flow_table(FOLDER)
    assert [name for name in inside if name.endswith(".csv")] == [f"{name}.csv" for name in tables]
    for name, table in tables.items():
        kind, encoded = inside[f"{name}.csv"].split(",")
        assert kind == "data:text/csv;base64", name
        assert base64.b64decode(encoded).decode() == table.write_csv(), name


def test_every_chart_is_saved_under_a_name_of_its_own(page: Element) -> None:
    titles = [chart.get("data-title", "") for chart in having(page, "class", "chart")]
    assert len(set(titles)) == len(titles) > 0
    assert "ROC curves, dinov2-tiny" in titles


def test_links_lead_to_a_section_or_to_a_file_of_the_run(page: Element) -> None:
    folder = RunDirectory(Path())
    written = [folder.leaderboard("parquet"), folder.leaderboard("tex"), folder.results]
    addresses = {link.get("href", "") for link in page.iter("a") if not link.get("download")}
    assert {address for address in addresses if not address.startswith("#")} == {path.name for path in written}
    ids = {element.get("id") for element in page.iter()}
    assert {address.removeprefix("#") for address in addresses if address.startswith("#")} <= ids


@pytest.mark.parametrize("full", [True, False])
def test_everything_below_the_leaderboard_is_folded(page: Element, tmp_path: Path, full: bool) -> None:
    page = parse(render(full_content_in(tmp_path))) if full else page
    folds = having(page, "class", "fold")
    headings = [next(fold.find("summary").iter("h2")) for fold in folds]  # type: ignore[union-attr]
    assert [text(heading) for heading in page.iter("h2")] == ["Leaderboard", *map(text, headings)]
    assert not [fold for fold in page.iter("details") if "open" in fold.attrib]
    assert [heading.get("id") for heading in headings] == [name for name in SECTIONS if having(page, "id", name)]
    assert (len(folds) == len(SECTIONS)) == full


def test_every_heading_has_a_link_of_its_own(full_page: Element) -> None:
    headings = [heading for heading in full_page.iter() if heading.tag in {"h2", "h3"}]
    links = {link.get("href"): link.get("aria-label") for link in having(full_page, "class", "anchor")}
    assert len(headings) > 20
    assert links == {f"#{heading.get('id')}": f"Link to “{''.join(heading.itertext())}”" for heading in headings}


def test_a_notice_leads_to_the_section_that_it_names(content: PageContent) -> None:
    notices = ["See “How it was made” and “Does the convention matter?”, not “anything else”."]
    found = having(changed(content, notices=notices), "class", "notices")[0]
    assert [(link.get("href"), text(link)) for link in found.iter("a")] == [
        ("#facts", "How it was made"),
        ("#conventions", "Does the convention matter?"),
    ]
    assert notices[0] in text(found)
    without = changed(content, notices=notices, ratios=content.board.ratios.clear())
    assert [link.get("href") for link in having(without, "class", "notices")[0].iter("a")] == ["#facts"]


def test_the_page_opens_with_question_counts_and_date(content: PageContent) -> None:
    page = changed(content, classes={"0": "normal", "1": "glaucoma"})
    assert text(next(page.iter("h1"))) == "Carotid study"
    assert text(having(page, "class", "question")[0]) == (
        "How well do these models predict glaucoma (against normal) from retinal images, "
        "and do they use the vessels to do so?"
    )
    assert [[text(part) for part in entry] for entry in having(page, "class", "study")[0]] == [
        ["Test images", "1 234 of 617 patients"],
        ["Positive", "400 images of 205 patients"],
        ["All images", "2 000 of 1 000 patients"],
        ["Trials", "8 and 1 failed"],
        ["Date", "2026-05-17"],
    ]


def test_trials_have_one_order_everywhere(content: PageContent) -> None:
    """That of the leaderboard, whatever order the tables of a run have."""
    board = content.board
    reversed_tables = {name: getattr(board, name).reverse() for name in ("operating", "curves", "ratios", "seeds")}
    examples = dict.fromkeys(reversed(board.trials.select(*TRIAL).rows()), next(iter(content.examples.values())))
    planted = dataclasses.replace(content.planted, trials=content.planted.trials.reverse())  # type: ignore[type-var, union-attr]
    page = changed(content, **reversed_tables, examples=examples, planted=planted)
    order = [row.get("data-cell") for row in rows(page)]
    tables = [table for table in having(page, "class", "cells") if table.get("id") != "table-leaderboard"]
    assert len(tables) > 9
    for table in tables:
        named = list(dict.fromkeys(row.get("data-cell") for row in rows(page, table.get("id", ""))))
        assert named == [name for name in order if name in named], table.get("id")
    assert [fold.get("data-cell") for fold in page.iter("details") if fold.get("data-cell")] == order
    assert [text(next(line.iter("h3"))) for line in having(page, "class", "maps")] == list(BACKBONES)


def test_no_folder_of_the_machine_is_shown(content: PageContent) -> None:
    written = "manifest: /data/of lab/cohort.csv\nfiles:\n- /a/b\n- s3://lab/c\nquoted: '/x/y z'\nratio: 1/2\n"
    page = changed(content, configuration=written)
    assert next(page.iter("pre")).text == (
        "manifest: …/cohort.csv\nfiles:\n- …/b\n- s3://lab/c\nquoted: '…/y z'\nratio: 1/2\n"
    )


def test_nothing_is_loaded(page: Element) -> None:
    loading = ("src", "srcset", "action", "data", "poster")
    addresses = {element.get(name, "data:") for element in page.iter() for name in loading}
    addresses |= {element.get("href", "data:") for element in page.iter() if element.tag != "a"}
    assert all(address.startswith("data:") for address in addresses)
    style = "".join(text(style) for style in page.iter("style"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [meta.get("content", "") for meta in page.iter("meta") if "http-equiv" in meta.attrib]
    assert policy.startswith("default-src 'none'")


def test_text_from_outside_is_never_markup(content: PageContent, page: Element) -> None:
    hostile = parse(render(attacked(content)))  # charts and all

    def scripts(root: Element) -> list[str]:
        return [text(script) for script in root.iter("script")]

    assert scripts(hostile) == scripts(page)
    assert text(hostile).count("alert('1')") > 20
    assert {name for element in hostile.iter() for name in element.attrib} <= {
        name for element in page.iter() for name in element.attrib
    }


@settings(max_examples=settings.default.max_examples // 5)  # a whole page each
@given(st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1, max_size=20))
def test_any_text_comes_back_as_it_was(content: PageContent, written: str) -> None:
    page = changed(
        content, title=written, configuration=written, facts={"Data": {written: written}}, pictures={}, examples={}
    )
    (found,) = having(page, "class", "facts")
    for root, tag in ((page, "h1"), (page, "pre"), (found, "dt"), (found, "dd")):
        assert "".join(next(root.iter(tag)).itertext()) == written


def test_the_classes_are_named_where_sensitivity_is_explained(content: PageContent) -> None:
    named = text(changed(content, classes={"0": "normal", "1": "glaucoma"}))
    assert "sensitivity is the share of glaucoma that is classified as such, specificity the share of normal." in named
    assert "glaucoma" not in text(changed(content))


def test_several_classes_are_counted(content: PageContent) -> None:
    """Two classes are counted by the table of splits."""
    counts = [("no", 0, 900, 375), ("mild", 1, 400, 25), ("severe", 1, 200, 100)]
    classes = [
        ClassCount(name=name, label=label, images={"train": train, "test": test}, patients={"train": 1, "test": 1})
        for name, label, train, test in counts
    ]
    (table,) = [table for table in changed(content, by_class=classes).iter("table") if "severe" in text(table)]
    assert [[text(cell) for cell in row] for row in table.iterfind("tbody/tr")] == [
        ["no", "negative", "900", "375", "1 275"],
        ["mild", "positive", "400", "25", "425"],
        ["severe", "positive", "200", "100", "300"],
    ]
    assert "Images per class" not in text(changed(content, by_class=classes[:2]))


def test_files_that_are_not_used_are_counted_by_reason(content: PageContent) -> None:
    assert "In the cohort’s folders, 3 files left out: 2 hidden, 1 with the ending .txt." in text(
        changed(content, files_left_out={"hidden": 2, "with the ending .txt": 1})
    )
    assert "cohort’s folders" not in text(changed(content))


def test_left_out_images_are_counted_and_the_first_listed(content: PageContent) -> None:
    none = {"left_out": content.left_out.clear(), "without_masks": content.without_masks.clear()}
    assert "No image was left out." in text(changed(content, **none))
    alone = text(changed(content, left_out=content.left_out.clear()))
    assert "eye9.jpg" in alone and "no vessel masks, so no saliency: vein_mask: no such file" in alone
    many = pl.concat([content.left_out] * 60).with_columns(pl.format("{}.png", pl.int_range(pl.len())).alias("image"))
    page = changed(content, left_out=many)
    (found,) = [fold for fold in page.iter("details") if fold.find("summary[@id='left-out']") is not None]
    assert text(found.find("summary")).startswith("61 images")  # type: ignore[arg-type]
    listed = [text(row) for body in found.iter("tbody") for row in body.iter("tr")]
    assert len(listed) == 50
    assert listed[0] == "0.png–truncated"


def test_the_cohort_adds_up(page: Element) -> None:
    (table,) = [table for table in page.iter("table") if "Images used" in text(table)]
    assert [[text(cell) for cell in row] for row in table.iter("tr")] == [
        ["Split", "Images", "Patients", "Positive images", "Positive patients"],
        ["train", "1 500", "750", "600 (40 %)", "310"],
        ["test", "500", "250", "125 (25 %)", "66"],
        ["all", "2 000", "1 000", "725 (36 %)", "376"],
    ]


def test_facts_and_configuration_are_there(page: Element, content: PageContent) -> None:
    (found,) = having(page, "class", "facts")
    assert [text(key) for key in found.iter("dt")] == ["CPUs", "torch"]
    assert [text(value) for value in found.iter("dd")] == ["2", "2.15.0"]
    assert next(page.iter("pre")).text == content.configuration


def test_notices_stand_above_everything(page: Element, content: PageContent) -> None:
    (main,) = page.iter("main")
    assert [main[0].tag, main[1].get("class")] == ["header", "notices"], "above them is only what was studied"
    assert [text(notice) for notice in main[1]][1:] == content.notices


def test_without_notices_there_is_no_box(content: PageContent) -> None:
    assert not having(changed(content, notices=[]), "class", "notices")


def test_a_reader_with_a_screen_reader_finds_the_way(page: Element) -> None:
    assert page.get("lang") == "en"
    assert len(list(page.iter("main"))) == len(list(page.iter("h1"))) == 1
    levels = [int(element.tag[1]) for element in page.iter() if element.tag in {"h1", "h2", "h3"}]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for table in page.iter("table"):
        assert text(table.find("caption"))  # type: ignore[arg-type]
    assert all(th.get("scope") in {"col", "row", "colgroup"} and text(th) for th in page.iter("th"))
    assert all(image.get("alt") for image in page.iter("img"))
    names = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(set(names)) == len(names)
    assert {element.get("aria-labelledby") for element in page.iter("section")} - {None} <= set(names)


def test_columns_sort_by_button_and_the_first_order_is_announced(page: Element) -> None:
    (table,) = having(page, "id", "table-leaderboard")
    columns = [th for th in table.iter("th") if th.get("scope") == "col"]
    assert all(th.find("button") is not None for th in columns)
    assert {text(th): th.get("aria-sort") for th in columns if th.get("aria-sort")} == {"Rank": "ascending"}
    values = [[cell.get("data-value") for cell in row] for row in rows(page)[:-1]]
    assert all(value for row in values for value in row)
    assert values == sorted(values, key=lambda row: float(row[2] or 0))


def test_what_can_be_sorted_has_a_value_in_every_column(full_page: Element) -> None:
    for table in having(full_page, "class", "sortable"):
        identity = table.get("id", "")
        for row in rows(full_page, identity):
            if row.find("td[@class='reason']") is None:
                assert len(row) == len(heads(full_page, identity))
                assert all("data-value" in cell.attrib for cell in row), identity


def test_an_axis_end_gives_way_to_a_reference_close_by() -> None:
    assert Axis(Span(0.9, 1.6, ()), 1.0).labels() == [(14.29, "1"), (100.0, "1.6")]
    assert Axis(Span(0.3, 1.0, ()), 0.5).labels() == [(28.57, "0.5"), (0.0, "0.3"), (100.0, "1")]
    assert Axis(Span(0.0, 1.0, ())).labels() == [(0.0, "0"), (100.0, "1")]


def test_factors_are_drawn_alike_and_what_is_off_the_axis_at_its_end() -> None:
    axis = Axis(Span(0.25, 4, (), logarithmic=True), 1.0)
    assert [axis.place(value) for value in (0.25, 0.5, 1, 2, 9)] == [0, 25, 50, 75, 100]
