"""The files of the embedding pass, with a stand-in for Ray Data; test_pipeline.py runs it under Ray."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from rich.console import Console

import backbones
from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import embed as stage
from benchmark.stages.embed import embed
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory, open_array, write_array, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from finetune.inputs import Images

# The order of the test rows is the cohort's; row 4 was rejected.
ROWS = {0: "test", 1: "train", 2: "val", 3: "train", 5: "test", 6: "train", 7: "test"}
TEST = [0, 5, 7]
HALF_STEP = 2**-11  # of float16, relative to the value


@pytest.fixture
def passes(monkeypatch):
    """(images, blocks) of every forward pass."""
    passes = []
    encode_at = backbones.encode_at

    def counted(model, images, blocks):
        passes.append((len(images), sorted(blocks)))
        return encode_at(model, images, blocks)

    def stream(units, steps, batch_size, on_wait):
        (step,) = steps
        worker = step.worker(**step.options)
        for unit in units:
            yield from worker([unit])

    monkeypatch.setattr(backbones, "encode_at", counted)
    monkeypatch.setattr(stage, "stream", stream)
    return passes


@pytest.fixture
def run_with(tmp_path, passes):
    """A run with its images, splits and configuration."""
    directory = RunDirectory(tmp_path)
    write_array(directory.images, np.random.default_rng(0).integers(0, 255, (8, 224, 224, 3), dtype=np.uint8))
    write_parquet(directory.cohort, pl.DataFrame({"row": list(ROWS), "split": list(ROWS.values())}))
    write_json(directory.weights, {"dinov2-tiny": None})

    def build(**changes):
        settings = {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-tiny"],
            "strategies": ["classifier_only", {"name": "partial", "blocks": 2}, "lora"],
            "training": {"views": 2},
            "resources": {"batch_size": 2},
        }
        cluster = Cluster(nodes=1, cpus=1, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
        reporter = Reporter(Console(file=io.StringIO(), width=400), ["embed"])
        return Run(Study.model_validate(settings | changes), directory, cluster, reporter)

    return build


def said(run):
    return run.reporter.console.file.getvalue()


def held(run):
    return sorted(file.name for file in run.directory.embeddings("dinov2-tiny").path.iterdir())


def explain_all(run):
    """As after the explain stage."""
    for trial in trials_of(run.study):
        write_parquet(run.directory.trial(trial).saliency, pl.DataFrame({"image": ["a"]}))


def test_one_pass_keeps_what_training_and_explanations_read(run_with, passes):
    run = run_with()
    embed(run)
    assert held(run) == ["block2.npy", "block4.npy", "entry.npy", "test3.npy"]
    assert sum(images for images, _ in passes) == 8 + 3, "each image once, and a second view of the training images"
    assert {tuple(blocks) for _, blocks in passes} == {(2, 3, 4), (2, 4)}
    assert "11 views" in said(run)

    model, normalise = backbones.get("dinov2-tiny").build(), backbones.get("dinov2-tiny").normalise
    images = Images(open_array(run.directory.images), normalise, 0, torch.device("cpu"))
    with torch.inference_mode():
        whole = backbones.encode_at(model, images.batch(np.arange(8), np.zeros(8, int)), [2, 3, 4])
    folder = run.directory.embeddings("dinov2-tiny")
    entry = open_array(folder.entry)
    for block in (2, 4):
        stored = open_array(folder.block(block))
        assert stored.dtype == np.float16
        np.testing.assert_allclose(stored[entry[:, 0]], whole[block], rtol=HALF_STEP, atol=2e-3)
    test = open_array(folder.test(3))
    assert test.dtype == np.float16
    np.testing.assert_allclose(test, whole[3][TEST], rtol=HALF_STEP, atol=2e-3)
    assert np.abs(test[0] - test[1].astype(np.float32)).max() > 0.1, "with equal rows the test would show nothing"


def test_a_run_embedded_without_it_has_the_test_images_embedded_again(run_with, passes):
    """For example a run that an earlier version began, or whose target layer was changed before the explanations."""
    embed(run_with(explain={"block": 1}))
    assert held(run_with()) == ["block2.npy", "block4.npy", "entry.npy", "test1.npy"]
    passes.clear()
    embed(run_with())
    assert held(run_with()) == ["block2.npy", "block4.npy", "entry.npy", "test1.npy", "test3.npy"]
    assert passes == [(2, [3]), (1, [3])]
    passes.clear()
    embed(run_with())
    assert not passes, "complete"


def test_what_is_explained_already_needs_nothing(run_with, passes):
    run = run_with()
    embed(run)
    run.directory.embeddings("dinov2-tiny").test(3).unlink()
    explain_all(run)
    passes.clear()
    embed(run)
    assert not passes


def test_a_block_that_is_kept_of_every_image_is_not_kept_twice(run_with):
    run = run_with(strategies=["classifier_only", {"name": "partial", "blocks": 1}])
    embed(run)
    assert held(run) == ["block3.npy", "block4.npy", "entry.npy"]


def test_strategies_that_train_the_whole_model_leave_nothing_to_keep(run_with, passes):
    embed(run_with(strategies=["lora", "full"]))
    assert not passes


def test_the_test_images_are_kept_alone_where_the_others_do_not_fit(run_with, passes):
    """257 tokens of width 96 in float16: three test images fit into the budget, eleven do not."""
    run = run_with(strategies=[{"name": "partial", "blocks": 1}], embeddings={"max_gib": 3.5 * 257 * 96 * 2 / 2**30})
    embed(run)
    assert held(run) == ["entry.npy", "test3.npy"]
    assert passes == [(2, [3]), (1, [3])]
    assert "dinov2-tiny-partial-s0 trains from images" in said(run)
    assert "explained from images" not in said(run)


def test_what_does_not_fit_is_said(run_with):
    run = run_with(embeddings={"max_gib": 0.0001})
    embed(run)
    assert held(run) == ["block4.npy", "entry.npy"]
    assert (
        "dinov2-tiny is explained from images or an earlier block: the test images' input of its block 3 does "
        "not fit into embeddings.max_gib (0.0001)"
    ) in said(run)


def overflow_in(monkeypatch, spoilt):
    encode_at = backbones.encode_at

    def overflowing(model, images, blocks):
        reached = encode_at(model, images, blocks)
        return {block: values * (1e6 if block == spoilt else 1) for block, values in reached.items()}

    monkeypatch.setattr(backbones, "encode_at", overflowing)


def test_tokens_beyond_the_type_cost_explanations_time_and_nothing_else(run_with, monkeypatch):
    overflow_in(monkeypatch, spoilt=3)
    run = run_with()
    embed(run)
    assert held(run) == ["block2.npy", "block4.npy", "entry.npy"]
    assert len(run.trials()) == 3
    reason = "the input of block 3 exceeds the range of float16; set embeddings.dtype to bfloat16"
    assert f"dinov2-tiny is explained from images or an earlier block: dinov2-tiny: {reason}" in said(run)


def test_tokens_beyond_the_type_that_training_needs_fail_the_trials(run_with, monkeypatch):
    overflow_in(monkeypatch, spoilt=2)
    run = run_with()
    embed(run)
    assert not run.trials()
    assert "the input of block 2 exceeds the range of float16" in said(run)
