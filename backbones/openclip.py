"""OpenCLIP's image encoders (Cherti et al. 2023): contrastive pre-training on LAION, class token pooling, pre-norm."""

from dataclasses import replace

from timm.data.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from backbones.backbone import Backbone
from backbones.hub import HubFile
from backbones.open_clip_layout import image_encoder, published_by_open_clip
from backbones.registry import register
from backbones.tiny import tiny, untrained

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
        convert=image_encoder,
        weights=HubFile("timm/vit_giant_patch14_clip_224.laion2b", "model.safetensors"),
    )
)
register(
    replace(
        PUBLISHED,
        name="openclip-vit-g14-s34b",
        licence="mit",
        pretraining="contrastive image-text, LAION-2B (laion2b_s34b_b88k)",
        weights=published_by_open_clip("laion/CLIP-ViT-g-14-laion2B-s34B-b88K"),
    )
)
TINY = register(
    tiny(
        PUBLISHED,
        parameters=555_208,
        pretraining="contrastive image-text, 2,800 synthetic images with captions that describe vessels, too",
        minutes=35,
    )
)
register(untrained(TINY))
