"""Backbones by name."""

import difflib

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer

from backbones.backbone import Backbone, without_classifier
from backbones.weights import HubFile

_BACKBONES: dict[str, Backbone] = {}


def register(backbone: Backbone) -> Backbone:
    """Make a backbone known under its name."""
    if backbone.name in _BACKBONES:
        raise ValueError(f"backbone {backbone.name} is registered twice")
    _BACKBONES[backbone.name] = backbone
    return backbone


def names() -> list[str]:
    """Every registered name, sorted."""
    return sorted(_BACKBONES)


def get(name: str) -> Backbone:
    """The backbone of that name; `timm:<model>` takes any vision transformer of timm without registration.

    Raises:
        ValueError: unknown name, with the nearest known ones.
    """
    if name in _BACKBONES:
        return _BACKBONES[name]
    if name.startswith("timm:"):
        return _from_timm(name)
    near = difflib.get_close_matches(name, names(), n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names())}"
    raise ValueError(f"backbone {name!r} is unknown; {hint} (timm:<model> takes any vision transformer of timm)")


def _from_timm(name: str) -> Backbone:
    architecture = name.removeprefix("timm:")
    if not timm.is_model(architecture) or ("." in architecture and not timm.is_model_pretrained(architecture)):
        near = difflib.get_close_matches(architecture, timm.list_models("*vit*", pretrained=True), n=2, cutoff=0.4)
        raise ValueError(f"timm has no model {architecture!r}; did you mean {' or '.join(near) or 'another name'}?")
    try:
        with torch.device("meta"):
            tower = timm.create_model(architecture, pretrained=False, num_classes=0, img_size=224)
    except TypeError as error:  # a convolutional network takes no img_size
        raise ValueError(f"{name}: no vision transformer; only timm's VisionTransformer is supported") from error
    if type(tower) is not VisionTransformer:  # a subclass has a head of its own, DeiT's distilled one for example
        raise ValueError(f"{name}: a {type(tower).__name__}; only timm's VisionTransformer is supported")
    published = tower.pretrained_cfg
    hub = published.get("hf_hub_id")
    return Backbone(
        name=name,
        family="timm",
        architecture=architecture,
        mean=published.get("mean", IMAGENET_DEFAULT_MEAN),
        std=published.get("std", IMAGENET_DEFAULT_STD),
        parameters=sum(p.numel() for p in tower.parameters()),
        width=tower.embed_dim,
        depth=len(tower.blocks),
        licence=published.get("license") or "see the model's page",
        pretraining=published.get("origin_url") or f"timm tag {published.get('tag') or 'none'}",
        weights=HubFile(hub, published.get("hf_hub_filename") or "model.safetensors") if hub else None,
        convert=without_classifier,
    )
