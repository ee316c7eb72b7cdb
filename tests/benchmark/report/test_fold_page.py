"""The page of a study with folds, and its table on the terminal."""

import re

import pytest
from rich.console import Console

from benchmark.report.fold_page import FoldPageContent, render_folds
from benchmark.report.terminal import print_board
from tests.benchmark.folded import TRIALS, board_of, write_folds


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_folds(tmp_path_factory.mktemp("folds"))


@pytest.fixture(scope="module")
def board(run):
    return board_of(*run)


def page_of(board, folds, **changes):
    content = {
        "title": "A <study>",
        "notices": ["Data are synthetic."],
        "board": board,
        "pages": {fold: f"folds/{fold.name}/leaderboard.html" for fold in folds},
        "classes": {"0": "healthy", "1": "ill"},
        "facts": {"Folds": "3"},
        "confidence": 0.95,
        "finished": "2026-01-01T00:00:00+00:00",
    }
    return render_folds(FoldPageContent(**content | changes))


def test_the_page_shows_the_numbers_of_the_tables(run, board):
    page = page_of(board, run[1])
    best = board.cross_validated.row(0, named=True)
    assert f"{best['auc']:.3f}" in page
    assert f"{best['auc_low']:.3f}–{best['auc_high']:.3f}" in page
    for fold in run[1]:
        assert f'<a href="folds/{fold.name}/leaderboard.html">Repeat {fold.repeat}, fold {fold.fold}</a>' in page
    assert "A &lt;study&gt;" in page
    assert page.count("<svg") > 10
    for name in ("folds", "cross_validated", "comparisons", "seeds", "variance"):
        assert f'download="{name}.csv"' in page
    (chart,) = re.findall(r'<figure class="chart".*?</figure>', page, re.DOTALL)
    assert len(re.findall(r"repeat \d, fold \d: AUC", chart)) == 4 * 6, "one dot per trial and fold"


def test_a_page_without_seeds_repeats_or_results(run, board, tmp_path):
    """One seed and one repeat leave sources of variance unknown; no trial leaves no chart."""
    directory, folds = run
    one = page_of(board_of(directory, folds[:3], TRIALS[:1]), folds[:3])
    assert "A dash: it takes two" in one
    assert 'id="seeds"' not in one and 'id="pairs"' not in one
    directory, folds = write_folds(tmp_path)
    directory.fold("r1-f2").trial(TRIALS[0]).failure.write_text("train: broken")
    none = page_of(board_of(directory, folds, TRIALS[:1]), folds)
    assert "r1-f2: train: broken" in none
    assert 'id="variance"' not in none


def test_the_terminal_shows_the_means(board, tmp_path):
    console = Console(width=100, record=True, quiet=False)
    assert print_board(board, tmp_path, 0.95, console) == 0
    text = console.export_text()
    assert f"{board.cross_validated['auc'][0]:.3f}" in text
    assert "6 folds, 96 images of 48 patients, 24 with a positive image." in " ".join(text.split())
