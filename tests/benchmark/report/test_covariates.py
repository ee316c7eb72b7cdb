"""The section of covariates and its sentences, from tables made by hand."""

import dataclasses
from pathlib import Path
from xml.etree.ElementTree import Element

import polars as pl
import pytest

from benchmark.analysis.leaderboard import Leaderboard
from benchmark.report.conclusions import conclusions
from benchmark.report.covariates import added, differing, explained, listed, shown
from benchmark.report.page import PageContent, render
from benchmark.report.sections import SECTIONS
from tests.benchmark import page_content
from tests.benchmark.page_content import ATTACK, attacked, content_in, with_covariates
from tests.benchmark.report.test_page import having, parse, rows, text


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> PageContent:
    return with_covariates(content_in(tmp_path_factory.mktemp("pictures")))


@pytest.fixture(scope="module")
def page(content: PageContent) -> Element:
    return parse(render(content))


def board(**columns: pl.Expr) -> Leaderboard:
    """Eight trials; `columns` change those of image_adds.csv."""
    made = page_content.board()
    tables = page_content.of_covariates(made.trials)
    tables = dataclasses.replace(tables, image_adds=tables.image_adds.with_columns(**columns))
    return dataclasses.replace(made, of_covariates=tables)


def of(count: int) -> pl.Expr:
    """True for the first trials."""
    return pl.int_range(pl.len()) < count


def test_a_study_without_covariates_says_nothing_of_them(tmp_path: Path) -> None:
    plain = page_content.board()
    assert shown(plain) is None
    assert explained(plain) == [] and added(plain) == differing(plain) == ""
    assert SECTIONS["covariates"].heading not in render(content_in(tmp_path))


def test_an_explained_prediction_comes_first(content: PageContent) -> None:
    made = board(explained=of(1), adds=~of(1))
    (summary,) = having(parse(render(dataclasses.replace(content, board=made))), "class", "short")
    assert text(next(summary.iter("li"))) == (
        "Age may explain the prediction of openclip-tiny classifier_only: its score follows age, is not shown to add "
        "to age and sex, and among patients of equal age and sex, its AUC is 0.688 (0.648 to 0.718). Do not interpret "
        "this prediction as a sign of the disease in the image."
    )


def test_several_explained_predictions_are_one_sentence() -> None:
    follows = pl.when(of(1)).then(pl.lit("age; sex")).otherwise(pl.lit("age"))
    (found,) = explained(board(explained=of(3), adds=~of(3), predicts_covariates=follows))
    assert found.startswith(
        "Age and sex may explain the predictions of 3 of 8 trials that predict: their scores follow age and sex, are "
        "not shown to add to age and sex, and among patients of equal age and sex, the highest of their AUCs is 0.688"
    )
    everything = board(explained=pl.lit(True), adds=pl.lit(False))
    assert "all 8 trials that predict" in explained(everything)[0]
    assert added(everything) == "", "the first sentence has said so"


def test_what_the_score_adds_is_a_sentence() -> None:
    assert added(board()) in conclusions(board())
    assert added(board()) == (
        "All 8 trials are shown to add to age and sex (likelihood ratio, adjusted for 8 trials); with openclip-tiny "
        "classifier_only, the AUC rises most, from 0.641 to 0.715."
    )
    assert added(board(adds=of(1))) == (
        "Openclip-tiny classifier_only is shown to add to age and sex: the AUC rises from 0.641 to 0.715 (likelihood "
        "ratio, adjusted for 8 trials)."
    )
    none = added(board(adds=pl.lit(False)))
    assert none == "None of the 8 trials is shown to add to age and sex (likelihood ratio, adjusted for 8 trials)."
    assert added(board(adds=pl.lit(None, pl.Boolean))) == ""


