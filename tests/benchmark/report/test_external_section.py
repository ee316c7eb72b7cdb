"""What the page of an external cohort says first, and shows next to the run's own test patients."""

import re
from dataclasses import replace

import polars as pl
import pytest

from benchmark.analysis.comparisons import frame
from benchmark.analysis.curves import SCHEMA as CURVES
from benchmark.analysis.external import COHORTS_SCHEMA, RECALIBRATION_SCHEMA, ExternalValidation
from benchmark.analysis.shifts import SHIFTS_SCHEMA
from benchmark.report.external_section import SIDES, ExternalContent, external_sentences, external_view
from benchmark.report.page import render
from tests.benchmark.page_content import content_in

KEYS = [("a", "lora", 0), ("a", "partial", 0)]


def named(key):
    return dict(zip(("backbone", "strategy", "seed"), key, strict=True))


def content(drops, slopes=(1.1, 0.6), p=(0.01, 0.5)):
    """Two trials with these changes of the AUC; calibration curves of both cohorts."""
    rows = [
        named(key)
        | {"measure": measure, "point": point, "threshold": 0.4 if point else None}
        | {"internal": 0.8, "internal_low": 0.7, "internal_high": 0.9, "n_internal": 50, "n_external": 40}
        | {"external": value, "external_low": value - 0.1, "external_high": value + 0.1}
        | {"difference": value - 0.8, "difference_low": value - 0.95, "difference_high": value - 0.7}
        | {"p_value": p_holm, "p_holm": p_holm}
        for key, drop, slope, p_holm in zip(KEYS, drops, slopes, p, strict=True)
        for measure, value, point in (
            ("auc", 0.8 + drop, None),
            ("calibration_slope", slope, None),
            ("sensitivity", 0.6, "best_f1"),
            ("specificity", 0.7, "best_f1"),
            ("calibration_intercept", -0.4, None),
            ("brier", 0.2, None),
            ("vessel_ratio_fov", 1.3, None),
        )
    ]
    shifts = [
        {"about": about, "measure": measure, "internal": 1.0, "n_internal": 9, "external": 2.0, "n_external": 8}
        | {"difference": 1.0, "low": 0.5, "high": 1.5}
        for about, measure in (("scores", "logit of the score, positive"), ("images", "sharpness"))
    ]
    recalibration = [
        named(KEYS[0])
        | {"method": "isotonic", "fitted_on": "external", "n_fitted_images": 12, "n_fitted_patients": 6}
        | {"n_images": 20, "n_patients": 9}
    ]
    tables = ExternalValidation(
        frame(rows, COHORTS_SCHEMA), frame(recalibration, RECALIBRATION_SCHEMA), frame(shifts, SHIFTS_SCHEMA)
    )
    return ExternalContent("study A", "../../leaderboard.html", 70, 30, tables, curves(0.3))


def curves(share):
    points = [
        named(key) | {"curve": "calibration", "x": x, "y": y, "low": y - 0.1, "high": y + 0.1, "n": 20}
        for key in KEYS
        for x, y in ((0.2, share), (0.7, share + 0.3))
    ]
    return pl.DataFrame(points, schema=CURVES)


def test_a_significant_fall_is_said_first():
    first, change, risks = external_sentences(content((-0.15, 0.02)))
    assert first == (
        "External validation: the models were trained on 70 patients of “study A”, and nothing was fitted to the "
        "patients of this page."
    )
    assert "the AUC changed by −0.150 to +0.020 (mean −0.065)" in change
    assert change.endswith("it is significantly lower in 1 of 2 trials (adjusted for all trials).")
    assert risks == "Predicted risks are too extreme here (calibration slope below 1) in 1 of 2 trials."


def test_no_significant_fall_comes_with_its_interval():
    """A rise is not a fall, however significant; and no sentence about risks that are not too extreme."""
    sentences = external_sentences(content((0.15, -0.02), slopes=(1.2, 1.0), p=(0.001, 0.6)))
    assert len(sentences) == 2
    assert "no fall is significant in these 2 trials, with intervals as wide as −0.170 to +0.080" in sentences[1]


def test_rows_have_the_order_of_the_leaderboard():
    view = external_view(content((-0.1, 0.0)), curves(0.5), [KEYS[1], KEYS[0]])
    assert [row["strategy"] for row in view["trials"]] == ["partial", "lora"]
    assert view["trials"][1]["auc"]["external"] == pytest.approx(0.7)
    assert [row["strategy"] for row in view["points"]] == ["partial", "lora"]
    assert view["points"][0]["sensitivity"]["external"] == 0.6
    assert [row["about"] for row in view["shifts"]] == ["images", "scores"]
    assert view["recalibration"][0]["called"] == "Isotonic, fitted on external patients"


def test_charts_show_both_cohorts():
    view = external_view(content((-0.1, 0.0)), curves(0.5), KEYS)
    (forest,) = view["charts"]["forest"]
    assert all(side in forest.svg for side in SIDES)
    assert [chart.title for chart in view["charts"]["calibration"]] == ["a, lora, seed 0", "a, partial, seed 0"]
    assert all(side in chart.svg for chart in view["charts"]["calibration"] for side in SIDES)


def test_the_page_of_a_run_leads_to_its_external_cohorts(tmp_path):
    plain = content_in(tmp_path)
    html = render(replace(plain, cohorts_page="external/index.html"))
    assert '<a href="external/index.html">external validation</a>' in html
    assert "external validation</a>" not in render(plain)


def test_the_page_has_the_section(tmp_path):
    """With every row, and numbers as in the tables; the downloads have the tables."""
    found = content((-0.15, 0.02))
    html = render(replace(content_in(tmp_path), external=found))
    section = html[html.index('<section aria-labelledby="external">') :]
    section = section[: section.index("</section>")]
    assert '<a href="../../leaderboard.html">study A</a>' in section
    rows = {
        table: re.findall(r"<tr.*?</tr>", part, re.DOTALL)
        for table, part in re.findall(r'id="(table-[\w-]+)">.*?<tbody>(.*?)</tbody>', section, re.DOTALL)
    }
    assert {table: len(each) for table, each in rows.items()} == {
        "table-external": 2, "table-external-risks": 2, "table-external-calls": 2, "table-recalibration": 1,
        "table-shifts": 2,
    }  # fmt: skip
    assert 'data-value="-0.15' in rows["table-external"][0] or 'data-value="-0.15' in rows["table-external"][1]
    assert "−0.150" in "".join(rows["table-external"])
    assert all(f'download="{name}.csv"' in html for name in ("external", "recalibration", "shifts"))
    assert html.index("External validation: the models were trained on 70 patients") < html.index('id="leaderboard"')
