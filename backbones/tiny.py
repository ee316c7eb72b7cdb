"""The demo's towers: a family's architecture in everything but width and depth, untrained."""

from dataclasses import replace
from typing import Any

from backbones.backbone import Backbone

# 96 wide: DINOv2's SwiGLU needs an even hidden width, which its ratio of 5.33 gives at multiples of 96.
WIDTH = 96
DEPTH = 4
# Untrained, timm's default initialisation leaves the class token almost blind to the picture; Xavier's does not.
TINY = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4, "weight_init": "jax"}


def tiny(published: Backbone, parameters: int, **overrides: Any) -> Backbone:
    """`<family>-tiny`: the same architecture, pooling and normalisation as a published backbone."""
    return replace(
        published,
        name=f"{published.family}-tiny",
        parameters=parameters,
        width=WIDTH,
        depth=DEPTH,
        licence="none",
        pretraining="none: untrained, for the demo",
        weights=None,
        overrides={**published.overrides, **TINY, **overrides},
    )