def test_a_difference_between_subgroups_is_a_sentence() -> None:
    made = board()
    assert differing(made) == ""
    assert made.of_covariates is not None
    first = (pl.col("covariate") == "sex") & (pl.col("measure") == "auc") & (pl.col("strategy") == "partial")
    tests = made.of_covariates.heterogeneity.with_columns(differs=first)
    tables = dataclasses.replace(made.of_covariates, heterogeneity=tests)
    found = differing(dataclasses.replace(made, of_covariates=tables))
    assert found == "The AUC differs between subgroups of sex (3 trials); adjusted for all covariates and trials."


def test_names_in_a_sentence() -> None:
    assert [listed(names) for names in (["age"], ["age", "sex"], ["age", "sex", "site"])] == [
        "age",
        "age and sex",
        "age, sex and site",
    ]


def test_every_trial_has_a_row_in_every_table(page: Element) -> None:
    assert len(rows(page, "table-adds")) == 8
    assert len(rows(page, "table-predicts")) == 8 * 3
    assert len(rows(page, "table-heterogeneity")) == 8 * 2
    assert len(rows(page, "table-subgroups")) == 8 * 5


def test_table_1_has_every_number_of_the_file(page: Element, content: PageContent) -> None:
    (table,) = having(page, "id", "table-baseline")
    head, *body = [[text(cell) for cell in row] for row in table.iter("tr")]
    assert head == [
        "",
        "Training (750)",
        "Validation (120)",
        "Test (250)",
        "Difference",
        "Positive (376)",
        "Negative (744)",
        "Difference",
    ]
    assert body == [
        [
            "age",
            "60.2 (8.4)",
            "61.2 (8.5)1 missing",
            "62.2 (8.6)2 missing",
            "+0.32 0.21–0.35",
            "63.2 (8.7)3 missing",
            "64.2 (8.8)4 missing",
            "+0.42 0.31–0.45",
        ],
        ["sex", "", "1 missing", "2 missing", "0.32 0.21–0.35", "3 missing", "4 missing", "0.42 0.31–0.45"],
        ["female", "390 (52.0 %)", "61 (51.0 %)", "125 (50.0 %)", "", "184 (49.0 %)", "357 (48.0 %)", ""],
        ["male", "360 (48.0 %)", "59 (49.0 %)", "125 (50.0 %)", "", "192 (51.0 %)", "387 (52.0 %)", ""],
    ]


def test_a_cohort_without_training_images_has_no_difference_to_them(content: PageContent) -> None:
    """As in the folder of an external cohort."""
    assert content.board.of_covariates is not None
    only = content.board.of_covariates.covariates.filter(pl.col("patients").is_in(["test", "positive", "negative"]))
    only = only.with_columns(against=pl.when(pl.col("against") != "train").then("against"))
    tables = dataclasses.replace(content.board.of_covariates, covariates=only)
    changed = dataclasses.replace(content, board=dataclasses.replace(content.board, of_covariates=tables))
    (table,) = having(parse(render(changed)), "id", "table-baseline")
    age = next(row for row in table.iter("tr") if text(row[0]) == "age")
    assert [text(cell) for cell in age][1:3] == ["62.2 (8.6)2 missing", ""]


def test_what_is_not_known_has_its_reason(content: PageContent) -> None:
    made = board(not_known=pl.lit("too few patients"), adds=pl.lit(None, pl.Boolean))
    first = rows(parse(render(dataclasses.replace(content, board=made))), "table-adds")[0]
    assert text(first).endswith("Not known: too few patients.")


def test_text_from_outside_is_never_markup(content: PageContent) -> None:
    hostile = parse(render(attacked(content)))
    assert not [each for each in hostile.iter("script") if "alert" in text(each)]
    (table,) = having(hostile, "id", "table-baseline")
    assert f"age{ATTACK}" in {text(row[0]) for row in table.iter("tr")}


def test_charts_have_a_panel_per_covariate(content: PageContent) -> None:
    found = shown(content.board)
    assert found is not None
    assert [chart.title for chart in found["charts"]["subgroups"]] == ["age", "sex"]
    assert len(found["charts"]["added"]) == 1
