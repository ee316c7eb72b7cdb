"""Grad-CAM maps a second: this project's, from images and from cached tokens, beside pytorch-grad-cam.

    python -m tests.speed.cams [--tower vit_small_patch16_224] [--batches 1 8 32] [--rounds 7] [--threads 1]

pytorch-grad-cam is used as its README says: the whole tower, target layer `blocks[-1].norm1`, tokens reshaped to a
grid, made once and called for every batch. All three explain the same pictures (random, already normalised and on the
device) with the same tower (random weights) and end with maps at the pictures' size, scaled, in main memory. They take
turns; the table gives medians and, in brackets, the range. The differences are the largest of any pixel, of 1.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

import backbones
from finetune.inputs import Embeddings
from xai.gradcam import gradcam, saliency_maps

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIDE = 224


def by_library(tower):
    """Images -> (B, 224, 224), the way of the library's README."""

    def to_grid(tokens):
        return tokens[:, tower.num_prefix_tokens :].unflatten(1, tower.patch_embed.grid_size).permute(0, 3, 1, 2)

    cam = GradCAM(model=tower, target_layers=[tower.blocks[-1].norm1], reshape_transform=to_grid)
    return lambda images: cam(input_tensor=images, targets=[ClassifierOutputTarget(1)] * len(images))


def from_images(tower):
    def maps(images):
        with torch.inference_mode():
            tokens = backbones.encode_until(tower, images, len(tower.blocks) - 1)
        return saliency_maps(gradcam(tower, tokens), SIDE).cpu().numpy()

    return maps


def from_cache(tower, images):
    """The tokens of these images are cached as a study's are: float16, on the device."""
    with torch.inference_mode():
        store = backbones.encode_until(tower, images, len(tower.blocks) - 1).half()
    rows = np.arange(len(images))
    cache = Embeddings(store, rows[:, None], DEVICE)
    return lambda _: saliency_maps(gradcam(tower, cache.batch(rows, np.zeros_like(rows))), SIDE).cpu().numpy()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tower", default="vit_small_patch16_224")
    options.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)

    # timm's default initialisation leaves the class token almost blind to the picture; this one does not.
    backbone = replace(backbones.get(f"timm:{chosen.tower}"), weights=None, overrides={"weight_init": "jax"})
    towers = [backbone.build(), backbone.build()]  # the library fills .grad, so that each has its own
    for tower in towers:
        backbones.attach_classifier(tower, classes=2, seed=0)
        tower.eval().to(DEVICE)
    theirs, ours = towers[0], towers[1].requires_grad_(False)

    print(f"{chosen.tower}, {DEVICE}, {chosen.threads} threads, torch {torch.__version__}, maps a second")
    print(f"{'batch':>5} {'pytorch-grad-cam':>26} {'from images':>26} {'times':>6} {'from cache':>26} {'times':>6}"
          f" {'difference':>11} {'cached':>8}")  # fmt: skip
    for batch in chosen.batches:
        images = torch.rand(batch, 3, SIDE, SIDE, generator=torch.manual_seed(batch)).to(DEVICE) * 2 - 1
        ways = (by_library(theirs), from_images(ours), from_cache(ours, images))
        expected, found, cached = (way(images) for way in ways)  # warms up, too
        seconds = [[_time(way, images) for way in ways] for _ in range(chosen.rounds)]
        library, here, cache = ([batch / one for one in way] for way in zip(*seconds, strict=True))
        base = statistics.median(library)
        print(f"{batch:5} {_spread(library):>26} {_spread(here):>26} {statistics.median(here) / base:6.1f} "
              f"{_spread(cache):>26} {statistics.median(cache) / base:6.1f} "
              f"{np.abs(found - expected).max():11.1e} {np.abs(cached - expected).max():8.1e}", flush=True)  # fmt: skip


def _time(way, images):
    began = time.perf_counter()
    way(images)  # ends with a copy to main memory, so that nothing is left running on a GPU
    return time.perf_counter() - began


def _spread(rates):
    return f"{statistics.median(rates):.4g} ({min(rates):.4g}-{max(rates):.4g})"


if __name__ == "__main__":
    main()
