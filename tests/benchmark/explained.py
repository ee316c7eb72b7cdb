"""A run directory made by hand, whose one trial can be explained without Ray."""

import numpy as np
import polars as pl
import torch

import backbones
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.compute_controls import Explained
from benchmark.trial.fit import new_model
from finetune.trained import save_trained
from xai.controls.erasure import erase_all
from xai.gradcam import gradcam
from xai.saliency_row import measure, measure_names

N = 10  # test images; the last has no vessels
SPLITS = ["test"] * N + ["val"] * 4


def study_of(**changes):
    """One untrained model with a random classifier."""
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-tiny"],
            "strategies": ["classifier_only"],
            "resources": {"batch_size": 4},
        }
        | changes
    )


def draw():
    """Dark vessels, and their coverage: crosses in different places."""
    rng = np.random.default_rng(0)
    images = rng.integers(120, 160, (len(SPLITS), 224, 224, 3)).astype(np.uint8)
    planes = np.zeros((N, 4, 224, 224), np.uint8)
    y, x = np.mgrid[:224, :224]
    planes[:, 3] = 255 * (np.hypot(x - 112, y - 112) < 110)
    for index in range(N - 1):
        row, column = 60 + 10 * index, 150 - 9 * index
        planes[index, 0, row : row + 4], planes[index, 1, :, column : column + 5] = 255, 255
        planes[index, :2] &= planes[index, 3]
        planes[index, 2] = planes[index, 0] | planes[index, 1]
        images[index][planes[index, 2] > 0] = 40
    return images, planes


def write_trained(study, path):
    """The directory as after training; patients have two images each, of a left and a right eye."""
    run = RunDirectory(path)
    images, planes = draw()
    count = len(SPLITS)
    names = [f"{row}.png" for row in range(count)]
    cohort = pl.DataFrame(
        {
            "row": range(count),
            "image": names,
            "patient_id": [f"p{row // 2}" for row in range(count)],
            "label": [row % 2 for row in range(count)],
            "eye": [("left", "right")[row % 2] for row in range(count)],
            "split": SPLITS,
        }
    )
    write_parquet(run.cohort, cohort)
    write_array(run.images, images)
    write_array(run.regions, planes)
    write_parquet(run.vessels, pl.DataFrame({"image": names[:N], "flags": [""] * (N - 1) + ["no_vessels"]}))
    write_json(run.weights, {"dinov2-tiny": None})
    for trial in trials_of(study):
        folder = run.trial(trial)
        folder.path.mkdir(parents=True)
        model = trial.strategy.open().apply(new_model(trial, run), seed=trial.seed)
        save_trained(model, folder.path, backbone="dinov2-tiny")
        scores = pl.Series("score", np.linspace(0.1, 0.9, count))
        write_parquet(folder.predictions, cohort.select("image", "patient_id", "label", scores, "split"))
        write_json(folder.record, {})
    return run


def write_explained(study, run):
    """The trained directory as before the controls: with erased images and the maps of every trial."""
    images, planes = np.load(run.images), np.load(run.regions)
    test = pl.read_parquet(run.cohort).filter(pl.col("split") == "test")
    erased, elsewhere, painted = erase_all(images[:N], planes)
    write_array(run.erased, np.stack([erased, elsewhere], axis=1))
    write_parquet(run.painted, test.select("image", pl.Series("painted", painted).fill_nan(None)))
    return [_explain(Explained(study, run, trial), images, planes) for trial in trials_of(study)]


def _explain(this, images, planes):
    folder = this.directory.trial(this.trial)
    with torch.no_grad():
        tokens = backbones.encode_until(this.model, this.images(images).batch(np.arange(N), np.zeros(N, int)), 3)
    cams = gradcam(this.model, tokens)
    write_array(folder.cams, cams.numpy())
    values = pl.DataFrame(measure(cams, planes), schema=measure_names("minmax", False, False)).fill_nan(None)
    write_parquet(folder.saliency, pl.concat([this.test.select("image", "patient_id"), values], how="horizontal"))
    return this
