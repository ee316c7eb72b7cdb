"""Running a vision transformer in two halves.

Every strategy freezes a leading part of the tower, so what that part computes can be computed once. Both halves are
cut at a block: `encode_until` runs the frozen front, `finish_from` the rest, and for every block `b`
`finish_from(tower, encode_until(tower, x, b), b)` equals `tower(x)`.
"""

from collections.abc import Collection

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


def encode_at(tower: VisionTransformer, images: Tensor, blocks: Collection[int]) -> dict[int, Tensor]:
    """What enters each of `blocks`, in one pass that ends at the last of them.

    Args:
        images: (B, 3, H, W) float, already normalised with the backbone's mean and standard deviation.
        blocks: 0 gives the images as they are; 1 to depth-1 the tokens (B, N, C) entering that block;
            depth the pooled features (B, C) that the classifier reads.

    Raises:
        ValueError: no block, or one outside 0..depth.
    """
    _require_blocks(tower, blocks)
    depth = len(tower.blocks)
    reached = {0: images} if 0 in blocks else {}
    last = max(blocks)
    if last == 0:
        return reached
    tokens = tower.norm_pre(tower.patch_drop(tower._pos_embed(tower.patch_embed(images))))
    for block in range(1, last + 1):
        tokens = tower.blocks[block - 1](tokens)
        if block in blocks:
            reached[block] = tokens
    if last == depth:
        reached[depth] = tower.forward_head(tower.norm(tokens), pre_logits=True)
    return reached


def encode_until(tower: VisionTransformer, images: Tensor, block: int) -> Tensor:
    """What enters one block; as `encode_at`."""
    return encode_at(tower, images, (block,))[block]


def finish_from(tower: VisionTransformer, inputs: Tensor, block: int) -> Tensor:
    """Class logits (B, classes) from what enters `block`; `inputs` as `encode_until` returns them."""
    _require_blocks(tower, (block,))
    if block == 0:
        return tower(inputs)
    if block == len(tower.blocks):
        return tower.head(inputs)
    for layer in tower.blocks[block:]:
        inputs = layer(inputs)
    return tower.forward_head(tower.norm(inputs))


def attach_classifier(tower: VisionTransformer, classes: int, seed: int) -> None:
    """Give the tower a freshly initialised linear head; the same seed gives the same head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower.reset_classifier(classes)


def _require_blocks(tower: VisionTransformer, blocks: Collection[int]) -> None:
    depth = len(tower.blocks)
    if not blocks or not all(0 <= block <= depth for block in blocks):
        raise ValueError(f"blocks {sorted(blocks)} are not within 0..{depth}")
