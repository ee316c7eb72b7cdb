"""The two halves of a model together equal the whole model, at every block."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import linear

import backbones
from backbones.tiny import TINY

REGISTERS = "timm:vit_giant_patch14_reg4_dinov2.lvd142m"


def small(name):
    """A family's model at the demo's size, including a model without its own entry."""
    backbone = backbones.get(name)
    if name == REGISTERS:
        backbone = replace(backbone, weights=None, overrides=TINY | {"init_values": 1.0})
    return backbone.build(seed=1)


@pytest.fixture(scope="module", params=["openclip-tiny", "dinov2-tiny", "retfound-tiny", REGISTERS])
def model(request):
    model = small(request.param)
    backbones.attach_classifier(model, classes=3, seed=2)
    return model


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def reached(model, images):
    with torch.inference_mode():
        return backbones.encode_at(model, images, range(len(model.blocks) + 1))


def test_the_families_differ_where_it_matters(model):
    assert (model.global_pool, model.num_prefix_tokens) in {("token", 1), ("avg", 1), ("token", 5)}


@torch.inference_mode()
def test_finishing_from_any_block_equals_the_whole_model(model, images, reached):
    whole = model(images)
    assert whole.shape == (2, 3)
    for block, entering in reached.items():
        torch.testing.assert_close(backbones.finish_from(model, entering, block), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_the_whole_model(model, images, checkpointing):
    """Also if only the class token passes through the last MLP."""
    parameters = dict(model.named_parameters())
    with torch.enable_grad():
        expected = torch.autograd.grad(model(images)[:, 1].sum(), list(parameters.values()))
        logits = backbones.finish_from(model, images, 0, checkpointing)
        found = torch.autograd.grad(logits[:, 1].sum(), list(parameters.values()))
    for name, one, other in zip(parameters, expected, found, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5 * max(1.0, one.abs().max().item()), rtol=1e-4, msg=name)


def test_attention_is_fused(model):
    assert all(block.attn.fused_attn for block in model.blocks)


@torch.inference_mode()
def test_one_pass_equals_one_pass_a_block(model, images, reached):
    for block, entering in reached.items():
        torch.testing.assert_close(backbones.encode_until(model, images, block), entering, atol=0, rtol=0)


@torch.inference_mode()
def test_the_front_can_be_cut_anywhere(model, reached):
    for start in reached:
        onward = backbones.encode_at(model, reached[start], range(start, len(model.blocks) + 1), start)
        assert list(onward) == list(range(start, len(model.blocks) + 1))
        for block, entering in onward.items():
            torch.testing.assert_close(entering, reached[block], atol=0, rtol=0)


def test_what_enters_each_block(model, images, reached):
    depth, width = len(model.blocks), model.embed_dim
    tokens = model.patch_embed.num_patches + model.num_prefix_tokens
    assert reached[0] is images
    assert all(reached[block].shape == (2, tokens, width) for block in range(1, depth))
    assert reached[depth].shape == (2, width)
    with torch.inference_mode():
        logits = linear(reached[depth], model.head.weight, model.head.bias)
        torch.testing.assert_close(logits, model(images), atol=1e-5, rtol=1e-5)


def test_only_the_blocks_asked_for_come_back(model, images):
    with torch.inference_mode():
        assert set(backbones.encode_at(model, images, [3, 1])) == {1, 3}


@pytest.mark.parametrize("blocks", [[], [-1], [1, 5]])
def test_blocks_outside_the_model_are_refused(model, images, blocks):
    with pytest.raises(ValueError, match=r"not within 0\.\.4"):
        backbones.encode_at(model, images, blocks)


def test_a_front_does_not_run_backwards(model, reached):
    with pytest.raises(ValueError, match=r"blocks \[1, 3\] are not within 2\.\.4"):
        backbones.encode_at(model, reached[2], [1, 3], start=2)
    with pytest.raises(ValueError, match=r"not within 0\.\.4"):
        backbones.encode_until(model, reached[2], 5, start=5)


@pytest.mark.parametrize("block", [-1, 5])
def test_a_half_cannot_begin_outside_the_model(model, images, block):
    with pytest.raises(ValueError, match=r"not within 0\.\.4"):
        backbones.encode_until(model, images, block)
    with pytest.raises(ValueError, match=r"not within 0\.\.4"):
        backbones.finish_from(model, torch.zeros(2, model.embed_dim), block)


def test_the_same_seed_gives_the_same_classifier():
    model = small("openclip-tiny")
    before = torch.get_rng_state()
    heads = []
    for seed in (5, 5, 6):
        backbones.attach_classifier(model, classes=2, seed=seed)
        heads.append(model.head.weight.detach().clone())
    assert heads[0].shape == (2, 96)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.get_rng_state(), before)
