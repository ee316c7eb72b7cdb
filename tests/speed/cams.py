"""Grad-CAM maps per second: this project, from images and from a trial's cache, compared with pytorch-grad-cam.

    python -m tests.speed.cams [--model vit_small_patch16_224] [--batches 1 8 32] [--rounds 7] [--threads 1]

pytorch-grad-cam is used as in its README: the whole model, target layer `blocks[-1].norm1`, tokens reshaped to a grid,
created once and called for every batch. Its images are normalised and on the device before the clock starts, and its
model's parameters require gradients, as those of a loaded model do; without any, it fails. This project's maps are
those of a classifier-only trial in a run directory, made by the functions that the explain stage calls: first from
images, and then from the tokens that the embed stage keeps in float16, read from the file each time. All three explain
the same random images with the same model (random weights), and end with scaled maps of the images' size in main
memory. They take turns.

The table gives medians and, in brackets, the range. `times` is the median of the ratios within a turn, so that other
load on the machine affects all methods equally; `of CPU` is the same by processor time, which other programs disturb
less. The differences are the largest of any pixel (maps are in 0..1): maps from images against the library, and maps
from the cache against those from images; the last column is the lowest rank correlation, over an image's pixels, of the
latter pair.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file
from scipy.stats import spearmanr

import backbones
from benchmark.stages.embed import EmbedWorker
from benchmark.storage.rundir import RunDirectory, open_array, write_array, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.fit import explained_inputs, new_model, trained_model
from benchmark.trial.weight_files import find_weights
from finetune.inputs import Images, plan_views
from finetune.trained import save_trained
from xai.gradcam import saliency_maps

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIDE = 224


def by_library(model):
    """Images -> (B, 224, 224), as in the library's README."""

    def to_grid(tokens):
        return tokens[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size).permute(0, 3, 1, 2)

    cam = GradCAM(model=model, target_layers=[model.blocks[-1].norm1], reshape_transform=to_grid)
    return lambda images: cam(input_tensor=images, targets=[ClassifierOutputTarget(1)] * len(images))


def new_trial(directory, name, pixels, threads):
    """A study with one trial and an untrained classifier; its images are test images, its weights are random."""
    # With timm's default initialisation, the class token hardly depends on the image; with this one it does.
    backbone = replace(backbones.get(f"timm:{name}"), weights=None, overrides={"weight_init": "jax"})
    weights = directory.path / "model.safetensors"
    save_file(backbone.build().state_dict(), weights)
    study = Study.model_validate(
        {
            "name": "speed",
            "cohort": {"manifest": "none.csv"},
            "backbones": [{"name": backbone.name, "weights": weights}],
            "strategies": ["classifier_only"],
            "resources": {"cpus": threads, "gpus": int(DEVICE.type == "cuda")},
        }
    )
    [trial] = trials_of(study)
    write_array(directory.images, pixels)
    rows = np.arange(len(pixels))
    write_parquet(directory.cohort, pl.DataFrame({"row": rows}).with_columns(split=pl.lit("test")))
    write_json(directory.weights, {backbone.name: find_weights(trial.backbone)})
    directory.trial(trial).path.mkdir(parents=True)
    save_trained(trial.strategy.open().apply(new_model(trial, directory)), directory.trial(trial).path, backbone.name)
    return study, trial


def keep_tokens(study, directory, trial, block):
    """As the embed stage does."""
    rows = np.arange(len(open_array(directory.images)))
    folder = directory.embeddings(trial.backbone.name)
    unit = {"backbone": 0, "test": True, "rows": rows, "views": np.zeros_like(rows)}
    [result] = EmbedWorker(study, directory, [trial.backbone], [[]], [[block]])([unit])
    write_array(folder.entry, plan_views(len(rows), rows[:0], views=1))
    write_array(folder.test(block), result["values"].reshape(len(rows), *result["shape"]))


def explainer(study, directory, trial):
    """Rows -> (B, 224, 224), as the explain stage makes its maps."""
    settings = study.explain
    method = settings.open()
    model = trained_model(trial, directory).requires_grad_(False).to(DEVICE)
    entering = explained_inputs(study, directory, trial, model)

    def maps(rows):
        inputs = entering(rows)
        with backbones.autocast(DEVICE):
            signed = method(model, inputs, settings.target_class)
        return saliency_maps(signed, SIDE, settings.scaling).cpu().numpy()

    return maps


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="vit_small_patch16_224")
    options.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder))
        shape = (max(chosen.batches), SIDE, SIDE, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        study, trial = new_trial(directory, chosen.model, pixels, chosen.threads)
        here = explainer(study, directory, trial)
        keep_tokens(study, directory, trial, block=trial.backbone.open().depth - 1)  # also sets the number of threads
        cached = explainer(study, directory, trial)
        library = by_library(trained_model(trial, directory).requires_grad_(True).to(DEVICE))
        normalised = Images(pixels, trial.backbone.open().normalise, 0, DEVICE)

        print(f"{chosen.model}, {DEVICE}, {torch.get_num_threads()} threads, torch {torch.__version__}, maps a second")
        print(f"{'batch':>5} {'pytorch-grad-cam':>24} {'from images':>24} {'times':>6} {'of CPU':>6} "
              f"{'from cache':>24} {'times':>6} {'of CPU':>6} {'difference':>10} {'cached':>7} {'rank':>7}",
              flush=True)  # fmt: skip
        for batch in chosen.batches:
            rows = np.arange(batch)
            images = normalised.batch(rows, np.zeros_like(rows))
            ways = ((library, images), (here, rows), (cached, rows))
            expected, plain, kept = (way(given) for way, given in ways)  # warms up, too
            turns = np.array([[_time(way, given) for way, given in ways] for _ in range(chosen.rounds)])
            rates = batch / turns[..., 0]
            times = np.median(turns[:, :1] / turns, axis=0)  # (3 ways, wall and CPU)
            ranks = min(spearmanr(plain[i].ravel(), kept[i].ravel()).statistic for i in range(batch))
            print(f"{batch:5} {_spread(rates[:, 0]):>24} "
                  f"{_spread(rates[:, 1]):>24} {times[1, 0]:6.2f} {times[1, 1]:6.2f} "
                  f"{_spread(rates[:, 2]):>24} {times[2, 0]:6.1f} {times[2, 1]:6.1f} "
                  f"{np.abs(plain - expected).max():10.1e} {np.abs(kept - plain).max():7.1e} {ranks:7.5f}",
                  flush=True)  # fmt: skip


def _time(way, given):
    """Seconds by the clock and of the processor."""
    began, used = time.perf_counter(), time.process_time()
    way(given)  # ends with a copy to main memory, so that nothing is left running on a GPU
    return time.perf_counter() - began, time.process_time() - used


def _spread(rates):
    return f"{statistics.median(rates):.4g} ({min(rates):.4g}-{max(rates):.4g})"


if __name__ == "__main__":
    main()
