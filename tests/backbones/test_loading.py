"""A state dict is loaded completely, or refused with a message that names the mismatch."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import backbones
from backbones.loading import WeightsError, load_model, load_strictly, require_fit

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
    faults = r"missing: bias; unexpected: scale; of another shape: weight \(3, 3\) instead of \(2, 3\)$"
    with pytest.raises(WeightsError, match=r"^a\.pth: the checkpoint does not fit the architecture; " + faults):
        load_strictly(layer, wrong, fresh=(), source=Path("a.pth"))
    assert torch.equal(layer.weight, before)


def test_a_long_list_of_faults_is_cut_short():
    state = {f"layer{number:02}": torch.zeros(1) for number in range(11)}
    with pytest.raises(WeightsError, match=r"unexpected: layer00, .*layer07 and 3 more$"):
        require_fit({}, state, fresh=(), source=Path("a.pth"))


SIZES = {"img_size": 224, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}


def model(**differently):
    return timm.create_model("vit_tiny_patch16_224", **SIZES | differently)


@pytest.mark.parametrize(
    ("differently", "message"),
    [
        ({"patch_size": 14}, "patches of 14 pixels, the backbone patches of 16 pixels"),
        ({"patch_size": 32}, "patches of 32 pixels, the backbone patches of 16 pixels"),
        ({"embed_dim": 48}, "a width of 48, the backbone a width of 32"),
        ({"depth": 3}, "a depth of 3 blocks, the backbone a depth of 2 blocks"),
        ({"depth": 1}, "a depth of 1 blocks, the backbone a depth of 2 blocks"),
    ],
)
def test_another_architecture_is_named_and_refused(differently, message):
    """timm's loader would resample the patch embedding for another patch size."""
    own = model()
    before = {key: value.clone() for key, value in own.state_dict().items()}
    with pytest.raises(
        WeightsError, match=rf"^a\.pth: from another architecture: it has {message}; name the file that"
    ):
        load_model(own, model(**differently).state_dict(), fresh=(), source=SOURCE, resampling={})
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


@pytest.mark.parametrize(
    ("differently", "message"),
    [
        ({"mlp_ratio": 3}, r"of another shape: blocks\.0\.mlp\.fc1\.bias \(96,\) instead of \(128,\)"),
        ({"init_values": 0.1}, r"unexpected: blocks\.0\.ls1\.gamma"),
        ({"qkv_bias": False}, r"missing: blocks\.0\.attn\.qkv\.bias, blocks\.1\.attn\.qkv\.bias$"),
        ({"class_token": False, "global_pool": "avg"}, r"position embedding does not fit a square grid"),
        ({"reg_tokens": 4}, r"position embedding does not fit a square grid"),
        ({"in_chans": 1}, r"of another shape: patch_embed\.proj\.weight"),
    ],
)
def test_nothing_but_positions_may_change_its_shape(differently, message):
    with pytest.raises(WeightsError, match=rf"^a\.pth: .*{message}"):
        load_model(model(), model(**differently).state_dict(), fresh=(), source=SOURCE, resampling={})


@pytest.mark.parametrize("resampling", [{}, {"antialias": False}])
def test_positions_of_another_grid_are_resampled(resampling):
    native, own = model(img_size=448), model()
    torch.nn.init.normal_(native.pos_embed)
    load_model(own, native.state_dict(), fresh=(), source=SOURCE, resampling=resampling)
    grid = native.pos_embed[:, 1:].reshape(1, 28, 28, 32).permute(0, 3, 1, 2)
    small = nn.functional.interpolate(grid, (14, 14), mode="bicubic", antialias=not resampling)
    torch.testing.assert_close(own.pos_embed[:, 1:], small.flatten(2).transpose(1, 2), atol=1e-6, rtol=0)
    assert torch.equal(own.pos_embed[:, :1], native.pos_embed[:, :1])


def test_only_retfound_resamples_without_antialiasing():
    named = {name for name in backbones.names() if backbones.get(name).resampling == {"antialias": False}}
    assert named == {name for name in backbones.names() if name.startswith("retfound")}


QUANTISED = torch.quantize_per_tensor(torch.ones(64, 32), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(64, 32, dtype=torch.int8), "is of type int8; use the model's weights in float32"),
        (torch.ones(64, 32, dtype=torch.int64), "is of type int64; use"),
        (torch.ones(64, 32).to(torch.float8_e4m3fn), "is of type float8_e4m3fn; use"),
        (torch.ones(64, 32, dtype=torch.complex64), "is of type complex64; use"),
        (QUANTISED, "is of type qint8; use"),
        (torch.ones(64, 32).to_sparse(), "is of type float32, sparse_coo; use"),
        (torch.ones(64, 32, device="meta"), r"has no values; save the model's state_dict\(\) again"),
        (torch.full((64, 32), float("nan")), "contains NaN or infinite values, .*; use another checkpoint"),
        (torch.full((64, 32), float("inf"), dtype=torch.float16), "contains NaN or infinite values"),
        (torch.full((64, 32), 1e300, dtype=torch.float64), "contains NaN or infinite values"),
    ],
    ids=["int8", "int64", "float8", "complex", "quantised", "sparse", "meta", "nan", "inf", "beyond-float32"],
)
def test_what_would_load_as_other_numbers_is_refused_with_its_key(value, message):
    """`load_state_dict` casts whatever it is given."""
    own = model(mlp_ratio=2)
    state = own.state_dict() | {"blocks.1.mlp.fc1.weight": value}
    with pytest.raises(WeightsError, match=rf"^a\.pth: blocks\.1\.mlp\.fc1\.weight {message}"):
        load_model(own, state, fresh=(), source=SOURCE, resampling={})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_brought_to_float32(dtype):
    own, other = model(), model()
    state = {key: value.to(dtype) for key, value in other.state_dict().items()}
    load_model(own, state, fresh=(), source=SOURCE, resampling={})
    assert all(value.dtype == torch.float32 for value in own.state_dict().values())
    assert torch.equal(own.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"].float())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("vit.encoder.layer.0.attention.attention.query.weight", "those of Hugging Face transformers, not timm's"),
        ("embeddings.cls_token", "those of Hugging Face transformers, not timm's"),
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", "those of Hugging Face transformers, not timm's"),
        ("encoder.layers.encoder_layer_0.ln_1.weight", "those of torchvision, not timm's"),
        ("layer1.0.conv1.weight", "those of a ResNet, not of a vision transformer"),
        ("transformer.resblocks.0.ln_1.weight", "those of a CLIP model in open_clip's layout"),
        ("base_model.model.blocks.0.attn.qkv.lora_A.weight", "an adapter's, not a whole model's"),
    ],
)
def test_the_layout_of_another_library_is_named(key, message):
    with pytest.raises(WeightsError, match=rf"^a\.pth: its keys are {message} \({key}\); ") as error:
        load_model(model(), {key: torch.ones(2)}, fresh=(), source=SOURCE, resampling={})
    assert "\n" not in str(error.value)


def test_a_transformers_checkpoint_as_it_is_written():
    """The message is about all keys, including those that match."""
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    state = transformers.ViTModel(transformers.ViTConfig(**size)).state_dict()
    with pytest.raises(WeightsError, match="those of Hugging Face transformers"):
        load_model(model(), dict(state), fresh=(), source=SOURCE, resampling={})
