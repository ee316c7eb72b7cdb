"""The page over external cohorts."""

import re

import polars as pl
import pytest

from benchmark.analysis.cohorts import COHORTS_SCHEMA, OWN, POOLED_SCHEMA
from benchmark.analysis.comparisons import frame
from benchmark.report.cohorts_page import SUMMARY, cohorts_result, render_cohorts


@pytest.fixture
def tables():
    """Two trials in the run's own test images and two cohorts, one without an interval; names that need escaping."""
    rows = [
        {
            "backbone": "a", "strategy": strategy, "seed": 0, "cohort": cohort, "auc": auc, "auc_low": auc - 0.1,
            "auc_high": float("nan") if auc == 1 else auc + 0.05, "n_images": 40, "n_patients": 20,
            "n_positive_patients": 9,
        }
        for strategy, aucs in (("lora", (0.8, 0.7, 1.0)), ("partial", (0.9, 0.75, 0.65)))
        for cohort, auc in zip((OWN, "B & co", "clinic C"), aucs, strict=True)
    ]  # fmt: skip
    pooled = [
        {"backbone": "a", "strategy": "partial", "seed": 0, "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8}
        | {"i_squared": 0.25, "p_heterogeneity": 0.04, "tau_squared": 0.1, "q": 2.0, "n_cohorts": 2, "n_patients": 40}
    ]
    return frame(rows, COHORTS_SCHEMA), frame(pooled, POOLED_SCHEMA)


def page(tables):
    pages = {OWN: "../leaderboard.html", "B & co": "B%20%26%20co/leaderboard.html", "clinic C": "c"}
    return render_cohorts("my <run>", *tables, pages, 0.95)


def test_every_cohort_is_named_and_linked(tables):
    html = page(tables)
    assert "my &lt;run&gt;" in html
    assert '<a href="B%20%26%20co/leaderboard.html">B &amp; co</a>' in html
    assert "2 cohorts" in html
    assert SUMMARY in html
    assert html.count("<tr data-cell") == 6 + 1
    assert re.findall(r'(?:src|href)="https?:', html) == []


def test_trials_are_in_the_order_of_the_own_test_images(tables):
    found = re.findall(r'class="strategy" data-value="(\w+)"', page(tables))
    assert found == ["partial", *["partial"] * 3, *["lora"] * 3]


def test_one_cohort_needs_no_summary(tables):
    cohorts, pooled = tables
    html = page((cohorts.filter(pl.col("cohort") != "clinic C"), pooled))
    assert SUMMARY not in html
    assert 'id="pooled"' not in html


def test_results_have_every_number(tables):
    result = cohorts_result("r", *tables)
    assert [each.auc.value for each in result.cohorts] == [0.8, 0.7, 1.0, 0.9, 0.75, 0.65]
    assert result.cohorts[2].auc.high is None
    (pooled,) = result.pooled
    assert (pooled.auc.value, pooled.auc.n, pooled.new) == (0.7, 2, (None, None))
