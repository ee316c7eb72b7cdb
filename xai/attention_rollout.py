"""Attention rollout (Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers").

Attention alone, without a gradient: the map is the same for every class. `xai.rollout` is the variant that is weighted
by the gradient of one.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from xai.gradcam import require_explainable
from xai.rollout import attend, entering, pooling_shares, require_plain


def attention_rollout(model: VisionTransformer, images: Tensor) -> Tensor:
    """How much of what the classifier reads comes from each patch, by attention through all blocks.

    A block mixes tokens by its attention matrix A, averaged over heads, and passes them on by its skip connection: by
    (A + I) / 2 in all. The map is the row of the product of all blocks that the classifier reads, with average pooling
    the mean over the rows of all patches.

    Args:
        model: with its classifier, in eval mode, LoRA-wrapped or not.
        images: (B, 3, H, W) float, already normalised with the backbone's mean and standard deviation.

    Returns:
        (B, rows, columns) float32 on the model's patch grid and device. At least 0; with the shares of the class token
        and the registers they add up to 1.

    Raises:
        ValueError: training mode, blocks that are not timm's plain ones, or a pooling that is neither the class token
            nor the average.
    """
    require_explainable(model, target_class=0)
    require_plain(model)
    with torch.no_grad():
        inputs = entering(model, images)
        row = pooling_shares(model, inputs[-1])
        for block, tokens in zip(reversed(model.blocks), reversed(inputs), strict=True):
            _, attention = attend(block, tokens)
            # A product and a sum, because autocast would round a matrix product to bfloat16.
            row = (row + (row[:, :, None] * attention.float().mean(dim=1)).sum(dim=1)) / 2
    return row[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size)
