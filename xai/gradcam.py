"""Batched Grad-CAM (Selvaraju et al. 2017) on vision transformers.

The target layer is the input of the last block's attention, `blocks[-1].norm1`: with a class-token classifier the
patch tokens of the last block's *output* receive no gradient. Only that one block needs autograd, so the map of a
photograph costs a forward pass of the tower and a backward pass of its last block.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones import finish_from

Scaling = Literal["minmax", "raw"]
EPSILON = 1e-7  # pytorch-grad-cam's guard against dividing by zero; it shows in maps with a maximum below about 1e-4


def gradcam(tower: VisionTransformer, tokens: Tensor, target_class: int = 1) -> Tensor:
    """Signed class-activation maps, before the ReLU.

    Args:
        tower: with its classifier, LoRA-wrapped or not; its parameters may all be frozen.
        tokens: (B, N, C) entering the last block, as `encode_until(tower, images, depth - 1)` returns them.
        target_class: the class whose logit is explained; 1 is the positive class.

    Returns:
        (B, rows, columns) float32 on the tower's patch grid. Pictures of a batch do not mix.
    """
    last = tower.blocks[-1]
    captured: list[Tensor] = []
    handle = last.norm1.register_forward_hook(lambda module, args, output: captured.append(output))
    try:
        with torch.enable_grad():
            logits = finish_from(tower, tokens.detach().clone().requires_grad_(), len(tower.blocks) - 1)
            (activations,) = captured
            (gradients,) = torch.autograd.grad(logits[:, target_class].sum(), activations)
    finally:
        handle.remove()
    patches = slice(tower.num_prefix_tokens, None)
    weights = gradients[:, patches].mean(dim=1, keepdim=True)
    maps = (weights * activations[:, patches]).sum(dim=2).detach().float()
    return maps.unflatten(1, tower.patch_embed.grid_size)


def saliency_maps(signed: Tensor, size: int, scaling: Scaling = "minmax") -> Tensor:
    """Maps at the photograph's size, negative values set to 0.

    `minmax` stretches every map to 0..1 as pytorch-grad-cam does, before and after enlarging: the published study's
    convention, at the price of absolute strength. `raw` keeps the values. A map without a positive value is all zeros.

    Args:
        signed: (B, rows, columns) from `gradcam`.

    Returns:
        (B, size, size) float32, at least 0.
    """
    positive = signed.clamp(min=0)
    if scaling == "minmax":
        positive = _stretch(positive)
    enlarged = F.interpolate(positive[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
    return _stretch(enlarged.clamp(min=0)) if scaling == "minmax" else enlarged


def _stretch(maps: Tensor) -> Tensor:
    shifted = maps - maps.amin(dim=(1, 2), keepdim=True)
    return shifted / (shifted.amax(dim=(1, 2), keepdim=True) + EPSILON)
