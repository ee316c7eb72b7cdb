"""Attention over a trained trial's features, on a run directory made by hand."""

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

import backbones
from benchmark.analysis.patients import ATTENTION, MEAN, combined, read_images
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.study.trials import trials_of
from benchmark.trial.attend import attend_trial
from benchmark.trial.fit import new_model, pooled_features
from finetune.attention import Bags, attend, load_attention
from finetune.inputs import plan_rows
from finetune.trained import save_trained
from tests.benchmark.explained import study_of

PATIENTS = 24  # two images each; a third for training and validation, a third for testing
COUNT = 2 * PATIENTS


def cohort_of(prefix=""):
    return pl.DataFrame(
        {
            "row": range(COUNT),
            "image": [f"{row}.png" for row in range(COUNT)],
            "patient_id": [f"{prefix}p{row // 2:02}" for row in range(COUNT)],
            "label": [row // 2 % 2 for row in range(COUNT)],
            "eye": ["left", "right"] * PATIENTS,
            "split": [("train", "val", "test")[row // 2 % 3] for row in range(COUNT)],
        }
    )


def write_run(path, study, cohort, seed=0):
    """A trained classifier whose pooled features are cached, so that no image is needed."""
    run = RunDirectory(path)
    write_parquet(run.cohort, cohort)
    write_json(run.weights, {"dinov2-tiny": None})
    (trial,) = trials_of(study)
    model = new_model(trial, run)
    cache = run.embeddings(trial.backbone.name)
    cache.path.mkdir(parents=True)
    features = np.random.default_rng(seed).normal(size=(COUNT, model.num_features)).astype(np.float16)
    write_array(cache.block(len(model.blocks)), features)
    write_array(cache.entry, plan_rows(COUNT, np.arange(COUNT)))
    folder = run.trial(trial)
    folder.path.mkdir(parents=True)
    save_trained(trial.strategy.open().apply(model, seed=0), folder.path, backbone="dinov2-tiny")
    scores = pl.Series("score", np.linspace(0.1, 0.9, COUNT))
    held_out = cohort.with_columns(scores).filter(pl.col("split") != "train")
    write_parquet(folder.predictions, held_out.select("image", "patient_id", "label", "score", "split"))
    return run, trial, features


@pytest.fixture
def study():
    return study_of(patients={"attention": True})


@pytest.fixture
def trained(study, tmp_path):
    run, trial, features = write_run(tmp_path / "run", study, cohort_of())
    attend_trial(study, run, trial)
    return run, trial, features


def test_one_row_per_validation_and_test_image_with_the_score_of_its_patient(trained):
    run, trial, features = trained
    found = pl.read_parquet(run.trial(trial).attention)
    held_out = cohort_of().filter(pl.col("split") != "train")
    key = ["image", "patient_id", "split", "label"]
    assert found.columns == ["image", "patient_id", "split", "label", "score", "weight"]
    assert sorted(found.select(key).rows()) == sorted(held_out.select(key).rows())
    sums = found.group_by("patient_id").agg(pl.col("weight").sum(), pl.col("score").n_unique())
    assert sums["weight"].to_list() == pytest.approx([1.0] * len(sums), abs=1e-6)
    assert set(sums["score"]) == {1}
    network = load_attention(run.trial(trial).attention_network, "dinov2-tiny").network
    for (patient,), images in found.group_by("patient_id"):
        rows = cohort_of().filter(patient_id=patient)["row"].to_numpy()
        (score,), _ = attend(network, Bags.of(features[rows], np.zeros(2, np.int64)))
        assert images["score"][0] == pytest.approx(score, abs=1e-6)


def test_features_are_what_the_classifier_reads(trained, study):
    run, trial, features = trained
    rows = np.array([5, 0, 7])
    assert pooled_features(study, run, trial, rows).tolist() == features[rows].astype(np.float32).tolist()


@torch.inference_mode()
def test_features_of_images_are_those_of_the_trained_model(trained, study):
    """Without a cache, the frozen blocks run on the images."""
    run, trial, _ = trained
    cache = run.embeddings(trial.backbone.name)
    model = new_model(trial, run).eval()
    cache.block(len(model.blocks)).unlink()
    images = np.random.default_rng(1).integers(0, 255, (COUNT, 224, 224, 3)).astype(np.uint8)
    write_array(run.images, images)
    rows = np.array([3, 1])
    pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
    normalised = trial.backbone.open().normalise(pixels)
    expected = backbones.encode_until(model, normalised, len(model.blocks)).half().float().numpy()
    assert pooled_features(study, run, trial, rows) == pytest.approx(expected, abs=2e-3)


def test_the_order_of_the_cohort_does_not_matter(trained, study, tmp_path):
    run, trial, _ = trained
    other, _, _ = write_run(tmp_path / "other", study, cohort_of().sample(fraction=1, shuffle=True, seed=3))
    attend_trial(study, other, trial)
    assert pl.read_parquet(other.trial(trial).attention).equals(pl.read_parquet(run.trial(trial).attention))
    weights = [load_file(each.trial(trial).attention_network) for each in (run, other)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_it_is_a_level_of_patients(trained):
    run, trial, _ = trained
    levels = combined(run.trial(trial), read_images(run))
    found = pl.read_parquet(run.trial(trial).attention).filter(split="test").unique("patient_id").sort("patient_id")
    of_test = levels[ATTENTION].filter(split="test")
    assert of_test["patient_id"].to_list() == levels[MEAN].filter(split="test")["patient_id"].to_list()
    assert of_test["score"].to_list() == found["score"].to_list()
    assert of_test["label"].to_list() == found["label"].to_list()


def test_an_external_cohort_gets_the_network_and_validation_of_the_run(trained, study, tmp_path):
    run, trial, _ = trained
    everyone = cohort_of("x").with_columns(split=pl.lit("test"))
    outside, _, features = write_run(tmp_path / "outside", study, everyone, seed=9)
    outside.apply(run, None)
    attend_trial(study, outside, trial)
    assert not outside.trial(trial).attention_network.exists()
    found = pl.read_parquet(outside.trial(trial).attention)
    inside = pl.read_parquet(run.trial(trial).attention)
    assert found.filter(split="val").equals(inside.filter(split="val"))
    network = load_attention(run.trial(trial).attention_network, "dinov2-tiny").network
    scores, _ = attend(network, Bags.of(features, np.repeat(np.arange(PATIENTS), 2)))
    of_test = found.filter(split="test").unique("patient_id").sort("patient_id")
    assert of_test["score"].to_numpy() == pytest.approx(scores, abs=1e-6)

    run.trial(trial).attention.unlink()
    with pytest.raises(ValueError, match="has no attention; add it with --resume"):
        attend_trial(study, outside, trial)


def test_one_class_of_validation_patients_is_refused(study, tmp_path):
    one = pl.when(pl.col("split") == "val").then(0).otherwise(pl.col("label")).alias("label")
    run, trial, _ = write_run(tmp_path / "run", study, cohort_of().with_columns(one))
    with pytest.raises(ValueError, match="attention needs validation patients of both classes"):
        attend_trial(study, run, trial)
    assert not run.trial(trial).attention.exists()
