"""A vision transformer of three blocks with a classifier, and two images, for the tests of both rollouts."""

import torch
from timm.models.vision_transformer import VisionTransformer

import backbones


def model_of(**options):
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "weight_init": "jax"}
    model = VisionTransformer(**(shape | options), num_classes=0)
    backbones.attach_classifier(model, 2, seed=0)
    return model.eval()


def pictures():
    return torch.rand(2, 3, 32, 32, generator=torch.manual_seed(1))
