"""OpenCLIP's image towers (Cherti et al. 2023): contrastive pre-training on LAION, class token pooled, pre-norm."""

from timm.data.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor

from backbones.backbone import Backbone
from backbones.registry import register
from backbones.tiny import tiny
from backbones.weights import HubFile


def image_tower(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's file or open_clip's own, without the projection into the space shared with text."""
    return {key: value for key, value in state.items() if not key.startswith(("head.", "visual.proj"))}


PUBLISHED = register(
    Backbone(
        name="openclip-vit-g14",
        family="openclip",
        architecture="vit_giant_patch14_clip_224.laion2b",
        mean=OPENAI_CLIP_MEAN,
        std=OPENAI_CLIP_STD,
        parameters=1_011_203_840,
        width=1408,
        depth=40,
        licence="apache-2.0",
        pretraining="contrastive image-text, LAION-2B (laion2b_s12b_b42k)",
        convert=image_tower,
        weights=HubFile("timm/vit_giant_patch14_clip_224.laion2b", "model.safetensors"),
    )
)
register(tiny(PUBLISHED, parameters=555_208))
