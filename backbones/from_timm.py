"""`timm:<model>`: any vision transformer of timm, with its published weights, without registration."""

from functools import cache

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer

from backbones.backbone import Backbone
from backbones.hub import HubFile
from backbones.naming import did_you_mean

PREFIX = "timm:"


@cache
def from_timm(architecture: str) -> Backbone:
    """The backbone for one of timm's vision transformers, at 224x224.

    Args:
        architecture: timm's model name, with or without the tag of its weights.

    Raises:
        ValueError: the model or tag does not exist (the message names similar ones), or the model is not timm's
            `VisionTransformer` with plain blocks and plain patches.
    """
    if not timm.is_model(architecture) or ("." in architecture and not timm.is_model_pretrained(architecture)):
        hint = did_you_mean(architecture, _supported(), "timm.list_models('vit*') lists some")
        raise ValueError(f"timm has no model {architecture!r}; {hint}")
    model = _build(architecture)
    published = model.pretrained_cfg
    hub = published.get("hf_hub_id")
    licence = published.get("license") or "see the model's page"
    origin = published.get("origin_url") or f"timm tag {published.get('tag')}"
    return Backbone(
        name=f"{PREFIX}{architecture}",
        family="timm",
        architecture=architecture,
        mean=published.get("mean", IMAGENET_DEFAULT_MEAN),
        std=published.get("std", IMAGENET_DEFAULT_STD),
        parameters=sum(p.numel() for p in model.parameters()),
        width=model.embed_dim,
        depth=len(model.blocks),
        licence=f"{licence} (non-commercial)" if "-nc" in licence else licence,
        pretraining=origin if hub else "none: timm has no weights for it on the hub; untrained unless a file is named",
        weights=HubFile(hub, "model.safetensors", fallback="pytorch_model.bin") if hub else None,
        # timm resamples FlexiViT the same way, because FlexiViT was trained with this resampling.
        resampling={"interpolation": "bilinear", "antialias": False} if "flexivit" in architecture else {},
    )


def _supported() -> list[str]:
    refused = ["*distilled*", "*radio*", "*_xp_*", "*x2_*", "*pwee*", "*_rpn_*"]
    return timm.list_models(module=("vision_transformer", "deit"), pretrained=True, exclude_filters=refused)


def _build(architecture: str) -> VisionTransformer:
    only = "only timm's VisionTransformer is supported"
    if "radio" in architecture:
        raise ValueError(f"{PREFIX}{architecture}: RADIO resamples positions in its own way; {only}")
    try:
        with torch.device("meta"):
            model = timm.create_model(architecture, pretrained=False, num_classes=0, img_size=224)
    except TypeError as error:  # a convolutional network takes no img_size
        raise ValueError(f"{PREFIX}{architecture}: not a vision transformer; {only}") from error
    if type(model) is not VisionTransformer:  # a subclass may have another head, such as DeiT's distilled one
        raise ValueError(f"{PREFIX}{architecture}: a {type(model).__name__}; {only}")
    # Explanations read each block's norm1, and LoRA adapts its attn; both exist in plain blocks.
    others = sorted({type(block).__name__ for block in model.blocks if type(block) is not Block})
    if others:
        raise ValueError(f"{PREFIX}{architecture}: its blocks are {', '.join(others)}; only timm's Block is supported")
    patches = type(model.patch_embed)
    if patches is not PatchEmbed:  # a convolutional network, whose weights have another layout
        raise ValueError(f"{PREFIX}{architecture}: its patches come from {patches.__name__}; {only} with PatchEmbed")
    if any(224 % side for side in model.patch_embed.patch_size):
        side = model.patch_embed.patch_size[0]
        raise ValueError(f"{PREFIX}{architecture}: 224 pixels are not a multiple of its patch size ({side} pixels)")
    return model
