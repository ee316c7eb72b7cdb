"""The DINOv2 entries agree with what timm publishes, and native models are resampled to 224 as timm does."""

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate

import backbones

ENTRIES = ["dinov2-vit-g14", "dinov2-vit-g14-reg"]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_agrees_with_timm(name):
    backbone = backbones.get(name)
    published = timm.get_pretrained_cfg(backbone.architecture)
    assert (backbone.mean, backbone.std, backbone.licence) == (published.mean, published.std, published.license)
    assert backbone.weights.repository == published.hf_hub_id


@pytest.fixture(params=ENTRIES)
def small(request):
    """The published model at the demo's size."""
    return replace(backbones.get(request.param), overrides=backbones.get("dinov2-tiny").overrides)


@pytest.fixture
def native(small):
    """A model with timm's own settings, 518x518, and position embeddings that affect the output."""
    torch.manual_seed(0)
    model = timm.create_model(small.architecture, num_classes=0, **small.overrides).eval()
    for parameter in (model.pos_embed, model.cls_token, model.reg_token):
        if parameter is not None:
            torch.nn.init.normal_(parameter)
    return model


def test_features_at_224_are_those_of_timms_own_loading(small, native, tmp_path):
    file = tmp_path / "native.safetensors"
    save_file(native.state_dict(), file)
    theirs = timm.create_model(
        small.architecture,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file), "num_classes": 0},
        img_size=224,
        num_classes=0,
        **small.overrides,
    ).eval()
    own = small.build(file)
    assert native.patch_embed.grid_size == (37, 37)
    assert own.patch_embed.grid_size == (16, 16)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(own(images), theirs(images), atol=1e-6, rtol=0)


def test_features_at_the_native_grid_are_kept(small, native, tmp_path):
    """With its position embedding restored, the model at 224 gives the same features for an image of 518x518."""
    save_file(native.state_dict(), tmp_path / "native.safetensors")
    own = small.build(tmp_path / "native.safetensors")
    own.set_input_size(img_size=518)
    own.pos_embed = native.pos_embed
    images = torch.rand(1, 3, 518, 518)
    with torch.inference_mode():
        torch.testing.assert_close(own(images), native(images), atol=1e-6, rtol=0)


def test_metas_own_file_gives_the_same_model(small, native, tmp_path):
    """Meta's files use other names for the MLP, have a mask token, and a position for the class token."""
    save_file(native.state_dict(), tmp_path / "native.safetensors")
    state = {
        key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value
        for key, value in native.state_dict().items()
    }
    state["mask_token"] = torch.zeros(1, 96)
    if native.reg_token is not None:
        state["register_tokens"] = state.pop("reg_token")
        first = torch.randn(1, 1, 96)
        state["cls_token"] = state["cls_token"] - first
        state["pos_embed"] = torch.cat([first, state["pos_embed"]], dim=1)
    torch.save(state, tmp_path / "dinov2_vitg14_pretrain.pth")
    expected = small.build(tmp_path / "native.safetensors").state_dict()
    found = small.build(tmp_path / "dinov2_vitg14_pretrain.pth").state_dict()
    torch.testing.assert_close(dict(found), dict(expected), atol=1e-6, rtol=0)


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
