"""Miniatures of the published backbones, pre-trained by this project: the same architecture, but narrow and shallow.

`benchmark.experiments.pretrain` trains their weights on synthetic images, each with its family's method. They are for
the demo and for tests only: they are small and have never seen a real eye, so do not draw conclusions from them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from backbones.backbone import Backbone

# DINOv2's SwiGLU needs an even hidden width, which its ratio of 5.33 gives at multiples of 96.
WIDTH = 96
DEPTH = 4
# With timm's default initialisation an untrained class token hardly depends on the image; with Xavier's it does.
TINY = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4, "weight_init": "jax"}


def shipped_file(name: str) -> Path:
    """Path of the weights of one of this project's miniatures."""
    return Path(__file__).parent / "miniatures" / f"{name}.safetensors"


def tiny(published: Backbone, parameters: int, pretraining: str, minutes: int, **overrides: Any) -> Backbone:
    """`<family>-tiny`: a miniature with the architecture, pooling and normalisation of a published backbone.

    Args:
        published: the published backbone.
        parameters: number of parameters without a classifier.
        pretraining: method and data of the pre-training.
        minutes: training time on one CPU core, without drawing the images; from the header of the weights file.
        **overrides: further arguments of timm's constructor.
    """
    name = f"{published.family}-tiny"
    return replace(
        published,
        name=name,
        parameters=parameters,
        width=WIDTH,
        depth=DEPTH,
        licence="apache-2.0",
        pretraining=f"{pretraining}, {minutes} minutes of one CPU core",
        weights=None,
        shipped=shipped_file(name),
        overrides={**published.overrides, **TINY, **overrides},
    )


def untrained(miniature: Backbone) -> Backbone:
    """`<family>-tiny-untrained`: the miniature with its random initialisation, for comparison."""
    return replace(
        miniature, name=f"{miniature.name}-untrained", licence="none", pretraining="none: untrained", shipped=None
    )
