"""Batched Grad-CAM (Selvaraju et al. 2017) on vision transformers.

The target layer is the input of the last block's attention, `blocks[-1].norm1`, because with a class-token classifier
the patch tokens of the last block's *output* receive no gradient. Only the last block needs autograd. A map therefore
costs a forward pass of the model and a backward pass of its last block, or only the backward pass from cached tokens.
"""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones import finish_from
from xai.saliency import Scaling

EPSILON = 1e-7  # as in pytorch-grad-cam, against division by zero; it affects maps with a maximum below about 1e-4


def gradcam(model: VisionTransformer, tokens: Tensor, target_class: int = 1, block: int = -1) -> Tensor:
    """Signed Grad-CAM maps, before the ReLU.

    The images of a batch do not affect each other. The map of an image with tokens that are not finite is NaN; use
    `not_finite` to find such maps.

    Args:
        model: the network with its classifier, in eval mode, with or without LoRA; all its parameters may be frozen.
        tokens: (B, N, C), the input of the block; for the last block, as from `encode_until(model, images, depth - 1)`.
        target_class: the class whose logit is explained; 1 is the positive class.
        block: the block whose `norm1` is the target layer; negative numbers count from the end.

    Returns:
        (B, rows, columns) float32 on the model's patch grid and device.

    Raises:
        ValueError: the model is in training mode, has no such class, or the block has no `norm1`.
    """
    activations, gradients = at_target_layer(model, tokens, target_class, block)
    weights = gradients.mean(dim=1, keepdim=True)
    return (weights * activations).sum(dim=2).float().unflatten(1, model.patch_embed.grid_size)


def at_target_layer(
    model: VisionTransformer, tokens: Tensor, target_class: int = 1, block: int = -1
) -> tuple[Tensor, Tensor]:
    """Activations at the target layer and the gradients of the class's logit there, for class activation maps.

    Arguments and errors are as in `gradcam`. The model is not changed, including `.grad`.

    Returns:
        Activations and gradients, each (B, patches, C) on the model's device, without class token and registers.
    """
    require_explainable(model, target_class)
    layer = model.blocks[block]
    if not hasattr(layer, "norm1"):
        raise ValueError(f"blocks[{block}], a {type(layer).__name__}, has no norm1, which is the target layer")
    captured: list[Tensor] = []
    handle = layer.norm1.register_forward_hook(lambda module, args, output: captured.append(output))
    try:
        with torch.inference_mode(False), torch.enable_grad():
            inputs = tokens.detach().clone().requires_grad_()  # needed if all parameters are frozen
            logits = finish_from(model, inputs, range(len(model.blocks))[block])
            (activations,) = captured
            (gradients,) = torch.autograd.grad(logits[:, target_class].sum(), activations)
    finally:
        handle.remove()
    patches = slice(model.num_prefix_tokens, None)
    return activations.detach()[:, patches], gradients[:, patches]


def require_explainable(model: VisionTransformer, target_class: int) -> None:
    """Checks that a model can be explained.

    Args:
        model: the network with its classifier.
        target_class: the class to explain.

    Raises:
        ValueError: the model is in training mode, or has no such class.
    """
    if model.training:
        raise ValueError("the model is in training mode, where dropout alters its maps: call model.eval() first")
    if not 0 <= target_class < model.num_classes:
        last = model.num_classes - 1
        raise ValueError(
            f"target class {target_class} of a model with {model.num_classes} classes: choose one from 0 to {last}"
        )


def not_finite(maps: Tensor) -> list[int]:
    """Positions in the batch of maps (B, rows, columns) with a NaN or infinite value, which must be rejected."""
    return (~maps.isfinite().flatten(1).all(dim=1)).nonzero()[:, 0].tolist()


def saliency_maps(signed: Tensor, size: int, scaling: Scaling = "minmax") -> Tensor:
    """Saliency maps at the image's size, with negative values set to 0.

    A map without a positive value becomes all zeros. With `minmax`, a map with a NaN becomes all NaN.

    Args:
        signed: (B, rows, columns), as every method of `xai.methods` returns them.
        size: side of the result in pixels.
        scaling: `minmax` scales every map to 0..1 before and after enlarging it, as pytorch-grad-cam and the published
            study do; absolute values are lost. `raw` keeps the values.

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
