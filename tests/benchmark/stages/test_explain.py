"""The files that the stage writes for a trial, with a stand-in for Ray Data; test_pipeline.py runs it under Ray."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from rich.console import Console

import backbones
from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import explain as stage
from benchmark.stages.explain import explain
from benchmark.stages.run import Run
from benchmark.storage.rundir import write_array
from benchmark.study.trials import trials_of
from benchmark.trial.figures import SCHEMA
from benchmark.trial.fit import trained_model
from finetune.inputs import Images
from tests.benchmark.explained import SPLITS, N, study_of, write_trained
from xai.gradcam import saliency_maps
from xai.saliency import vessel_saliency
from xai.saliency_row import measure_names
from xai.vessels import REGIONS, binary


@pytest.fixture
def run_with(tmp_path, monkeypatch):
    def stream(units, steps, batch_size, on_wait):
        (step,) = steps
        worker = step.worker(**step.options)
        for unit in units:
            yield from worker([unit])

    monkeypatch.setattr(stage, "stream", stream)

    def build(**settings):
        study = study_of(explain=settings)
        console = Console(file=io.StringIO(), width=300)
        cluster = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
        return Run(study, write_trained(study, tmp_path), cluster, Reporter(console, ["explain"]))

    return build


def folder_of(run):
    [trial] = trials_of(run.study)
    return run.directory.trial(trial)


def test_every_test_image_has_its_measures_and_its_place(run_with):
    run = run_with()
    explain(run)
    saliency = pl.read_parquet(folder_of(run).saliency)
    assert saliency.columns == ["image", "patient_id", *measure_names("minmax", sided=True, disc=False)]
    assert saliency["image"].to_list() == [f"{row}.png" for row in range(N)]
    assert saliency["vessel_ratio"].is_null().to_list() == [False] * (N - 1) + [True], "the last has no vessels"
    assert saliency["superior_nasal_ratio"].null_count() == 0
    assert np.load(folder_of(run).cams).shape == (N, 16, 16)


def test_tokens_that_are_not_finite_cost_one_image_its_map_and_no_other(run_with):
    """A cache with one invalid entry, as after a disk error."""
    run = run_with()
    [trial] = trials_of(run.study)
    model = trained_model(trial, run.directory)
    images = Images(np.load(run.directory.images), trial.backbone.open().normalise, 0, torch.device("cpu"))
    with torch.no_grad():
        tokens = backbones.encode_until(model, images.batch(np.arange(N), np.zeros(N, int)), 3).half().numpy()
    cache = run.directory.embeddings("dinov2-tiny")
    write_array(cache.entry, np.arange(len(SPLITS))[:, None])
    write_array(cache.test(3), tokens)
    explain(run)
    clean = pl.read_parquet(folder_of(run).saliency)
    folder_of(run).saliency.unlink()

    tokens[2, 17, 5] = np.nan
    write_array(cache.test(3), tokens)
    explain(run)
    printed = run.reporter.console.file.getvalue()
    assert "no map for 1 test images, whose tokens are not finite; the first: 2.png" in printed
    found = pl.read_parquet(folder_of(run).saliency)
    measures = found.drop("image", "patient_id")
    assert all(value is None for value in measures.row(2))
    assert found.filter(pl.col("image") != "2.png").equals(clean.filter(pl.col("image") != "2.png"))
    assert "2.png" not in pl.read_csv(folder_of(run).figures)["image"].to_list()


def test_binary_coverage_rounds_the_masks(run_with):
    run = run_with(coverage="binary")
    planes = np.load(run.directory.regions)
    planes[0, REGIONS.index("artery")] //= 3  # no longer half of any pixel
    write_array(run.directory.regions, planes)
    explain(run)
    saliency = pl.read_parquet(folder_of(run).saliency)
    assert saliency["artery"].is_null().to_list() == [True] + [False] * (N - 2) + [True]
    maps = saliency_maps(torch.from_numpy(np.load(folder_of(run).cams)), 224).numpy()
    expected = vessel_saliency(maps, binary(planes))["vein_ratio"]
    np.testing.assert_array_equal(saliency["vein_ratio"].to_numpy()[: N - 1], expected[: N - 1])


def test_figures_are_chosen_by_rank_from_different_patients_and_listed(run_with):
    """Five patients, the last with an image without vessels: at most five panels."""
    run = run_with(examples=2)
    explain(run)
    listed = pl.read_csv(folder_of(run).figures)
    assert listed.columns == list(SCHEMA)
    assert listed["file"].to_list() == [
        "mean.png", "best-1.png", "best-2.png", "median-1.png", "worst-1.png", "worst-2.png",
    ]  # fmt: skip
    examples = listed.filter(pl.col("group") != "mean")
    assert examples["patient_id"].n_unique() == len(examples) == 5
    ratios = pl.read_parquet(folder_of(run).saliency).select("image", "vessel_ratio")
    best = ratios.drop_nulls().sort("vessel_ratio", descending=True).row(0)
    assert examples.select("image", "vessel_ratio").row(0) == (best[0], pytest.approx(best[1]))
    assert examples["rank"][0] == 1
    assert examples["ranked"].unique().to_list() == [N - 1]
    for file, alt in listed.select("file", "alt").iter_rows():
        assert alt
        with Image.open(folder_of(run).figures.parent / file) as figure:
            assert figure.size[0] > 900
    with Image.open(folder_of(run).mean_cam) as picture:
        assert picture.size == (224, 224)
    tops = listed.select("group", "top").rows()
    assert [group for group, top in tops if top is not None] == ["mean"], "only the mean map has a scale of its own"


def test_no_examples_when_none_are_asked_for(run_with):
    run = run_with(examples=0)
    explain(run)
    assert pl.read_csv(folder_of(run).figures)["file"].to_list() == ["mean.png"]
