"""RETFound (Zhou et al. 2023): ViT-L/16, masked auto-encoding of colour fundus photographs, patch tokens averaged."""

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from backbones.backbone import Backbone
from backbones.registry import register
from backbones.tiny import tiny
from backbones.weights import HubFile


def from_mae(state: dict) -> dict[str, Tensor]:
    """The encoder of a masked auto-encoder's checkpoint.

    The decoder goes before timm sees the keys (its filter takes `mask_token` for a DINOv2 file). The encoder's final
    norm goes too: RETFound pools before a norm of its own (`fc_norm`), which starts fresh.
    """
    encoder = state.get("model", state)
    dropped = ("decoder_", "mask_token", "head.", "norm.")
    return {key: value for key, value in encoder.items() if not key.startswith(dropped)}


PUBLISHED = register(
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
        pretraining="masked auto-encoding, 0.9 M colour fundus photographs (natureCFP)",
        weights=HubFile("YukunZhou/RETFound_mae_natureCFP", "RETFound_mae_natureCFP.pth", gated=True),
        overrides={"global_pool": "avg"},
        convert=from_mae,
        fresh=("fc_norm.weight", "fc_norm.bias"),
    )
)
register(tiny(PUBLISHED, parameters=540_384))
