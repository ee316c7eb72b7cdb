"""Grad-CAM against pytorch-grad-cam's stored outputs, and against the library itself on a LoRA-wrapped tower."""

import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import load_file

import backbones
from finetune.strategies import open_strategy
from xai.gradcam import gradcam, saliency_maps

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
    tower = timm.models.vision_transformer.VisionTransformer(
        img_size=224, patch_size=16, embed_dim=64, depth=4, num_heads=4, num_classes=2, **VARIANTS[variant]
    ).eval()
    weights = load_file(folder / "weights_common.safetensors") | {
        key.removeprefix("weights."): value for key, value in stored.items() if key.startswith("weights.")
    }
    tower.load_state_dict(weights)
    tower.requires_grad_(False)
    images = load_file(folder / "input.safetensors")["x"].float()

    with torch.inference_mode():
        tokens = backbones.encode_until(tower, images, 3)
        logits = backbones.finish_from(tower, tokens, 3)
    torch.testing.assert_close(logits, stored["out.logits"], atol=1e-5, rtol=0)
    signed = gradcam(tower, tokens, target)
    torch.testing.assert_close(signed, stored[f"out.class{target}.raw_signed"], atol=1e-7, rtol=0)
    maps = saliency_maps(signed, 224)
    torch.testing.assert_close(maps[:, ::8, ::8], stored[f"out.class{target}.cam_sample"], atol=2e-5, rtol=0)
    full = stored[f"out.class{target}.cam_u16"].to(torch.float64) / 65535
    torch.testing.assert_close(maps.double(), full, atol=3e-5, rtol=0)


@pytest.mark.parametrize("name", ["openclip-tiny", "dinov2-tiny", "retfound-tiny"])
def test_agrees_with_the_library_through_lora(name):
    """The adapters sit in the explained block itself, with weights that are not zero."""
    torch.manual_seed(3)
    tower = backbones.get(name).build()
    backbones.attach_classifier(tower, 2, seed=1)
    module = open_strategy("lora").apply(tower)
    for key, parameter in module.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.2)
    module.eval()
    images = torch.rand(2, 3, 224, 224)

    def to_grid(tokens):
        return tokens[:, tower.num_prefix_tokens :].unflatten(1, tower.patch_embed.grid_size).permute(0, 3, 1, 2)

    with GradCAM(tower, [tower.blocks[-1].norm1], reshape_transform=to_grid) as library:
        expected = library(images, [ClassifierOutputTarget(1)] * 2)
    with torch.inference_mode():
        tokens = backbones.encode_until(tower, images, 3)
    maps = saliency_maps(gradcam(tower, tokens, 1), 224)
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-4)


def test_pictures_of_a_batch_do_not_mix():
    tower = backbones.get("openclip-tiny").build()
    backbones.attach_classifier(tower, 2, seed=0)
    tokens = backbones.encode_until(tower, torch.rand(3, 3, 224, 224), 3).detach()
    together = gradcam(tower, tokens)
    alone = torch.cat([gradcam(tower, tokens[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-4)


def test_scaling():
    signed = torch.tensor([[[0.0, 2.0], [4.0, -3.0]], [[-1.0, -1.0], [-2.0, -1.0]]])
    stretched = saliency_maps(signed, 8)
    assert stretched[0].max() == pytest.approx(1, abs=1e-5)
    assert stretched[0].min() == 0
    assert not stretched[1].any(), "a map without a positive value is all zeros"
    assert saliency_maps(signed, 8, "raw")[0].max() == pytest.approx(4)
