"""The DINOv2 entry agrees with what timm publishes, and native towers are resampled to 224."""

import timm
import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate

import backbones


def test_the_entry_agrees_with_timm():
    backbone = backbones.get("dinov2-vit-g14")
    published = timm.get_pretrained_cfg(backbone.architecture)
    assert (backbone.mean, backbone.std) == (published.mean, published.std)
    assert backbone.weights.repository == published.hf_hub_id


def test_a_native_518_checkpoint_is_resampled_to_a_16_by_16_grid(tmp_path):
    backbone = backbones.get("dinov2-tiny")
    native = timm.create_model(backbone.architecture, num_classes=0, **backbone.overrides).state_dict()
    native["pos_embed"] = torch.randn(native["pos_embed"].shape, generator=torch.Generator().manual_seed(0))
    save_file(native, tmp_path / "native.safetensors")
    built = backbone.build(tmp_path / "native.safetensors").state_dict()

    grid = native["pos_embed"][:, 1:].reshape(1, 37, 37, 96).permute(0, 3, 1, 2)
    small = interpolate(grid, (16, 16), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(built["pos_embed"][:, 1:], small, atol=1e-6, rtol=0)
    assert torch.equal(built["pos_embed"][:, :1], native["pos_embed"][:, :1])
    assert all(torch.equal(built[key], native[key]) for key in built if key != "pos_embed")
