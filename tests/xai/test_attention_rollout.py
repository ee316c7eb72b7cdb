"""Attention rollout compared with a direct loop that keeps every block's matrix and multiplies (A + I) / 2."""

import copy

import pytest
import torch

from finetune.strategies import open_strategy
from tests.xai.small_model import model_of, pictures
from xai.attention_rollout import attention_rollout

VARIANTS = {
    "cls": {},
    "avg": {"global_pool": "avg"},
    "avg with prefix": {"global_pool": "avg", "pool_include_prefix": True},
    "reg": {"reg_tokens": 4, "no_embed_class": True},
    "qk-norm": {"qk_norm": True},
    "one block": {"depth": 1},
}


@torch.no_grad()
def written_out(model, image):
    """(rows, columns) for one picture (3, H, W)."""
    x = model.norm_pre(model._pos_embed(model.patch_embed(image[None])))
    count, width = x.shape[1:]
    heads, product = model.blocks[0].attn.num_heads, torch.eye(count)
    for block in model.blocks:
        q, k, _ = block.attn.qkv(block.norm1(x))[0].split(width, dim=1)
        q, k = (part.reshape(count, heads, -1).transpose(0, 1) for part in (q, k))
        scores = block.attn.q_norm(q) @ block.attn.k_norm(k).transpose(1, 2) / (width / heads) ** 0.5
        attention = scores.softmax(dim=2).mean(dim=0)
        product = (0.5 * attention + 0.5 * torch.eye(count)) @ product
        x = block(x)
    first = 0 if model.pool_include_prefix else model.num_prefix_tokens
    row = product[first:].mean(dim=0) if model.global_pool == "avg" else product[0]
    return row[model.num_prefix_tokens :].reshape(model.patch_embed.grid_size)


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_the_product_of_the_matrices(variant):
    model, images = model_of(**VARIANTS[variant]), pictures()
    maps = attention_rollout(copy.deepcopy(model).requires_grad_(False), images)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, torch.stack([written_out(model, image) for image in images]))


def test_shares_of_all_tokens_add_up_to_one():
    """The rest of the sum is the class token's own share: at least its half of every skip connection."""
    sums = attention_rollout(model_of(), pictures()).sum(dim=(1, 2))
    assert (sums < 1 - 0.5**3).all()
    assert (sums > 0.5).all()


def test_sees_lora_adapters_and_restores_the_model():
    model, images = model_of(), pictures()
    module = open_strategy("lora").apply(model)
    plain = attention_rollout(model.eval(), images)
    for key, parameter in module.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.5)
    fused = [block.attn.fused_attn for block in model.blocks]
    adapted = attention_rollout(model, images)
    assert [block.attn.fused_attn for block in model.blocks] == fused
    merged = module.merge_and_unload()
    torch.testing.assert_close(adapted, torch.stack([written_out(merged, image) for image in images]))
    assert not torch.allclose(adapted, plain, rtol=0.01)


def test_other_poolings_and_training_mode_are_refused():
    with pytest.raises(ValueError, match="not 'max'"):
        attention_rollout(model_of(global_pool="max"), pictures())
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        attention_rollout(model_of().train(), pictures())
