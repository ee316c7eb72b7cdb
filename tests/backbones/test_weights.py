"""A state dict is loaded whole or refused with what does not fit."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import backbones
from backbones.weights import WeightsError, load_strictly, load_tower, require_fit

SOURCE = Path("a.pth")


@pytest.fixture
def state():
    return {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


def test_loading_puts_every_tensor_in_its_place(state):
    layer = nn.Linear(3, 2)
    load_strictly(layer, state, fresh=(), source=Path("a.pth"))
    assert torch.equal(layer.weight, state["weight"])
    assert torch.equal(layer.bias, state["bias"])


def test_fresh_keys_may_be_missing_and_stay_as_they_are(state):
    layer = nn.Linear(3, 2)
    bias = layer.bias.detach().clone()
    load_strictly(layer, {"weight": state["weight"]}, fresh=("bias",), source=Path("a.pth"))
    assert torch.equal(layer.weight, state["weight"])
    assert torch.equal(layer.bias, bias)


def test_every_fault_is_named_and_nothing_is_loaded(state):
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    wrong = {"weight": torch.zeros(3, 3), "scale": torch.zeros(2)}
    faults = r"missing: bias; unexpected: scale; of another shape: weight \(3, 3\) for \(2, 3\)$"
    with pytest.raises(WeightsError, match=r"^a\.pth: the checkpoint does not fit the architecture; " + faults):
        load_strictly(layer, wrong, fresh=(), source=Path("a.pth"))
    assert torch.equal(layer.weight, before)


def test_a_long_list_of_faults_is_cut_short():
    state = {f"layer{number:02}": torch.zeros(1) for number in range(11)}
    with pytest.raises(WeightsError, match=r"unexpected: layer00, .*layer07 and 3 more$"):
        require_fit({}, state, fresh=(), source=Path("a.pth"))


SIZES = {"img_size": 224, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}


def tower(**differently):
    return timm.create_model("vit_tiny_patch16_224", **SIZES | differently)


@pytest.mark.parametrize(
    ("differently", "told"),
    [
        ({"patch_size": 14}, "patches of 14 pixels, the backbone patches of 16 pixels"),
        ({"patch_size": 32}, "patches of 32 pixels, the backbone patches of 16 pixels"),
        ({"embed_dim": 48}, "a width of 48, the backbone a width of 32"),
        ({"depth": 3}, "a depth of 3 blocks, the backbone a depth of 2 blocks"),
        ({"depth": 1}, "a depth of 1 blocks, the backbone a depth of 2 blocks"),
    ],
)
def test_another_architecture_is_named_and_refused(differently, told):
    """timm's own loader would resample a patch embedding of another patch size."""
    own = tower()
    before = {key: value.clone() for key, value in own.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"^a\.pth: of another architecture: it has {told}; name the file that"):
        load_tower(own, tower(**differently).state_dict(), fresh=(), source=SOURCE, resampling={})
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


@pytest.mark.parametrize(
    ("differently", "told"),
    [
        ({"mlp_ratio": 3}, r"of another shape: blocks\.0\.mlp\.fc1\.bias \(96,\) for \(128,\)"),
        ({"init_values": 0.1}, r"unexpected: blocks\.0\.ls1\.gamma"),
        ({"qkv_bias": False}, r"missing: blocks\.0\.attn\.qkv\.bias, blocks\.1\.attn\.qkv\.bias$"),
        ({"class_token": False, "global_pool": "avg"}, r"position embedding is of no square grid"),
        ({"reg_tokens": 4}, r"position embedding is of no square grid"),
        ({"in_chans": 1}, r"of another shape: patch_embed\.proj\.weight"),
    ],
)
def test_nothing_but_positions_may_change_its_shape(differently, told):
    with pytest.raises(WeightsError, match=rf"^a\.pth: .*{told}"):
        load_tower(tower(), tower(**differently).state_dict(), fresh=(), source=SOURCE, resampling={})


@pytest.mark.parametrize("resampling", [{}, {"antialias": False}])
def test_positions_of_another_grid_are_resampled(resampling):
    native, own = tower(img_size=448), tower()
    torch.nn.init.normal_(native.pos_embed)
    load_tower(own, native.state_dict(), fresh=(), source=SOURCE, resampling=resampling)
    grid = native.pos_embed[:, 1:].reshape(1, 28, 28, 32).permute(0, 3, 1, 2)
    small = nn.functional.interpolate(grid, (14, 14), mode="bicubic", antialias=not resampling)
    torch.testing.assert_close(own.pos_embed[:, 1:], small.flatten(2).transpose(1, 2), atol=1e-6, rtol=0)
    assert torch.equal(own.pos_embed[:, :1], native.pos_embed[:, :1])


def test_only_retfound_resamples_without_antialiasing():
    named = {name for name in backbones.names() if backbones.get(name).resampling == {"antialias": False}}
    assert named == {name for name in backbones.names() if name.startswith("retfound")}
