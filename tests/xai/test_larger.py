"""A larger model compared with timm's: a model built at this size, with weights loaded through timm's filter."""

import copy

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

import backbones
from finetune.strategies import open_strategy
from xai.gradcam import gradcam
from xai.larger import larger

VARIANTS = {"cls": {}, "avg": {"global_pool": "avg"}, "reg": {"reg_tokens": 4, "no_embed_class": True}}


def model_of(side=32, **options):
    torch.manual_seed(0)
    shape = {"img_size": side, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "weight_init": "jax"}
    model = VisionTransformer(**shape, **options, num_classes=0)
    backbones.attach_classifier(model, 2, seed=0)
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_the_model_that_timm_makes_at_that_size(variant):
    model = model_of(**VARIANTS[variant])
    expected = model_of(side=64, **VARIANTS[variant])
    expected.load_state_dict(checkpoint_filter_fn(model.state_dict(), expected))
    images = torch.rand(2, 3, 64, 64)
    grown = larger(model, 64)
    with torch.no_grad():
        torch.testing.assert_close(grown(images), expected(images))
    assert gradcam(grown, backbones.encode_until(grown, images, 2)).shape == (2, 8, 8)


def test_position_embeddings_are_those_resampled_bicubically_and_the_class_tokens_own_stays():
    model = model_of()
    grown = larger(model, 64)
    own, grid = model.pos_embed[:, :1], model.pos_embed[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    resampled = torch.nn.functional.interpolate(grid, size=(8, 8), mode="bicubic", antialias=True)
    expected = torch.cat([own, resampled.permute(0, 2, 3, 1).reshape(1, 64, 32)], dim=1)
    torch.testing.assert_close(grown.pos_embed, expected)


def test_the_model_stays_as_it_is_and_adapters_come_along():
    model = model_of()
    module = open_strategy("lora").apply(model)
    for key, parameter in module.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.2)
    before = copy.deepcopy(model.state_dict())
    grown = larger(model.eval(), 64)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    images = torch.rand(1, 3, 64, 64)
    merged = larger(module.merge_and_unload(), 64)
    with torch.no_grad():
        torch.testing.assert_close(grown(images), merged(images), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(grown(images), larger(model_of(), 64)(images), rtol=0.01)


def test_the_same_side_changes_nothing():
    model, images = model_of(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(larger(model, 32)(images), model(images), rtol=0, atol=0)


@pytest.mark.parametrize("side", [0, 4, 60])
def test_a_side_of_broken_patches_is_refused(side):
    with pytest.raises(ValueError, match=f"{side} pixels: the side must be a multiple of the patch size \\(8"):
        larger(model_of(), side)


@pytest.mark.parametrize("name", [name for name in backbones.names() if name.endswith("-tiny")])
def test_every_family_can_take_448_pixels(name):
    grown = larger(backbones.get(name).skeleton(classes=2), 448)
    patch = grown.patch_embed.patch_size[0]
    assert grown.patch_embed.grid_size == (448 // patch, 448 // patch)
