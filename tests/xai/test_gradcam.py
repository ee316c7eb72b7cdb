"""Grad-CAM compared with pytorch-grad-cam's stored outputs and with the library: with LoRA, and at other layers."""

import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import load_file

import backbones
from finetune.strategies import open_strategy
from xai.gradcam import gradcam, not_finite, saliency_maps

VARIANTS = {
    "cls": {"global_pool": "token"},
    "avg": {"global_pool": "avg"},
    "reg": {"global_pool": "token", "reg_tokens": 4, "no_embed_class": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("target", [0, 1])
def test_parity_with_pytorch_grad_cam(shared, variant, target):
    folder = shared / "fixtures" / "gradcam_vit"
    stored = load_file(folder / f"{variant}.safetensors")
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=224, patch_size=16, embed_dim=64, depth=4, num_heads=4, num_classes=2, **VARIANTS[variant]
    ).eval()
    weights = load_file(folder / "weights_common.safetensors") | {
        key.removeprefix("weights."): value for key, value in stored.items() if key.startswith("weights.")
    }
    model.load_state_dict(weights)
    model.requires_grad_(False)
    images = load_file(folder / "input.safetensors")["x"].float()

    with torch.inference_mode():
        tokens = backbones.encode_until(model, images, 3)
        logits = backbones.finish_from(model, tokens, 3)
    torch.testing.assert_close(logits, stored["out.logits"], atol=1e-5, rtol=0)
    signed = gradcam(model, tokens, target)
    torch.testing.assert_close(signed, stored[f"out.class{target}.raw_signed"], atol=1e-7, rtol=0)
    maps = saliency_maps(signed, 224)
    torch.testing.assert_close(maps[:, ::8, ::8], stored[f"out.class{target}.cam_sample"], atol=2e-5, rtol=0)
    full = stored[f"out.class{target}.cam_u16"].to(torch.float64) / 65535
    torch.testing.assert_close(maps.double(), full, atol=3e-5, rtol=0)


@pytest.mark.parametrize("name", ["openclip-tiny", "dinov2-tiny", "retfound-tiny"])
def test_agrees_with_the_library_through_lora(name):
    """The adapters sit in the explained block itself, with weights that are not zero."""
    torch.manual_seed(3)
    model = backbones.get(name).build()
    backbones.attach_classifier(model, 2, seed=1)
    module = open_strategy("lora").apply(model)
    for key, parameter in module.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.2)
    module.eval()
    images = torch.rand(2, 3, 224, 224)

    def to_grid(tokens):
        return tokens[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size).permute(0, 3, 1, 2)

    with GradCAM(model, [model.blocks[-1].norm1], reshape_transform=to_grid) as library:
        expected = library(images, [ClassifierOutputTarget(1)] * 2)
    with torch.inference_mode():
        tokens = backbones.encode_until(model, images, 3)
    maps = saliency_maps(gradcam(model, tokens, 1), 224)
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4)


@pytest.fixture
def model():
    model = backbones.get("openclip-tiny").build()
    backbones.attach_classifier(model, 2, seed=0)
    return model


@pytest.fixture
def tokens(model):
    """The tokens of three images that enter the last block."""
    with torch.inference_mode():
        return backbones.encode_until(model, torch.rand(3, 3, 224, 224, generator=torch.manual_seed(0)), 3)


@pytest.mark.parametrize("block", [0, 1, -2])
def test_any_block_can_be_the_target_layer(model, block):
    images = torch.rand(2, 3, 224, 224, generator=torch.manual_seed(1))
    to_grid = lambda tokens: tokens[:, 1:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)  # noqa: E731
    with GradCAM(model, [model.blocks[block].norm1], reshape_transform=to_grid) as library:
        expected = library(images, [ClassifierOutputTarget(1)] * 2)
    entering = backbones.encode_until(model, images, block % 4)
    np.testing.assert_allclose(saliency_maps(gradcam(model, entering, block=block), 224), expected, atol=3e-5)


def test_pictures_of_a_batch_do_not_mix(model, tokens):
    together = gradcam(model, tokens)
    alone = torch.cat([gradcam(model, tokens[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-4)


def test_a_poisoned_picture_is_named_and_the_others_keep_their_maps(model, tokens):
    poisoned = tokens.clone()
    poisoned[1, 7, 3] = torch.nan
    maps = gradcam(model, poisoned)
    assert not_finite(maps) == [1]
    assert maps[1].isnan().all()
    torch.testing.assert_close(maps[[0, 2]], gradcam(model, tokens)[[0, 2]], atol=1e-6, rtol=1e-4)
    assert saliency_maps(maps, 224)[1].isnan().all(), "never zeros, which would read as: it looks nowhere"
    assert not_finite(saliency_maps(maps, 224, "raw")) == [1]


def test_maps_are_the_same_inside_inference_mode(model, tokens):
    expected = gradcam(model, tokens)
    with torch.inference_mode():
        found = gradcam(model, tokens)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_nothing_of_the_model_changes(model, tokens):
    model.blocks[0].requires_grad_(False)
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    gradcam(model, tokens)
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_what_cannot_be_explained_is_refused(model, tokens):
    with pytest.raises(ValueError, match="target class 2 of a model with 2 classes"):
        gradcam(model, tokens, target_class=2)
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        gradcam(model.train(), tokens)
    parallel = timm.models.vision_transformer.VisionTransformer(
        embed_dim=64, depth=1, num_heads=4, num_classes=2, block_fn=timm.models.vision_transformer.ParallelScalingBlock
    ).eval()
    with pytest.raises(ValueError, match="ParallelScalingBlock, has no norm1"):
        gradcam(parallel, torch.rand(1, 197, 64))


def test_scaling():
    signed = torch.tensor([[[0.0, 2.0], [4.0, -3.0]], [[-1.0, -1.0], [-2.0, -1.0]]])
    stretched = saliency_maps(signed, 8)
    assert stretched[0].max() == pytest.approx(1, abs=1e-5)
    assert stretched[0].min() == 0
    assert not stretched[1].any(), "a map without a positive value is all zeros"
    assert saliency_maps(signed, 8, "raw")[0].max() == pytest.approx(4)
