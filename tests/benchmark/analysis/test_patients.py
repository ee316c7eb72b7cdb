"""Measures of patients from trial files written by hand, compared with scikit-learn on grouped scores."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from benchmark.analysis.leaderboard import build
from benchmark.analysis.patients import IMAGE, MAX, MEAN, MEASURED, PAIRS_SCHEMA, SCHEMA, combined, read_images
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Statistics
from stats.delong import delong_test
from stats.multiple import holm
from tests.benchmark.trials import change, one_trial, write_cohort, write_trial

SETTINGS = Statistics(resamples=200)


@pytest.fixture
def directory(tmp_path):
    return write_cohort(RunDirectory(tmp_path))


def levels(directory, which, settings=SETTINGS):
    """level -> its row of patients.csv."""
    return {row["level"]: row for row in build(directory, [which], settings).patients.to_dicts()}


def grouped(folder, split, how=pl.Expr.mean):
    """Labels and scores of patients by a plain grouping, without eyes and visits."""
    predictions = pl.read_parquet(folder.predictions).filter(split=split)
    patients = predictions.group_by("patient_id").agg(pl.col("label").max(), how(pl.col("score"))).sort("patient_id")
    return patients["label"].to_numpy(), patients["score"].to_numpy()


@pytest.mark.parametrize(("level", "how"), [(MEAN, pl.Expr.mean), (MAX, pl.Expr.max)])
def test_measures_are_those_of_scikit_learn_on_grouped_scores(directory, level, how):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    row = levels(directory, which)[level]
    labels, scores = grouped(folder, "test", how)
    called = scores >= row["threshold"]
    (tn, fp), (fn, tp) = confusion_matrix(labels, called)
    expected = {
        "auc": roc_auc_score(labels, scores),
        "average_precision": average_precision_score(labels, scores),
        "f1": f1_score(labels, called),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "balanced_accuracy": balanced_accuracy_score(labels, called),
        "brier": brier_score_loss(labels, scores),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert (row["n"], row["n_positive"], row["n_called"]) == (40, 20, tp + fp)
    assert set(expected) | {"calibration_intercept", "calibration_slope"} == set(MEASURED)
    assert all(row[f"{name}_low"] < row[name] < row[f"{name}_high"] for name in MEASURED)


def test_the_level_of_images_is_the_leaderboards(directory):
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    board = build(directory, [which], SETTINGS)
    of_images, of_means = board.patients.filter(level=IMAGE).row(0, named=True), board.patients.filter(level=MEAN)
    cell = board.trials.row(0, named=True)
    for name in MEASURED:
        for column in (name, f"{name}_low", f"{name}_high"):
            assert of_images[column] == cell[column]
    assert (of_images["n"], of_images["threshold"]) == (80, cell["threshold"])
    for bound in ("", "_low", "_high"):
        assert cell[f"auc_patient{bound}"] == of_means[f"auc{bound}"][0]


@pytest.mark.parametrize("interval", ["t", "percentile", "bca"])
def test_with_one_image_per_patient_all_levels_are_equal(directory, interval):
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    for file in (directory.cohort, directory.trial(which).predictions):
        write_parquet(file, pl.read_parquet(file).sort("image").unique("patient_id", keep="first", maintain_order=True))
    found = levels(directory, which, Statistics(resamples=1000, interval=interval))
    images = {name: value for name, value in found.pop(IMAGE).items() if name != "level"}
    assert images["n"] == 40 and set(found) == {MEAN, MAX}
    for row in found.values():
        assert {name: row[name] for name in images} == pytest.approx(images, abs=1e-12)


def test_means_are_over_eyes_and_visits(directory):
    """The second image of every patient is a second photograph of the left eye, or of another visit."""
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    cohort = pl.read_parquet(directory.cohort)
    third = cohort.filter(pl.col("eye") == "right", split="test").with_columns(
        pl.col("image") + "x", eye=pl.lit("left")
    )
    predictions = pl.read_parquet(folder.predictions)
    scores = third.select("image", "patient_id", "label", pl.lit(0.9).alias("score"), "split")
    write_parquet(folder.predictions, pl.concat([predictions, scores]))
    both = pl.concat([cohort, third])
    write_parquet(directory.cohort, both)

    def of(patient):
        table = combined(folder, read_images(directory))[MEAN]
        return table.filter(patient_id=patient)["score"].item()

    score = dict(predictions.select("image", "score").iter_rows())
    assert of("p3") == pytest.approx(((score["6.png"] + 0.9) / 2 + score["7.png"]) / 2)
    visits = pl.when(pl.col("image").str.ends_with("x")).then(pl.lit("2024")).otherwise(pl.lit("2023"))
    write_parquet(directory.cohort, both.with_columns(visit=visits))
    assert of("p3") == pytest.approx(((score["6.png"] + score["7.png"]) / 2 + 0.9) / 2)
    write_parquet(directory.cohort, both.drop("eye"))
    assert of("p3") == pytest.approx((score["6.png"] + score["7.png"] + 0.9) / 3)


def test_labels_per_eye_make_a_patient_positive_with_either(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    one_eye = pl.when(pl.col("image") == "0.png").then(1).otherwise(pl.col("label")).alias("label")
    for file in (directory.cohort, folder.predictions):
        change(file, one_eye)
    row = levels(directory, which)[MEAN]
    assert (row["n"], row["n_positive"]) == (40, 21)
    assert row["auc"] == pytest.approx(roc_auc_score(*grouped(folder, "test")))


def test_thresholds_and_risks_come_from_validation_patients(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    recalibrated = Statistics(resamples=200, risk="recalibrated")
    chosen = ("threshold", "risk_intercept", "risk_slope")
    before = levels(directory, which, recalibrated)
    turned = pl.when(pl.col("split") == "test").then(1 - pl.col("label")).otherwise(pl.col("label")).alias("label")
    for file in (directory.cohort, folder.predictions):
        change(file, turned)
    after = levels(directory, which, recalibrated)
    for level in (IMAGE, MEAN, MAX):
        assert [before[level][name] for name in chosen] == [after[level][name] for name in chosen]
    assert after[MEAN]["auc"] == pytest.approx(1 - before[MEAN]["auc"])
    assert before[MEAN]["risk_slope"] != 1
    # Ten patients with two validation images each: the threshold is the one with the highest F1 of their means.
    paired = pl.when(pl.col("split") == "val").then("w" + (pl.int_range(pl.len()) // 2).cast(pl.String))
    paired = paired.otherwise(pl.col("patient_id")).alias("patient_id")
    write_parquet(directory.cohort, pl.read_parquet(directory.cohort).with_columns(paired))
    names = pl.read_parquet(directory.cohort).select("image", "patient_id")
    predictions = pl.read_parquet(folder.predictions).drop("patient_id").join(names, on="image")
    write_parquet(folder.predictions, predictions)
    labels, scores = grouped(folder, "val")
    best = max(f1_score(labels, scores >= threshold) for threshold in scores)
    threshold = levels(directory, which)[MEAN]["threshold"]
    assert len(scores) == 10 and f1_score(labels, scores >= threshold) == pytest.approx(best)


def test_balancing_is_undone_by_the_share_of_positive_patients(directory):
    """Of the training patients one in four is positive, but half of the images: the positive one has three images."""
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    cohort = pl.read_parquet(directory.cohort)
    trained = cohort.head(6).with_columns(
        pl.Series("image", [f"t{place}" for place in range(6)]),
        pl.Series("patient_id", ["a", "a", "a", "b", "c", "d"]),
        pl.Series("label", [1, 1, 1, 0, 0, 0]),
        split=pl.lit("train"),
    )
    write_parquet(directory.cohort, pl.concat([cohort, trained]))
    found = levels(directory, which)
    assert found[IMAGE]["risk_intercept"] == 0
    assert found[MEAN]["risk_intercept"] == pytest.approx(np.log(1 / 3))


def test_differences_between_trials_are_paired_over_patients(directory):
    cells = [one_trial("classifier_only"), one_trial("partial"), one_trial("lora")]
    for seed, (which, strength) in enumerate(zip(cells, (0.1, 1, 4), strict=True)):
        write_trial(directory, which, strength, ratio=1.2, seed=seed)
    pairs = build(directory, cells, SETTINGS).patient_pairs
    assert pairs.schema == pl.Schema(PAIRS_SCHEMA) and len(pairs) == 2 * 3
    of_means = pairs.filter(level=MEAN)
    for row in of_means.to_dicts():
        a, b = (directory.trial(one_trial(row[f"strategy_{side}"])) for side in "ab")
        (labels, scores), (_, others) = grouped(a, "test"), grouped(b, "test")
        test = delong_test(labels, scores, others)
        assert row["difference"] == pytest.approx(roc_auc_score(labels, scores) - roc_auc_score(labels, others))
        assert (row["low"], row["high"]) == pytest.approx(test.t_interval())
        assert (row["p_value"], row["n_patients"]) == (pytest.approx(test.p_value), 40)
    assert of_means["p_holm"].to_list() == pytest.approx(holm(of_means["p_value"].to_numpy()).tolist())
    assert of_means.filter(strategy_a="classifier_only", strategy_b="lora")["verdict"].item() == "differs"


def test_a_failed_trial_has_no_level(directory):
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    board = build(directory, [which, one_trial("full")], SETTINGS)
    assert board.patients.schema == pl.Schema(SCHEMA)
    assert board.patients["strategy"].to_list() == ["lora"] * 3
    assert board.patient_pairs.is_empty()


def test_patients_of_one_class_have_no_auc(directory):
    """With labels per eye, every patient may have a positive eye."""
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    positive = (
        pl.when(pl.col("image").str.extract(r"(\d+)").cast(pl.Int64) % 2 == 0).then(1).otherwise(0).alias("label")
    )
    for file in (directory.cohort, folder.predictions):
        change(file, positive)
    board = build(directory, [which], SETTINGS)
    row = board.patients.filter(level=MEAN).row(0, named=True)
    assert (row["n"], row["n_positive"], row["auc"], row["specificity"]) == (40, 40, None, None)
    assert board.patients.filter(level=IMAGE)["auc"][0] is not None
    assert board.trials["auc_patient"].to_list() == [None]
