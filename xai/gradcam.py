"""Batched Grad-CAM (Selvaraju et al. 2017) on vision transformers.

The target layer is the input of the last block's attention, `blocks[-1].norm1`: with a class-token classifier the
patch tokens of the last block's *output* receive no gradient. Only that one block needs autograd, so the map of an
image costs a forward pass of the model and a backward pass of its last block; from cached tokens, the latter.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones import finish_from

Scaling = Literal["minmax", "raw"]
EPSILON = 1e-7  # pytorch-grad-cam's guard against dividing by zero; it shows in maps with a maximum below about 1e-4


def gradcam(model: VisionTransformer, tokens: Tensor, target_class: int = 1, block: int = -1) -> Tensor:
    """Signed class-activation maps, before the ReLU.

    Pictures of a batch do not mix: tokens that are not finite make that picture's map NaN (`not_finite` finds it).

    Args:
        model: with its classifier, in eval mode, LoRA-wrapped or not; its parameters may all be frozen.
        tokens: (B, N, C) entering the block, as `encode_until(model, images, depth - 1)` returns them for the last.
        target_class: the class whose logit is explained; 1 is the positive class.
        block: whose `norm1` is the target layer; negative counts from the end.

    Returns:
        (B, rows, columns) float32 on the model's patch grid and device.

    Raises:
        ValueError: training mode, no such class, or a block without `norm1`.
    """
    activations, gradients = at_target_layer(model, tokens, target_class, block)
    weights = gradients.mean(dim=1, keepdim=True)
    return (weights * activations).sum(dim=2).float().unflatten(1, model.patch_embed.grid_size)


def at_target_layer(
    model: VisionTransformer, tokens: Tensor, target_class: int = 1, block: int = -1
) -> tuple[Tensor, Tensor]:
    """What class-activation maps are made of: activations at the target layer, and the class's gradients there.

    Arguments and errors are those of `gradcam`. Nothing of the model changes, `.grad` included.

    Returns:
        (B, patches, C) each, on the model's device; class token and registers are left out.
    """
    require_explainable(model, target_class)
    layer = model.blocks[block]
    if not hasattr(layer, "norm1"):
        raise ValueError(f"blocks[{block}], a {type(layer).__name__}, has no norm1, the layer that is explained")
    captured: list[Tensor] = []
    handle = layer.norm1.register_forward_hook(lambda module, args, output: captured.append(output))
    try:
        with torch.inference_mode(False), torch.enable_grad():
            inputs = tokens.detach().clone().requires_grad_()  # so that a frozen model has something to differentiate
            logits = finish_from(model, inputs, range(len(model.blocks))[block])
            (activations,) = captured
            (gradients,) = torch.autograd.grad(logits[:, target_class].sum(), activations)
    finally:
        handle.remove()
    patches = slice(model.num_prefix_tokens, None)
    return activations.detach()[:, patches], gradients[:, patches]


def require_explainable(model: VisionTransformer, target_class: int) -> None:
    """Raises ValueError for a model in training mode, and for a class that it does not have."""
    if model.training:
        raise ValueError("the model is in training mode, where dropout alters its maps: call model.eval() first")
    if not 0 <= target_class < model.num_classes:
        raise ValueError(f"target class {target_class} of a model with {model.num_classes} classes")


def not_finite(maps: Tensor) -> list[int]:
    """Positions in the batch whose map (B, rows, columns) holds a NaN or an infinity: to be rejected, the rest kept."""
    return (~maps.isfinite().flatten(1).all(dim=1)).nonzero()[:, 0].tolist()


def saliency_maps(signed: Tensor, size: int, scaling: Scaling = "minmax") -> Tensor:
    """Maps at the image's size, negative values set to 0.

    `minmax` stretches every map to 0..1 as pytorch-grad-cam does, before and after enlarging: the published study's
    convention, at the price of absolute strength. `raw` keeps the values. A map without a positive value is all zeros,
    one with a NaN is all NaN (`minmax`).

    Args:
        signed: (B, rows, columns), as every method of `xai.methods` returns them.

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
