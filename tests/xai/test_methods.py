"""Every method compared with pytorch-grad-cam on the whole model and images, with its own hooks and scaling."""

import numpy as np
import pytest
import pytorch_grad_cam
import timm
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

import backbones
from finetune.strategies import open_strategy
from xai.gradcam import not_finite, saliency_maps
from xai.methods import LIBRARY, METHODS, UNFIT, open_method

VARIANTS = {
    "cls": {"global_pool": "token"},
    "avg": {"global_pool": "avg"},
    "reg": {"global_pool": "token", "reg_tokens": 4, "no_embed_class": True},
}
ORACLES = {"gradcam": "GradCAM"} | LIBRARY


def model_of(variant):
    torch.manual_seed(0)
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=64, patch_size=8, embed_dim=48, depth=3, num_heads=4, num_classes=0, weight_init="jax",
        **VARIANTS[variant],
    )  # fmt: skip
    backbones.attach_classifier(model, 2, seed=0)
    return model.eval()


def pictures(count=3):
    return 3 * torch.randn(count, 3, 64, 64, generator=torch.manual_seed(1))


def run(name, model, images, target_class=1):
    method = open_method(name)
    with torch.inference_mode():
        inputs = backbones.encode_until(model, images, method.start(len(model.blocks)))
    return method(model, inputs, target_class)


def by_the_library(name, model, images, target_class):
    def to_grid(tokens):
        return tokens[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size).permute(0, 3, 1, 2)

    kind = getattr(pytorch_grad_cam, ORACLES[name])
    with kind(model, [model.blocks[-1].norm1], reshape_transform=to_grid) as library:
        return library(images, [ClassifierOutputTarget(target_class)] * len(images))


@pytest.mark.parametrize("variant, target", [("cls", 0), ("cls", 1), ("avg", 1), ("reg", 0)])
@pytest.mark.parametrize("name", ORACLES)
def test_agrees_with_the_library(name, variant, target):
    model, images = model_of(variant), pictures()
    expected = by_the_library(name, model, images, target)
    assert (expected.max(axis=(1, 2)) > 0.9).all(), "maps of zeros would agree whatever the method"
    maps = saliency_maps(run(name, model.requires_grad_(False), images, target), 64)
    np.testing.assert_allclose(maps, expected, atol=3e-5)


@pytest.mark.parametrize("name", ["hirescam", "eigengradcam"])
def test_agrees_with_the_library_through_lora(name):
    model, images = model_of("cls"), pictures()
    module = open_strategy("lora").apply(model)
    for key, parameter in module.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.2)
    module.eval()
    expected = by_the_library(name, model, images, 1)
    np.testing.assert_allclose(saliency_maps(run(name, model, images), 64), expected, atol=3e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_maps_on_the_grid_and_changes_nothing(name):
    model = model_of("reg")
    maps = run(name, model, pictures())
    assert maps.shape == ((3, 64, 64) if name == "input_gradient" else (3, 8, 8))
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert not_finite(maps) == []
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_poisoned_picture_is_named_and_the_others_keep_their_maps(name, poison):
    model, images = model_of("cls"), pictures()
    poisoned = images.clone()
    poisoned[1, 0, 5, 5] = poison
    maps = run(name, model, poisoned)
    assert not_finite(maps) == [1]
    torch.testing.assert_close(maps[[0, 2]], run(name, model, images)[[0, 2]], atol=1e-6, rtol=1e-3)
    assert not_finite(run(name, model, torch.full_like(images, poison))) == [0, 1, 2]


def test_methods_start_at_their_block():
    assert open_method("gradcam").start(12) == 11
    assert open_method("layercam", block=-3).start(12) == 9
    assert open_method("layercam", block=2).start(12) == 2
    assert open_method("rollout").start(12) == open_method("input_gradient").start(12) == 0
    assert open_method("layercam", block=-3).layer == "blocks[-3].norm1"
    with pytest.raises(ValueError, match="gradcam: block 12 of a model of 12 blocks; from -12 to 11"):
        open_method("gradcam", block=12).start(12)
    with pytest.raises(ValueError, match="rollout uses every block"):
        open_method("rollout", block=3)


def test_another_block_is_another_map():
    model, images = model_of("cls"), pictures()
    method = open_method("hirescam", block=1)
    maps = method(model, backbones.encode_until(model, images, method.start(3)))
    assert not torch.allclose(maps, run("hirescam", model, images), rtol=0.1)


@pytest.mark.parametrize(
    ("written", "meant"), [("Grad-CAM", "gradcam"), ("hires_cam", "hirescam"), ("rolout", "rollout")]
)
def test_a_misspelt_name(written, meant):
    with pytest.raises(ValueError, match=f"unknown; did you mean .*{meant}"):
        open_method(written)


@pytest.mark.parametrize("name", UNFIT)
def test_methods_for_other_networks_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=f"explanation method {name} is not offered: ..."):
        open_method(name)
