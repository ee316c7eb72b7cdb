"""DINOv2 (Oquab et al. 2024): self-distillation on LVD-142M, SwiGLU, LayerScale, class token pooling.

The published models were trained at 518x518; loading resamples their position embedding to the 16x16 grid at 224x224.
"""

from dataclasses import replace

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from backbones.backbone import Backbone
from backbones.hub import HubFile
from backbones.registry import register
from backbones.tiny import tiny, untrained

PUBLISHED = register(
    Backbone(
        name="dinov2-vit-g14",
        family="dinov2",
        architecture="vit_giant_patch14_dinov2.lvd142m",
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        parameters=1_134_769_664,
        width=1536,
        depth=40,
        licence="apache-2.0",
        pretraining="self-distillation, LVD-142M",
        weights=HubFile("timm/vit_giant_patch14_dinov2.lvd142m", "model.safetensors"),
    )
)
# Darcet et al. 2024: four register tokens store what a model without them stores in patches of empty background.
register(
    replace(
        PUBLISHED,
        name="dinov2-vit-g14-reg",
        architecture="vit_giant_patch14_reg4_dinov2.lvd142m",
        parameters=1_134_774_272,
        pretraining="self-distillation with four registers, LVD-142M",
        weights=HubFile("timm/vit_giant_patch14_reg4_dinov2.lvd142m", "model.safetensors"),
    )
)
# LayerScale starts at 1e-5 in the published models and grows in training. Untrained, the class token would see nothing.
TINY = register(
    tiny(
        PUBLISHED,
        parameters=530_144,
        pretraining="self-distillation, 2,800 synthetic images",
        minutes=27,
        init_values=1.0,
    )
)
register(untrained(TINY))
