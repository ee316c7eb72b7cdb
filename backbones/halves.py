"""Running a vision transformer in two halves.

Every strategy freezes a leading part of the model, so what that part computes can be computed once. Both halves are
cut at a block: `encode_until` runs the frozen front, `finish_from` the rest, and for every block `b`
`finish_from(model, encode_until(model, x, b), b)` equals `model(x)`. The front, too, can be cut: for every block `a` up
to `b`, `encode_until(model, encode_until(model, x, a), b, start=a)` equals `encode_until(model, x, b)`.
"""

from collections.abc import Collection
from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def encode_at(model: VisionTransformer, inputs: Tensor, blocks: Collection[int], start: int = 0) -> dict[int, Tensor]:
    """What enters each of `blocks`, in one pass that ends at the last of them.

    Args:
        inputs: what enters block `start`; for 0 images (B, 3, H, W) float, already normalised with the backbone's mean
            and standard deviation.
        blocks: 0 gives the images as they are; 1 to depth-1 the tokens (B, N, C) entering that block;
            depth the pooled features (B, C) that the classifier reads.

    Raises:
        ValueError: no block, or one outside `start`..depth.
    """
    _require_blocks(model, (start,))
    _require_blocks(model, blocks, start)
    depth = len(model.blocks)
    reached = {start: inputs} if start in blocks else {}
    last = max(blocks)
    if last == start:
        return reached
    tokens = inputs if start else _tokens(model, inputs)
    for block in range(start + 1, last):
        tokens = model.blocks[block - 1](tokens)
        if block in blocks:
            reached[block] = tokens
    if last == depth:
        pooled = _last_block(model, tokens)
        reached[depth] = model.forward_head(model.norm(pooled), pre_logits=True)
    else:
        reached[last] = model.blocks[last - 1](tokens)
    return reached


def encode_until(model: VisionTransformer, inputs: Tensor, block: int, start: int = 0) -> Tensor:
    """What enters one block; as `encode_at`."""
    return encode_at(model, inputs, (block,), start)[block]


def finish_from(model: VisionTransformer, inputs: Tensor, block: int, checkpointing: bool = False) -> Tensor:
    """Class logits (B, classes) from what enters `block`; `inputs` as `encode_until` returns them.

    Args:
        checkpointing: keep only what enters each block for the backward pass and compute the rest of it again
            (Chen et al. 2016): far less memory, about a third more time.
    """
    _require_blocks(model, (block,))
    if block == len(model.blocks):
        return model.head(inputs)
    tokens = inputs if block else _tokens(model, inputs)
    for layer in (*model.blocks[block:-1], partial(_last_block, model)):
        # The reentrant kind would lose the gradients of adapters in a block whose input needs none.
        tokens = checkpoint(layer, tokens, use_reentrant=False) if checkpointing else layer(tokens)
    return model.forward_head(model.norm(tokens))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it, else float32; every pass through a model runs under it."""
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16)


def attach_classifier(model: VisionTransformer, classes: int, seed: int) -> None:
    """Give the model a freshly initialised linear head; the same seed gives the same head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.reset_classifier(classes)


def _tokens(model: VisionTransformer, images: Tensor) -> Tensor:
    return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))


def _last_block(model: VisionTransformer, tokens: Tensor) -> Tensor:
    """The last block. Where the head reads the class token alone, only that asks and goes on: (B, 1, C) then."""
    block = model.blocks[-1]
    if model.global_pool != "token" or model.attn_pool is not None or type(block) is not Block:
        return block(tokens)
    normed, class_token = block.norm1(tokens), tokens[:, :1]
    plain = type(block.attn) is Attention and block.attn.gate is None
    attended = _ask_class_token(block.attn, normed) if plain else block.attn(normed)[:, :1]
    class_token = class_token + block.drop_path1(block.ls1(attended))
    return class_token + block.drop_path2(block.ls2(block.mlp(block.norm2(class_token))))


def _ask_class_token(attention: Attention, tokens: Tensor) -> Tensor:
    """The class token's row of what timm's attention returns: (B, 1, C)."""
    qkv = attention.qkv(tokens).unflatten(2, (3, attention.num_heads, attention.head_dim))
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(query[:, :, :1]), attention.k_norm(key)
    dropout = attention.attn_drop.p if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)
    return attention.proj_drop(attention.proj(attention.norm(mixed)))


def _require_blocks(model: VisionTransformer, blocks: Collection[int], first: int = 0) -> None:
    depth = len(model.blocks)
    if not blocks or not all(first <= block <= depth for block in blocks):
        raise ValueError(f"blocks {sorted(blocks)} are not within {first}..{depth}")
