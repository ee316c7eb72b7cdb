"""Foundation models by name: each a timm VisionTransformer with its weights, normalisation and provenance."""

from backbones import dinov2, openclip, retfound  # noqa: F401  (importing registers them)
from backbones.backbone import Backbone
from backbones.checkpoint import sha256
from backbones.halves import attach_classifier, autocast, encode_at, encode_until, finish_from
from backbones.hub import HubFile
from backbones.loading import WeightsError
from backbones.registry import get, names

__all__ = [
    "Backbone",
    "HubFile",
    "WeightsError",
    "attach_classifier",
    "autocast",
    "encode_at",
    "encode_until",
    "finish_from",
    "get",
    "names",
    "sha256",
]
