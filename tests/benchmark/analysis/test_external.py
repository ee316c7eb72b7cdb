"""External validation on run directories made by hand: what is carried over, what is compared, what is fitted."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from benchmark.analysis.external import CARRIED_OVER, compare_cohorts
from benchmark.analysis.shifts import VESSELS
from benchmark.storage.rundir import RunDirectory, write_array, write_parquet
from benchmark.study.config import Statistics, Study
from benchmark.study.trials import trials_of
from xai.saliency_row import measure_names

STUDY = Study.model_validate(
    {"name": "x", "cohort": {"manifest": "x.csv"}, "backbones": ["dinov2-tiny"], "strategies": ["classifier_only"]}
)
(TRIAL,) = trials_of(STUDY)
SETTINGS = Statistics(resamples=200)
TEST = 120  # patients


def write_cohort(directory, seed, drop, training):
    """One image per patient; logits of positive ones are `2 - drop` higher, and 1 higher in total outside."""
    generator = np.random.default_rng(seed)
    splits = ["test"] * TEST + (["val"] * 60 + ["train"] * 90 if training else [])
    labels = np.arange(len(splits)) % 3 == 0
    logits = generator.normal(0, 1, len(splits)) + np.where(labels, 2 - drop, 0) - 1 + (0 if training else 1)
    names = [f"{seed}-{i}.jpg" for i in range(len(splits))]
    table = pl.DataFrame(
        {
            "row": range(len(splits)),
            "image": names,
            "patient_id": names,
            "label": labels.astype(np.int8),
            "split": splits,
            "score": 1 / (1 + np.exp(-logits)),
        }
    )
    write_parquet(directory.cohort, table.drop("score"))
    write_array(directory.images, generator.integers(0, 255, (len(splits), 224, 224, 3)).astype(np.uint8))
    write_array(directory.regions, np.full((TEST, 4, 224, 224), 255, np.uint8))
    test = table.filter(split="test")
    shares = {name: generator.uniform(0.05, 0.15, TEST) for name in VESSELS}
    vessels = pl.DataFrame({"image": test["image"]} | shares)
    write_parquet(directory.vessels, vessels.with_columns(error=pl.lit(None, pl.String)))
    folder = directory.trial(TRIAL)
    folder.path.mkdir(parents=True)
    values = {name: generator.uniform(0.5, 1.5, TEST) for name in measure_names("minmax", False, False)}
    write_parquet(folder.saliency, test.select("image", "patient_id").with_columns(**values))
    return table


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The run, and a cohort in which the models are worse and the risks too high."""
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    outside = run.external("B")
    outside.path.mkdir(parents=True)
    outside.apply(run, 0.5)
    own, other = write_cohort(run, 1, 0, True), write_cohort(outside, 2, 1.2, False)
    columns = ("image", "patient_id", "label", "score", "split")
    held_out = own.filter(pl.col("split") != "train").select(columns)
    write_parquet(run.trial(TRIAL).predictions, held_out)
    carried = pl.concat([held_out.filter(split="val"), other.select(columns)])
    write_parquet(outside.trial(TRIAL).predictions, carried)
    return own.filter(split="test"), other, compare_cohorts(outside, [TRIAL], SETTINGS, "none")


def test_the_fall_of_the_auc(tables):
    own, other, found = tables
    row = found.external.filter(measure="auc").row(0, named=True)
    inside, outside = (roc_auc_score(each["label"], each["score"]) for each in (own, other))
    assert (row["internal"], row["external"]) == pytest.approx((inside, outside))
    assert row["difference"] == pytest.approx(outside - inside)
    assert row["difference_high"] < 0, "planted: the logits of positive images are 1.2 lower"
    assert row["p_value"] == row["p_holm"] < 0.01
    assert (row["n_internal"], row["n_external"]) == (TEST, TEST)


def test_risks_that_are_too_high_outside(tables):
    _, other, found = tables
    inside, outside = (
        found.external.filter(measure="calibration_intercept")[side][0] for side in ("internal", "external")
    )
    assert outside < inside - 0.5
    row = found.external.filter(measure="brier").row(0, named=True)
    assert row["external"] == pytest.approx(brier_score_loss(other["label"], other["score"]))
    assert found.external.filter(measure="ece")["p_value"][0] is None


def test_thresholds_are_those_of_the_validation_images(tables):
    _, other, found = tables
    for row in found.external.filter(measure="specificity").to_dicts():
        negative = other.filter(label=0)["score"]
        assert row["external"] == pytest.approx((negative < row["threshold"]).mean())
        assert row["n_external"] == len(negative)
    assert found.external.filter(measure="specificity")["point"].n_unique() == 5


def test_recalibration_on_external_patients_corrects_the_risks(tables):
    """Fitted on half of the patients, compared on the other half; validation images of the run do not help."""
    rows = {(row["method"], row["fitted_on"]): row for row in tables[2].recalibration.to_dicts()}
    assert len(rows) == 5
    assert {row["n_patients"] for row in rows.values()} == {TEST // 2}
    carried, own, fitted = rows[CARRIED_OVER, ""], rows["logistic", "validation"], rows["logistic", "external"]
    assert carried["calibration_intercept"] < -0.5
    assert own["calibration_intercept"] < -0.5
    assert abs(fitted["calibration_intercept"]) < 0.6
    assert fitted["brier"] < carried["brier"]
    assert (own["n_fitted_images"], fitted["n_fitted_patients"]) == (60, TEST // 2)
    assert rows["isotonic", "external"]["brier"] < carried["brier"]


def test_shifts_have_the_trial(tables):
    scores = tables[2].shifts.filter(about="scores")
    assert scores["n_external"].to_list() == [TEST // 3, 2 * TEST // 3]
    assert set(tables[2].tables()) == {"external", "recalibration", "shifts"}
