"""The points of the curves against scikit-learn, their intervals against formulas written out."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn import metrics

from benchmark.analysis.comparisons import TRIAL
from benchmark.analysis.curves import SCHEMA, THRESHOLDS, TREAT_ALL, curve_rows, treat_all_rows
from stats.decision import decision_bands
from tests.benchmark.trials import LABELS, PATIENTS, make_tested

TESTED = make_tested()


@pytest.fixture(scope="module")
def curves():
    """The curves of one trial, by name."""
    table = pl.DataFrame(curve_rows(TESTED, PATIENTS, 0.9), schema=SCHEMA)
    return {str(name): of_curve for (name,), of_curve in table.group_by("curve", maintain_order=True)}


def test_curves_in_the_columns_of_the_schema(curves):
    assert list(curves) == ["roc", "calibration", "decision", "decision_difference"]
    rows = curve_rows(TESTED, PATIENTS, 0.9) + treat_all_rows(LABELS)
    assert {name for row in rows for name in row} == set(SCHEMA)
    assert tuple(SCHEMA)[:3] == tuple(TRIAL)
    assert {row["backbone"] for row in treat_all_rows(LABELS)} == {TREAT_ALL}


def test_roc(curves):
    """No two scores are tied, so scikit-learn's corners are the same, except that it keeps the first score."""
    fpr, tpr, thresholds = metrics.roc_curve(LABELS, TESTED.scores)
    assert thresholds[1] == TESTED.scores.max()
    fpr, tpr = np.delete([fpr, tpr], 1, axis=1)
    points = curves["roc"]
    np.testing.assert_allclose(points["x"], fpr, atol=1e-12)
    np.testing.assert_allclose(points["y"], tpr, atol=1e-12)
    assert metrics.auc(points["x"], points["y"]) == pytest.approx(metrics.roc_auc_score(LABELS, TESTED.scores))
    assert points.select("low", "high", "n").null_count().row(0) == (len(points),) * 3


def test_calibration(curves):
    """No two scores are tied: a hundred images make three bins by their order."""
    by_score = np.argsort(TESTED.scores)
    bins = np.split(by_score, [33, 66])
    points = curves["calibration"]
    np.testing.assert_allclose(points["x"], [TESTED.scores[rows].mean() for rows in bins], atol=1e-12)
    np.testing.assert_allclose(points["y"], [LABELS[rows].mean() for rows in bins], atol=1e-12)
    assert points["n"].to_list() == [33, 33, 34]


@pytest.mark.parametrize(("images", "bins"), [(2, 2), (84, 3), (159, 3), (160, 4), (399, 9), (400, 10), (5000, 10)])
def test_a_bin_of_the_calibration_curve_holds_about_forty_images(images, bins):
    labels = np.arange(images) % 2
    tested = replace(TESTED, labels=labels, scores=np.linspace(0.01, 0.99, images))
    counts = [row["n"] for row in curve_rows(tested, np.arange(images), 0.95) if row["curve"] == "calibration"]
    assert len(counts) == bins
    assert sum(counts) == images and max(counts) - min(counts) <= 1


def test_calibration_intervals_count_patients(curves):
    """Each bin has Wilson's interval for the effective number of images of its patients (Kish)."""
    bin_of_image = np.digitize(np.argsort(np.argsort(TESTED.scores)), [33, 66])
    for k, row in enumerate(curves["calibration"].to_dicts()):
        images = np.unique(PATIENTS[bin_of_image == k], return_counts=True)[1]
        n, share, z = images.sum() ** 2 / (images**2).sum(), LABELS[bin_of_image == k].mean(), norm.isf(0.05)
        roots = np.roots([1 + z * z / n, -(2 * share + z * z / n), share**2]).real
        assert (row["low"], row["high"]) == pytest.approx(sorted(roots), abs=1e-12)


def test_no_band_is_without_width(curves):
    """Also if no patient is called positive, and in a bin without positives."""
    for name in ("calibration", "decision", "decision_difference"):
        assert (curves[name]["high"] - curves[name]["low"]).min() > 0, name
    nobody = replace(TESTED, scores=np.full(100, 0.02))
    rows = pl.DataFrame(curve_rows(nobody, PATIENTS, 0.9), schema=SCHEMA).filter(curve="decision")
    assert (rows["high"] - rows["low"]).min() > 0


def net_benefit(rows, threshold, scores):
    """Per image, from a table of labels against calls."""
    table = metrics.confusion_matrix(LABELS[rows], scores[rows] >= threshold, labels=[0, 1])
    (_, fp), (_, tp) = table
    return (tp - fp * threshold / (1 - threshold)) / table.sum()


def test_decision(curves):
    curve, everyone = curves["decision"], np.arange(100)
    assert curve["x"].to_list() == pytest.approx(np.arange(1, 100) / 100)
    expected = [net_benefit(everyone, threshold, TESTED.scores) for threshold in THRESHOLDS]
    np.testing.assert_allclose(curve["y"], expected, atol=1e-12)
    assert curve["n"].unique().to_list() == [100]


def test_decision_differences_are_from_treating_everyone(curves):
    everyone = dict(zip(THRESHOLDS, curves["decision_difference"]["y"], strict=True))
    treat_all = {row["x"]: row["y"] for row in treat_all_rows(LABELS)}
    for row in curves["decision"].to_dicts():
        assert everyone[row["x"]] == pytest.approx(row["y"] - treat_all[row["x"]], abs=1e-12)


def test_decision_intervals_are_over_patients(curves):
    """Fifty patients, whose two images are assumed to agree."""
    bands = decision_bands(LABELS, TESTED.scores, THRESHOLDS, PATIENTS, 0.9)
    for name, band in (("decision", bands.model), ("decision_difference", bands.difference)):
        np.testing.assert_allclose(curves[name].select("low", "high").to_numpy(), np.transpose(band), atol=1e-12)
    as_if_patients = decision_bands(LABELS, TESTED.scores, THRESHOLDS, np.arange(100), 0.9)
    assert (as_if_patients.model.high - as_if_patients.model.low < bands.model.high - bands.model.low).all()


def test_acting_on_everyone_is_a_curve_without_a_cell():
    labels = np.array([1, 0, 0, 0])
    table = pl.DataFrame(treat_all_rows(labels), schema=SCHEMA)
    assert table.select("backbone", "strategy", "seed", "curve").unique().rows() == [("treat all", "", 0, "decision")]
    at = dict(table.select("x", "y").iter_rows())
    assert at[0.25] == pytest.approx(0, abs=1e-12), "at the prevalence, as much harm as benefit"
    assert at[0.5] == pytest.approx(0.25 - 0.75)
    assert table["low"].null_count() == table["high"].null_count() == len(table) == 99
