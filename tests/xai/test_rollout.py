"""Rollout compared with the explicit formula: all attention matrices, one backward pass, and matrix products."""

import copy

import pytest
import timm
import torch

from finetune.strategies import open_strategy
from tests.xai.small_model import model_of, pictures
from xai.rollout import rollout

VARIANTS = {
    "cls": {},
    "avg": {"global_pool": "avg"},
    "avg with prefix": {"global_pool": "avg", "pool_include_prefix": True},
    "reg": {"reg_tokens": 4, "no_embed_class": True},
    "layerscale": {"init_values": 0.5},
    "qk-norm": {"qk_norm": True},
    "pre-norm": {"pre_norm": True},
    "one block": {"depth": 1},
}


def written_out(model, image, target_class):
    """(rows, columns) for one picture (3, H, W)."""
    x = model.patch_embed(image[None])
    prefix = torch.cat([part for part in (model.cls_token, model.reg_token) if part is not None], dim=1)
    if model.no_embed_class:
        x = torch.cat([prefix, x + model.pos_embed], dim=1)
    else:
        x = torch.cat([prefix, x], dim=1) + model.pos_embed
    x = model.norm_pre(x)
    count, width = x.shape[1:]
    heads, matrices = model.blocks[0].attn.num_heads, []
    for block in model.blocks:
        q, k, v = block.attn.qkv(block.norm1(x))[0].split(width, dim=1)
        q, k, v = (part.reshape(count, heads, -1).transpose(0, 1) for part in (q, k, v))
        scores = block.attn.q_norm(q) @ block.attn.k_norm(k).transpose(1, 2) / (width / heads) ** 0.5
        matrices.append(scores.softmax(dim=2))
        matrices[-1].retain_grad()
        x = x + block.ls1(block.attn.proj((matrices[-1] @ v).transpose(0, 1).reshape(1, count, width)))
        x = x + block.ls2(block.mlp(block.norm2(x)))
    features = model.norm(x)[0]
    first = 0 if model.pool_include_prefix else model.num_prefix_tokens
    pooled = features[first:].mean(dim=0) if model.global_pool == "avg" else features[0]
    model.head(model.fc_norm(pooled))[target_class].backward()

    relevance = torch.eye(count)
    for matrix in matrices:
        relevance = relevance + (matrix.grad * matrix.detach()).clamp(min=0).mean(dim=0) @ relevance
    relevance = relevance - torch.eye(count)
    row = relevance[first:].mean(dim=0) if model.global_pool == "avg" else relevance[0]
    return row[model.num_prefix_tokens :].reshape(model.patch_embed.grid_size)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_is_the_formula(variant, target):
    model, images = model_of(**VARIANTS[variant]), pictures()
    maps = rollout(copy.deepcopy(model).requires_grad_(False), images, target)
    expected = torch.stack([written_out(model, image, target) for image in images])
    assert maps.dtype == torch.float32
    assert (maps >= 0).all()
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=float(expected.max()) * 1e-5)


def test_sees_lora_adapters():
    model, images = model_of(), pictures()
    module = open_strategy("lora").apply(model)
    plain = rollout(model, images)
    for key, parameter in module.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted = rollout(model.eval(), images)
    merged = module.merge_and_unload().requires_grad_()
    expected = torch.stack([written_out(merged, image, 1) for image in images])
    torch.testing.assert_close(adapted, expected, rtol=1e-3, atol=float(expected.max()) * 1e-4)
    assert not torch.allclose(adapted, plain, rtol=0.1)


def test_inference_mode_and_autocast_change_no_map_beyond_rounding():
    model, images = model_of(), pictures()
    expected = rollout(model, images)
    with torch.inference_mode():
        torch.testing.assert_close(rollout(model, images.clone()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = rollout(model, images)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, expected, rtol=0.1, atol=float(expected.max()) * 0.05)


def test_nothing_of_the_model_changes():
    model = model_of()
    model.blocks[0].attn.fused_attn = False
    model.blocks[2].requires_grad_(False)
    fused = [block.attn.fused_attn for block in model.blocks]
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    before = copy.deepcopy(model.state_dict())
    rollout(model, pictures())
    assert [block.attn.fused_attn for block in model.blocks] == fused
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_pool": "max"}, "not 'max'"),
        ({"block_fn": timm.models.vision_transformer.ParallelScalingBlock}, "not ParallelScalingBlock"),
        ({"attn_layer": "diff"}, "timm's plain Block and Attention"),
    ],
)
def test_models_it_does_not_know_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rollout(model_of(**options), pictures())


def test_a_class_the_model_lacks_and_training_mode_are_refused():
    with pytest.raises(ValueError, match="target class 2 of a model with 2 classes"):
        rollout(model_of(), pictures(), target_class=2)
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        rollout(model_of().train(), pictures())
