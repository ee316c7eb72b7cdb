"""A trial trained in a run directory made by hand, without Ray."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr

import backbones
from benchmark.stages.embed import EmbedWorker
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.fit import chosen_learning_rate, explained_inputs, new_model, train_trial, trained_model
from finetune.inputs import Images, plan_views
from finetune.prepared import Prepared
from finetune.trained import save_trained
from finetune.training import positive_score, predict_logits
from xai.gradcam import saliency_maps

SPLITS = ["train"] * 16 + ["val"] * 8 + ["test"] * 4


def study_of(backbone="dinov2-tiny", strategy="partial", **changes):
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": [backbone],
            "strategies": [
                {"name": strategy, "learning_rate": 1e-3} | ({"blocks": 1} if strategy == "partial" else {})
            ],
            "training": {"epochs": 3, "batch_size": 8, "views": 2},
        }
        | changes
    )


@pytest.fixture
def directory(tmp_path):
    """28 images of noise, positives brighter; the untrained models' weights are recorded."""
    run = RunDirectory(tmp_path)
    labels = np.arange(28) % 2
    pixels = np.random.default_rng(0).integers(0, 180, (28, 224, 224, 3))
    pixels[labels == 1] += 60
    write_array(run.images, pixels.astype(np.uint8))
    patients = [f"p{row}" for row in range(28)]
    frame = {"row": np.arange(28), "image": patients, "patient_id": patients, "label": labels, "split": SPLITS}
    write_parquet(run.cohort, pl.DataFrame(frame))
    write_json(run.weights, dict.fromkeys(("openclip-tiny", "dinov2-tiny", "retfound-tiny")))
    return run


def embed(study, run):
    """The cache as the stage fills it."""
    [choice], [trial] = study.backbones, trials_of(study)
    backbone = backbones.get(choice.name)
    block = trial.strategy.open().frozen_blocks(backbone.depth)
    entry = plan_views(28, np.arange(16), study.training.views)
    rows, views = np.nonzero(entry >= 0)
    unit = {"backbone": 0, "test": False, "rows": rows, "views": views}
    [result] = EmbedWorker(study, run, [choice], [[block]], [[]])([unit])
    assert not result["error"]
    store = np.empty((len(rows), *result["shape"]), result["values"].dtype)
    store[entry[rows, views]] = result["values"].reshape(store.shape)
    folder = run.embeddings(choice.name)
    write_array(folder.entry, entry)
    write_array(folder.block(block), store)


@pytest.mark.parametrize(
    ("backbone", "strategy", "dtype"),
    [
        ("openclip-tiny", "classifier_only", "float16"),
        ("dinov2-tiny", "partial", "float16"),
        ("retfound-tiny", "partial", "bfloat16"),
    ],
)
def test_without_a_cache_a_trial_trains_from_images_to_the_same_predictions(directory, backbone, strategy, dtype):
    study = study_of(backbone, strategy, embeddings={"dtype": dtype})
    [trial] = trials_of(study)
    scores = {}
    for inputs in ("images", "embeddings"):
        if inputs == "embeddings":
            embed(study, directory)
        train_trial(study, directory, trial, on_epoch=lambda epoch: None)
        noted = json.loads(directory.trial(trial).record.read_text())
        assert noted["inputs"] == inputs
        scores[inputs] = pl.read_parquet(directory.trial(trial).predictions)["score"].to_numpy()
    assert np.std(scores["images"]) > 1e-3, "with equal predictions the test would show nothing"
    np.testing.assert_allclose(scores["embeddings"], scores["images"], atol=1e-4)


@pytest.mark.parametrize("strategy", ["classifier_only", "partial", "lora", "full"])
def test_a_trained_trial_predicts_again_what_it_wrote(directory, strategy):
    study = study_of("retfound-tiny", strategy)
    [trial] = trials_of(study)
    train_trial(study, directory, trial, on_epoch=lambda epoch: None)
    written = pl.read_parquet(directory.trial(trial).predictions)
    assert written["split"].unique().sort().to_list() == ["test", "val"]
    model = trained_model(trial, directory)
    images = Images(np.load(directory.images), trial.backbone.open().normalise, 0, torch.device("cpu"))
    scores = positive_score(predict_logits(Prepared.whole(model), images, np.arange(16, 28), batch_size=12))
    np.testing.assert_allclose(written["score"].to_numpy(), scores, atol=2e-3)  # float16 of a cache apart
    history = pl.read_csv(directory.trial(trial).history)
    assert history["epoch"].to_list() == [1, 2, 3]
    assert set(history["micro_batch"]) == {8}


TEST = np.arange(24, 28)


def keep_test_tokens(study, run, block):
    """As the stage does, for the test images only."""
    [choice] = study.backbones
    unit = {"backbone": 0, "test": True, "rows": TEST, "views": np.zeros_like(TEST)}
    [result] = EmbedWorker(study, run, [choice], [[]], [[block]])([unit])
    folder = run.embeddings(choice.name)
    write_array(folder.entry, plan_views(28, np.arange(16), study.training.views))
    write_array(folder.test(block), result["values"].reshape(len(TEST), *result["shape"]))


