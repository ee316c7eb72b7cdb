"""Gradient-weighted attention rollout (Chefer et al. 2021, "Generic Attention-model Explainability").

In each block, the attention matrix is multiplied by the gradient of the class's logit with respect to it, set to 0
where negative, and averaged over heads. The result shows which tokens the block mixed in favour of the class. The
product of these matrices over all blocks, each plus the identity for its skip connection, gives the relevance of the
patches.

Only the row of this product that the classifier reads is computed, from the last block to the first. Each block is
recomputed from its input, so memory holds the attention of only one block, whatever the depth of the model.
"""

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor

from backbones import encode_until
from xai.gradcam import require_explainable


def rollout(model: VisionTransformer, images: Tensor, target_class: int = 1) -> Tensor:
    """Relevance of every patch for one class, through all blocks.

    With average pooling, the map is the mean over the rows of all patches without the identity, because a patch always
    reaches its own token through the skip connections. The images of a batch do not affect each other, and the model is
    not changed.

    Args:
        model: the network with its classifier, in eval mode, with or without LoRA; all its parameters may be frozen.
        images: (B, 3, H, W) float, already normalised with the backbone's mean and standard deviation.
        target_class: the class whose logit is explained; 1 is the positive class.

    Returns:
        (B, rows, columns) float32, at least 0, on the model's patch grid and device. NaN for an image that is not
        finite.

    Raises:
        ValueError: the model is in training mode, has no such class, its blocks are not timm's plain ones, or it pools
            neither by the class token nor by the average.
    """
    require_explainable(model, target_class)
    require_plain(model)
    with torch.inference_mode(False):
        tokens_in = entering(model, images)
        pooled = pooling_shares(model, tokens_in[-1])
        relevance = torch.zeros_like(pooled)
        upstream: Tensor | None = None
        for block, tokens in zip(reversed(model.blocks), reversed(tokens_in), strict=True):
            with torch.enable_grad():
                inputs = tokens.detach().clone().requires_grad_()
                output, attention = attend(block, inputs)
                if upstream is None:
                    output = model.forward_head(model.norm(output))[:, target_class].sum()
                upstream, gradient = torch.autograd.grad(output, (inputs, attention), upstream)
            mixed = (gradient * attention.detach()).clamp(min=0).mean(dim=1).float()
            # Product and sum instead of a matrix product, which autocast would round to bfloat16.
            relevance = relevance + ((pooled + relevance)[:, :, None] * mixed).sum(dim=1)
    return relevance[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size)


def require_plain(model: VisionTransformer) -> None:
    """Checks that `rollout` supports a model.

    Raises:
        ValueError: the blocks are not timm's plain ones, or the pooling is neither by the class token nor by the
            average.
    """
    for block in model.blocks:
        if type(block) is not Block or type(block.attn) is not Attention:
            kind = type(block if type(block) is not Block else block.attn).__name__
            raise ValueError(f"rollout supports only timm's plain Block and Attention, not {kind}")
    if model.attn_pool is not None or model.global_pool not in ("token", "avg"):
        pooling = model.global_pool if model.attn_pool is None else "attention"
        raise ValueError(f"rollout supports only pooling by class token or average, not {pooling!r}")


def entering(model: VisionTransformer, images: Tensor) -> list[Tensor]:
    """The input tokens (B, N, C) of each block."""
    found: list[Tensor] = []
    handles = [
        block.norm1.register_forward_pre_hook(lambda module, args: found.append(args[0])) for block in model.blocks
    ]
    try:
        with torch.no_grad():
            encode_until(model, images, len(model.blocks))
    finally:
        for handle in handles:
            handle.remove()
    return found


def pooling_shares(model: VisionTransformer, tokens: Tensor) -> Tensor:
    """The weight of each token of the last block in the classifier's input, (B, N) float32."""
    shares = tokens.new_zeros(tokens.shape[:2], dtype=torch.float32)
    if model.global_pool == "token":
        shares[:, 0] = 1
    else:
        first = 0 if model.pool_include_prefix else model.num_prefix_tokens
        shares[:, first:] = 1 / (tokens.shape[1] - first)
    return shares


def attend(block: Block, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The output (B, N, C) and the attention matrices (B, heads, N, N) of a block, computed without fused attention."""
    attention: list[Tensor] = []
    handle = block.attn.attn_drop.register_forward_hook(lambda module, args, output: attention.append(output))
    fused, block.attn.fused_attn = block.attn.fused_attn, False
    try:
        output = block(tokens)
    finally:
        block.attn.fused_attn = fused
        handle.remove()
    return output, attention[0]
