"""Miniatures of the published models, pre-trained by this project: all of their architecture but width and depth.

`benchmark.experiments.pretrain` makes their weights on synthetic images, each in the way of its family. They are
for the demo and for tests: a model of this size that has never seen a real eye says nothing about real eyes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from backbones.backbone import Backbone

# 96 wide: DINOv2's SwiGLU needs an even hidden width, which its ratio of 5.33 gives at multiples of 96.
WIDTH = 96
DEPTH = 4
# Untrained, timm's default initialisation leaves the class token almost blind to the picture; Xavier's does not.
TINY = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4, "weight_init": "jax"}


def shipped_file(name: str) -> Path:
    """Where this project keeps the weights of one of its miniatures."""
    return Path(__file__).parent / "miniatures" / f"{name}.safetensors"


def tiny(published: Backbone, parameters: int, pretraining: str, minutes: int, **overrides: Any) -> Backbone:
    """`<family>-tiny`: the same architecture, pooling and normalisation as a published backbone.

    Args:
        minutes: that training took on one core, without drawing; from the header of the weights.
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
    """`<family>-tiny-untrained`: the miniature as it is initialised, for comparison."""
    return replace(
        miniature, name=f"{miniature.name}-untrained", licence="none", pretraining="none: untrained", shipped=None
    )