def pretend_training(run, trial):
    """A trial whose every trainable weight has moved far."""
    module = trial.strategy.open().apply(new_model(trial, run), trial.seed)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    run.trial(trial).path.mkdir(parents=True)
    save_trained(module, run.trial(trial).path, backbone=trial.backbone.name)


def explain(study, run, trial, rows=TEST):
    """Signed maps, the way the explain stage makes them."""
    model = trained_model(trial, run).requires_grad_(False)
    entering = explained_inputs(study, run, trial, model)(rows)
    return study.explain.open()(model, entering, 1)


@pytest.mark.parametrize(
    ("backbone", "strategy", "blocks", "dtype", "cache"),
    [
        ("openclip-tiny", "classifier_only", None, "float16", "test"),
        ("dinov2-tiny", "classifier_only", None, "float16", "test"),
        ("retfound-tiny", "classifier_only", None, "bfloat16", "test"),
        ("retfound-tiny", "partial", 1, "float16", "test"),
        ("dinov2-tiny", "partial", 1, "float16", "every"),
        ("openclip-tiny", "partial", 2, "float16", "every"),
    ],
)
def test_maps_from_the_cache_are_those_from_images(directory, backbone, strategy, blocks, dtype, cache):
    options = {"name": strategy, "learning_rate": 1e-3} | ({"blocks": blocks} if blocks else {})
    study = study_of(backbone, embeddings={"dtype": dtype}, strategies=[options])
    [trial] = trials_of(study)
    pretend_training(directory, trial)
    expected = explain(study, directory, trial)
    if cache == "every":
        embed(study, directory)
    if cache == "test" or blocks == 2:  # then the untrained backbone's, after the blocks that this trial trained
        keep_test_tokens(study, directory, block=3)
    write_array(directory.images, np.zeros((28, 224, 224, 3), np.uint8))  # none of them is read now
    found = explain(study, directory, trial)
    maps, plain = (saliency_maps(signed, 224).numpy() for signed in (found, expected))
    assert plain.std() > 0.05, "with constant maps the test would show nothing"
    np.testing.assert_allclose(maps, plain, atol=1e-3 if dtype == "float16" else 1e-2)
    for one, other in zip(found, expected, strict=True):
        assert spearmanr(one.flatten(), other.flatten()).statistic > (0.9999 if dtype == "float16" else 0.999)
    order = np.array([3, 0, 2])
    torch.testing.assert_close(explain(study, directory, trial, TEST[order]), found[order], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("strategy", ["lora", "full"])
def test_a_trial_that_trains_the_whole_model_is_explained_from_images(directory, strategy):
    study = study_of("dinov2-tiny", strategy)
    [trial] = trials_of(study)
    pretend_training(directory, trial)
    expected = explain(study, directory, trial)
    keep_test_tokens(study, directory, block=3)  # another trial's
    assert torch.equal(explain(study, directory, trial), expected)


@pytest.mark.parametrize(
    "explanation", [{"block": 1}, {"block": 2}, {"method": "rollout"}, {"method": "input_gradient"}]
)
def test_a_cache_of_another_block_is_not_taken_for_this_one(directory, explanation):
    """An earlier block is used; a later one is not."""
    study = study_of("retfound-tiny", "classifier_only", explain=explanation)
    [trial] = trials_of(study)
    pretend_training(directory, trial)
    expected = explain(study, directory, trial)
    for block in (1, 3):
        keep_test_tokens(study, directory, block)
    torch.testing.assert_close(explain(study, directory, trial), expected, atol=1e-5, rtol=1e-2)


def test_a_batch_in_pieces_is_the_batch(directory, monkeypatch):
    study = study_of("retfound-tiny", "full")
    [trial] = trials_of(study)
    entering = explained_inputs(study, directory, trial, new_model(trial, directory))
    whole = entering(TEST)
    monkeypatch.setattr("benchmark.trial.device.CPU_BATCH", 3)
    torch.testing.assert_close(entering(TEST), whole)
    assert whole.shape == (4, 197, 96)


def test_tokens_of_the_test_images_alone_are_no_other_images(directory):
    study = study_of("retfound-tiny", "classifier_only")
    [trial] = trials_of(study)
    keep_test_tokens(study, directory, block=3)
    entering = explained_inputs(study, directory, trial, new_model(trial, directory))
    with pytest.raises(IndexError, match="view 0 of row 5 was not embedded"):
        entering(np.array([24, 5]))


def test_the_learning_rate_is_the_searched_one_where_the_study_searches(directory):
    [trial] = trials_of(study_of())
    assert chosen_learning_rate(study_of(), directory, trial) == 1e-3
    directory.search(trial).parent.mkdir()
    directory.search(trial).write_text(
        "learning_rate,epochs,val_auc,val_loss,error\n0.1,0,,,diverged\n0.02,3,0.8,0.5,\n0.01,3,0.8,0.4,\n"
        "0.001,3,0.8,0.6,\n0.0001,3,0.7,0.1,\n"
    )
    searching = study_of(search={"candidates": 5})
    assert chosen_learning_rate(searching, directory, trial) == 0.01, (
        "with equal AUCs the lowest loss, never a failed candidate"
    )
