"""RETFound: ViT-L pre-trained on colour fundus images by masked auto-encoding (Zhou et al. 2023) or DINOv2 (2026).

Both the published files and those that RETFound's fine-tuning script writes can be loaded, without a classifier.
"""

from dataclasses import replace

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from backbones.backbone import Backbone
from backbones.hub import HubFile
from backbones.loading import State
from backbones.registry import register
from backbones.tiny import tiny, untrained

COHORTS = {"meh": "Moorfields Eye Hospital", "shanghai": "Shanghai Diabetes Prevention Program"}


def from_mae(state: State) -> State:
    """The encoder's state dict from a masked auto-encoder, or from a file of RETFound's fine-tuning script.

    The decoder is dropped before timm's filter reads the keys, because the filter treats a file with `mask_token` as
    DINOv2's. The encoder's final norm is dropped too: RETFound pools before a separate norm (`fc_norm`), which is
    randomly initialised unless it was fine-tuned.
    """
    dropped = ("decoder_", "mask_token", "head.", "norm.")
    return {key: value for key, value in state.items() if not key.startswith(dropped)}


def from_teacher(state: State) -> State:
    """The state dict of a DINOv2 teacher without its training heads, or of a file of RETFound's fine-tuning script."""
    dropped = ("dino_head.", "ibot_head.", "mask_token", "head.")
    backbone = {key.removeprefix("backbone."): value for key, value in state.items()}
    return {
        key.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): value
        for key, value in backbone.items()
        if not key.startswith(dropped)
    }


def published(name: str) -> HubFile:
    """The weights file in one of RETFound's repositories, which has the repository's name."""
    return HubFile(f"YukunZhou/{name}", f"{name}.pth", gated=True)


MAE = register(
    Backbone(
        name="retfound-vit-l16",
        family="retfound",
        architecture="vit_large_patch16_224",
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        parameters=303_301_632,
        width=1024,
        depth=24,
        licence="CC BY-NC 4.0 (non-commercial)",
        pretraining="masked auto-encoding, 0.9 M colour fundus images (natureCFP)",
        weights=published("RETFound_mae_natureCFP"),
        overrides={"global_pool": "avg"},
        convert=from_mae,
        fresh=("fc_norm.weight", "fc_norm.bias"),
        resampling={"antialias": False},  # as in RETFound's script
    )
)
DINOV2 = replace(
    MAE,
    architecture="vit_large_patch14_dinov2.lvd142m",
    parameters=303_227_904,
    overrides={},
    convert=from_teacher,
    fresh=(),
)
for cohort, site in COHORTS.items():
    data = f"0.9 M colour fundus images ({site})"
    register(
        replace(
            MAE,
            name=f"retfound-vit-l16-{cohort}",
            pretraining=f"masked auto-encoding, {data}",
            weights=published(f"RETFound_mae_{cohort}"),
        )
    )
    register(
        replace(
            DINOV2,
            name=f"retfound-dinov2-vit-l14-{cohort}",
            pretraining=f"self-distillation (DINOv2), {data}",
            weights=published(f"RETFound_dinov2_{cohort}"),
        )
    )
TINY = register(
    tiny(
        MAE,
        parameters=540_384,
        pretraining="masked auto-encoding of fine structure, 2,800 synthetic images",
        minutes=23,
    )
)
register(untrained(TINY))
