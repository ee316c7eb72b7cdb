"""Runs a vision transformer in two halves.

A strategy may freeze the leading blocks of a model; their output is then computed only once. `encode_until` runs the
frozen front and `finish_from` the rest: for every block `b`, `finish_from(model, encode_until(model, x, b), b)` equals
`model(x)`. The front can be cut as well: for every block `a` up to `b`,
`encode_until(model, encode_until(model, x, a), b, start=a)` equals `encode_until(model, x, b)`.
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
    """The inputs of several blocks, computed in one forward pass that ends at the last of them.

    Args:
        model: the network, with or without a classifier.
        inputs: the input of block `start`. For `start` 0: images (B, 3, H, W) float, already normalised with the
            backbone's mean and standard deviation.
        blocks: the blocks whose inputs are returned, each in `start`..depth.
        start: the block at which the pass starts.

    Returns:
        For each of `blocks`: the images themselves for 0, the tokens (B, N, C) that enter the block for 1 to depth - 1,
        and the pooled features (B, C) that the classifier reads for depth.

    Raises:
        ValueError: `blocks` is empty, or a block is outside `start`..depth.
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
    """The input of one block; arguments, result and errors as in `encode_at`."""
    return encode_at(model, inputs, (block,), start)[block]


def finish_from(model: VisionTransformer, inputs: Tensor, block: int, checkpointing: bool = False) -> Tensor:
    """Class logits from the input of a block.

    Args:
        model: the network with its classifier.
        inputs: the input of `block`, as `encode_until` returns it.
        block: the block at which the pass starts, in 0..depth.
        checkpointing: gradient checkpointing (Chen et al. 2016): keep only each block's input for the backward pass and
            recompute the rest. This needs far less memory and about a third more time.

    Returns:
        (B, classes) logits.

    Raises:
        ValueError: `block` is outside 0..depth.
    """
    _require_blocks(model, (block,))
    if block == len(model.blocks):
        return model.head(inputs)
    tokens = inputs if block else _tokens(model, inputs)
    for layer in (*model.blocks[block:-1], partial(_last_block, model)):
        # Reentrant checkpointing would lose the gradients of adapters in a block whose input requires no gradient.
        tokens = checkpoint(layer, tokens, use_reentrant=False) if checkpointing else layer(tokens)
    return model.forward_head(model.norm(tokens))


def autocast(device: torch.device) -> torch.autocast:
    """The autocast context of every forward pass: bfloat16 if the device supports it natively, otherwise float32."""
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16)


def attach_classifier(model: VisionTransformer, classes: int, seed: int) -> None:
    """Gives the model a randomly initialised linear head, in place.

    Args:
        model: the network.
        classes: number of outputs of the head.
        seed: seed of the initialisation. The global random state is left unchanged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.reset_classifier(classes)


def _tokens(model: VisionTransformer, images: Tensor) -> Tensor:
    return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))


def _last_block(model: VisionTransformer, tokens: Tensor) -> Tensor:
    """The output of the last block. If the head reads only the class token, only that token is computed: (B, 1, C)."""
    block = model.blocks[-1]
    if model.global_pool != "token" or model.attn_pool is not None or type(block) is not Block:
        return block(tokens)
    normed, class_token = block.norm1(tokens), tokens[:, :1]
    plain = type(block.attn) is Attention and block.attn.gate is None
    attended = _ask_class_token(block.attn, normed) if plain else block.attn(normed)[:, :1]
    class_token = class_token + block.drop_path1(block.ls1(attended))
    return class_token + block.drop_path2(block.ls2(block.mlp(block.norm2(class_token))))


def _ask_class_token(attention: Attention, tokens: Tensor) -> Tensor:
    """The class token's row of the output of timm's attention: (B, 1, C)."""
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
