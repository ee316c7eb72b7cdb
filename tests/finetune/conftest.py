"""A vision transformer that trains within seconds."""

from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import backbones


@pytest.fixture(scope="session")
def new_model() -> Callable[..., VisionTransformer]:
    """Builds models for 32x32 images with 3 blocks; without other arguments, always the same model."""

    def build(seed: int = 0, **options: object) -> VisionTransformer:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            size = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 0}
            model = VisionTransformer(**size | {"weight_init": "jax", "global_pool": "avg"} | options)
        backbones.attach_classifier(model, classes=2, seed=seed)
        return model

    return build
