"""Attention rollout (Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers").

It uses attention without gradients, so the map is the same for every class. `xai.rollout` is the variant that is
weighted by the gradient of a class.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from xai.gradcam import require_explainable
from xai.rollout import attend, entering, pooling_shares, require_plain


def attention_rollout(model: VisionTransformer, images: Tensor) -> Tensor:
    """The share of each patch in the classifier's input, by attention through all blocks.

    A block mixes tokens with its attention matrix A, averaged over heads, and passes them on through its skip
    connection, together (A + I) / 2. The map is the row of the product over all blocks that the classifier reads; with
    average pooling, it is the mean over the rows of all patches.

    Args:
        model: the network with its classifier, in eval mode, with or without LoRA.
        images: (B, 3, H, W) float, already normalised with the backbone's mean and standard deviation.

    Returns:
        (B, rows, columns) float32, at least 0, on the model's patch grid and device. Together with the shares of the
        class token and the registers, the values of a map add up to 1.

    Raises:
        ValueError: the model is in training mode, its blocks are not timm's plain ones, or it pools neither by the
            class token nor by the average.
    """
    require_explainable(model, target_class=0)
    require_plain(model)
    with torch.no_grad():
        inputs = entering(model, images)
        row = pooling_shares(model, inputs[-1])
        for block, tokens in zip(reversed(model.blocks), reversed(inputs), strict=True):
            _, attention = attend(block, tokens)
            # Product and sum instead of a matrix product, which autocast would round to bfloat16.
            row = (row + (row[:, :, None] * attention.float().mean(dim=1)).sum(dim=1)) / 2
    return row[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size)
