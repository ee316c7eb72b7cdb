"""External validation from start to end: within a run, and of a finished run."""

import json
import os

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from benchmark import synthetic
from benchmark.analysis.cohorts import OWN
from benchmark.errors import UserError
from benchmark.report.results import read_results
from benchmark.stages.pipeline import run_study
from benchmark.stages.validate import validate_run
from benchmark.storage.rundir import RunDirectory, open_array
from benchmark.study.config import SWITCHES, External, Study
from benchmark.study.trials import trials_of
from benchmark.trial.apply import open_trained
from tests.benchmark.recompute import recomputed


def drawn(folder, name, patients, seed, prefix):
    """A synthetic cohort whose patients have ids of their own."""
    path = synthetic.write_cohort(synthetic.SyntheticCohort(patients, image_size=128, seed=seed), folder / name)
    table = pl.read_csv(path, infer_schema=False).with_columns(patient_id=prefix + pl.col("patient_id"))
    table.write_csv(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("validate")


@pytest.fixture(scope="module")
def study(folder):
    """Its external cohort has fewer positive patients, and a manifest with splits, which do not matter there."""
    other = drawn(folder, "other", 14, 5, "o")
    table = pl.read_csv(other, infer_schema=False)
    table.with_columns(split=pl.lit("train")).write_csv(other)
    return Study.model_validate(
        {
            "name": "tiny",
            "cohort": {"manifest": drawn(folder, "own", 20, 3, "a")},
            "backbones": ["dinov2-tiny"],
            "strategies": ["classifier_only", {"name": "partial", "blocks": 1}],
            "training": {"epochs": 2, "batch_size": 8, "views": 1},
            "explain": {"examples": 0},
            "controls": dict.fromkeys(SWITCHES, False),
            "statistics": {"resamples": 200},
            "resources": {"cpus": min(2, os.cpu_count() or 1)},  # one worker at a time: each imports torch for seconds
            "external": [{"name": "other clinic", "manifest": other, "recalibrate": 0.4}],
        }
    )


@pytest.fixture(scope="module")
def run(folder, study):
    run_study(study, folder / "run")
    return RunDirectory(folder / "run")


@pytest.fixture(scope="module")
def manifest(folder):
    """A further cohort."""
    return drawn(folder, "b", 12, 8, "b")


@pytest.fixture(scope="module")
def second(folder, study, run, manifest):
    """The further cohort, after the run has ended."""
    _, directory = validate_run(run.path, study, External(name="B", manifest=manifest), None)
    return directory


def test_every_image_is_tested_and_scored_by_the_trained_model(run, study):
    """The scores are those of the model applied to the crops by other code, up to the rounding of a batch."""
    external = run.external("other clinic")
    cohort = pl.read_parquet(external.cohort)
    assert cohort["split"].unique().to_list() == ["test"]
    assert len(cohort) == 28
    for trial in trials_of(study):
        own, there = (pl.read_parquet(each.trial(trial).predictions) for each in (run, external))
        assert there.filter(split="val").equals(own.filter(split="val")), "thresholds are carried over"
        scores = open_trained(study, run, trial).scores(open_array(external.images)[cohort["row"].to_numpy()])
        np.testing.assert_allclose(there.filter(split="test")["score"], scores, atol=1e-6)
        assert not list(external.trial(trial).path.glob("*.safetensors")), "weights stay where they were trained"


def test_every_number_comes_out_again_from_the_parquet_files(run, study):
    external = run.external("other clinic")
    table = pl.read_csv(external.leaderboard("csv"))
    own = {row["strategy"]: row for row in pl.read_csv(run.leaderboard("csv")).to_dicts()}
    for trial, row in zip(trials_of(study), table.sort("strategy").to_dicts(), strict=True):
        for name, value in recomputed(external.trial(trial).path, run.path).items():
            assert row[name] == (None if value is None else pytest.approx(value, abs=1e-12)), (trial.name, name)
        assert row["threshold"] == own[row["strategy"]]["threshold"]
        assert row["risk_intercept"] == own[row["strategy"]]["risk_intercept"], "by the run's training images"


def test_inside_and_outside_are_compared(run, study):
    """With AUCs from scikit-learn; the difference lies in its interval, which is wider than either side's half."""
    external = run.external("other clinic")
    result = read_results(external.path).external
    assert result.run == "tiny"
    compared = {(row.strategy, row.measure, row.point): row for row in result.compared}
    for trial in trials_of(study):
        row = compared[trial.strategy.name, "auc", None]
        for side, directory in ((row.internal, run), (row.external, external)):
            found = pl.read_parquet(directory.trial(trial).predictions).filter(split="test")
            assert side.value == pytest.approx(roc_auc_score(found["label"], found["score"]), abs=1e-12)
            assert side.n == len(found)
        assert row.difference.value == pytest.approx(row.external.value - row.internal.value, abs=1e-12)
        assert row.difference.low < row.difference.value < row.difference.high
        at = compared[trial.strategy.name, "sensitivity", "sensitivity_90"]
        found = pl.read_parquet(external.trial(trial).predictions).filter(split="test", label=1)
        assert at.external.value == pytest.approx((found["score"] >= at.threshold).mean())
    page = external.leaderboard("html").read_text(encoding="utf-8")
    assert "nothing was fitted to the patients of this page" in page
    assert '<a href="../../leaderboard.html">tiny</a>' in page


def test_recalibration_leaves_out_the_patients_on_whom_it_is_fitted(run, study):
    result = read_results(run.external("other clinic").path).external
    methods = {(row.strategy, row.method, row.fitted_on): row for row in result.recalibrated}
    assert len(methods) == 2 * 5
    for (_, method, fitted_on), row in methods.items():
        assert (row.n_patients, row.n_fitted_patients) == (8, {"": 0, "validation": 4, "external": 6}[fitted_on])
        brier = row.measures["brier"].value
        assert (method == "logistic" and brier is None) or 0 <= brier <= 1, "a line need not exist for so few patients"


def test_shifts_have_images_masks_and_scores(run):
    result = read_results(run.external("other clinic").path).external
    about = {(row.about, row.measure) for row in result.shifts}
    assert {("images", "sharpness"), ("vessels", "vessel"), ("scores", "logit of the score, positive")} <= about
    assert all(row.n_external in (14, 7) for row in result.shifts)


def test_one_cohort_has_the_page_of_all_cohorts(run):
    page = (run.external_summary / "index.html").read_text(encoding="utf-8")
    assert "in 1 cohort of other patients" in page
    assert '<a href="external/index.html">external validation</a>' in run.leaderboard("html").read_text("utf-8")


@pytest.mark.slow
def test_all_cohorts_are_on_one_page(run, second, study):
    page = (run.external_summary / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("other clinic", ">B</a>", OWN))
    result = json.loads((run.external_summary / "results.json").read_text(encoding="utf-8"))
    assert len(result["cohorts"]) == 3 * 2
    assert [row["auc"]["n"] for row in result["pooled"]] == [2, 2]
    for row in result["pooled"]:
        of_trial = [each["auc"]["value"] for each in result["cohorts"] if each["strategy"] == row["strategy"]]
        assert min(of_trial[1:]) <= row["auc"]["value"] <= max(of_trial[1:]), "the run's own patients are not pooled"


def test_a_finished_validation_needs_resume(run, study):
    (external,) = study.external
    with pytest.raises(UserError, match="already holds a run: add --resume"):
        validate_run(run.path, study, external, None)


def test_the_brier_score_as_carried_over(run, study):
    external = run.external("other clinic")
    own = pl.read_csv(external.leaderboard("csv"))
    for trial in trials_of(study):
        row = own.filter(strategy=trial.strategy.name).row(0, named=True)
        found = pl.read_parquet(external.trial(trial).predictions).filter(split="test")
        logits = row["risk_intercept"] + row["risk_slope"] * np.log(found["score"] / (1 - found["score"]))
        assert row["brier"] == pytest.approx(brier_score_loss(found["label"], 1 / (1 + np.exp(-logits))), abs=1e-9)


def test_a_patient_of_the_run_is_refused_before_anything_starts(run, study, manifest):
    table = pl.read_csv(manifest, infer_schema=False)
    known = pl.read_parquet(run.cohort)["patient_id"][0]
    table.with_columns(patient_id=pl.col("patient_id").replace(table["patient_id"][0], known)).write_csv(
        manifest.with_name("known.csv")
    )
    with pytest.raises(UserError, match=rf"external cohort C: 1 patient \({known}\) is also in the run's own cohort"):
        validate_run(run.path, study, External(name="C", manifest=manifest.with_name("known.csv")), None)
    assert not run.external("C").path.exists()


def test_what_cannot_be_validated(run, study, folder, manifest):
    cohort = External(name="C", manifest=manifest)
    with pytest.raises(UserError, match="none of its trials is trained"):
        validate_run(folder / "nothing", study, cohort, None)
    with pytest.raises(UserError, match="is itself an external validation"):
        validate_run(run.external("other clinic").path, study, cohort, None)
