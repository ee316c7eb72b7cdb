"""The points of the curves against scikit-learn, their intervals against resamples written out row by row."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from benchmark.comparisons import CELL
from benchmark.curves import SCHEMA, THRESHOLDS, TREAT_ALL, curve_rows, treat_all_rows
from stats.resamples import draw_people
from tests.benchmark.trials import LABELS, PEOPLE, make_tested

RESAMPLES = draw_people(PEOPLE, LABELS, resamples=200, seed=0)
TESTED = make_tested()


@pytest.fixture(scope="module")
def curves():
    """Of one cell, by the name of the curve."""
    table = pl.DataFrame(curve_rows(TESTED, RESAMPLES, 0.9), schema=SCHEMA)
    return {str(name): of_curve for (name,), of_curve in table.group_by("curve", maintain_order=True)}


def repeated(number):
    """The images of a resample, each as often as it was drawn."""
    return np.repeat(np.arange(100), RESAMPLES.counts[number][PEOPLE])


def test_three_curves_in_the_columns_of_the_schema(curves):
    assert list(curves) == ["roc", "calibration", "decision"]
    rows = curve_rows(TESTED, RESAMPLES, 0.9) + treat_all_rows(LABELS)
    assert {name for row in rows for name in row} == set(SCHEMA)
    assert tuple(SCHEMA)[:3] == tuple(CELL)
    assert {row["backbone"] for row in treat_all_rows(LABELS)} == {TREAT_ALL}


def test_roc(curves):
    """No two scores are tied, so scikit-learn's corners are the same, but that it keeps the first score."""
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
    resamples = draw_people(np.arange(images), labels, resamples=2, seed=0)
    counts = [row["n"] for row in curve_rows(tested, resamples, 0.95) if row["curve"] == "calibration"]
    assert len(counts) == bins
    assert sum(counts) == images and max(counts) - min(counts) <= 1


def test_calibration_intervals_are_over_people(curves):
    """The bins stay those of the data; a resample that drew nobody of a bin says nothing of it."""
    bin_of_image = np.digitize(np.argsort(np.argsort(TESTED.scores)), [33, 66])
    shares = np.full((200, 3), np.nan)
    for number, of_resample in enumerate(shares):
        rows = repeated(number)
        for k in set(bin_of_image[rows].tolist()):
            of_resample[k] = LABELS[rows][bin_of_image[rows] == k].mean()
    expected = np.nanquantile(shares, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(curves["calibration"].select("low", "high").to_numpy(), expected.T, atol=1e-12)


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


def test_decision_intervals_are_over_people(curves):
    for threshold in (0.3, 0.5):
        samples = [net_benefit(repeated(number), threshold, TESTED.scores) for number in range(200)]
        row = curves["decision"].filter((pl.col("x") - threshold).abs() < 1e-9).row(0, named=True)
        assert (row["low"], row["high"]) == pytest.approx(np.quantile(samples, [0.05, 0.95]), abs=1e-12)


def test_acting_on_everyone_is_a_curve_without_a_cell():
    labels = np.array([1, 0, 0, 0])
    table = pl.DataFrame(treat_all_rows(labels), schema=SCHEMA)
    assert table.select("backbone", "strategy", "seed", "curve").unique().rows() == [("treat all", "", 0, "decision")]
    at = dict(table.select("x", "y").iter_rows())
    assert at[0.25] == pytest.approx(0, abs=1e-12), "at the prevalence, as much harm as benefit"
    assert at[0.5] == pytest.approx(0.25 - 0.75)
    assert table["low"].null_count() == table["high"].null_count() == len(table) == 99
