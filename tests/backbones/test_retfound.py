"""RETFound's published layout, at a small size, compared with upstream's loading and features."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate

import backbones

TOY = {"global_pool": "avg", "embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module", params=["retfound-vit-l16", "retfound-vit-l16-meh", "retfound-vit-l16-shanghai"])
def toy(request):
    """A real entry but for its size."""
    return replace(backbones.get(request.param), overrides=TOY)


@pytest.fixture
def folder(shared):
    return shared / "fixtures" / "retfound_tiny"


@pytest.mark.parametrize("file", ["pretrain_checkpoint.pth", "pretrain_checkpoint_with_args.pth"])
def test_features_of_a_pretraining_checkpoint(folder, toy, file):
    """The second file also carries the training script's arguments, as the published ones do."""
    expected = load_file(folder / "loaded_gap_224.safetensors")["out.forward_features"].squeeze(1)
    model = toy.build(folder / file, seed=3)
    with torch.inference_mode():
        features = model(load_file(folder / "inputs.safetensors")["x224"].float())
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=0)


def test_the_norm_after_pooling_starts_fresh(folder, toy):
    model = toy.build(folder / "pretrain_checkpoint.pth")
    assert torch.equal(model.fc_norm.weight, torch.ones(32))
    assert torch.equal(model.fc_norm.bias, torch.zeros(32))


@pytest.mark.parametrize("file", ["gap_64.pth", "finetuned_checkpoint_other_head.pth"])
def test_a_fine_tuned_encoder_loads_without_its_head(folder, toy, file):
    """Trained at 64x64; the head has two classes in one file and five in the other."""
    stored = torch.load(folder / file, weights_only=True)["model"]
    built = toy.build(folder / file).state_dict()
    assert "fc_norm.weight" in built
    assert not torch.equal(built["fc_norm.weight"], torch.ones(32))
    assert all(torch.equal(value, stored[key]) for key, value in built.items() if key != "pos_embed")
    assert built["pos_embed"].shape == (1, 197, 32)


def test_positions_are_resampled_as_in_upstreams_script(folder, toy, tmp_path):
    """Bicubic without antialiasing, which timm would use."""
    checkpoint = torch.load(folder / "pretrain_checkpoint.pth", weights_only=True)
    grid = torch.randn(1, 32, 28, 28, generator=torch.Generator().manual_seed(0))
    first = checkpoint["model"]["pos_embed"][:, :1]
    checkpoint["model"]["pos_embed"] = torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1)
    torch.save(checkpoint, tmp_path / "at448.pth")
    expected = interpolate(grid, (14, 14), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    built = toy.build(tmp_path / "at448.pth").pos_embed
    torch.testing.assert_close(built, torch.cat([first, expected], dim=1), atol=1e-6, rtol=0)


def test_a_missing_block_is_an_error(folder, toy, tmp_path):
    checkpoint = torch.load(folder / "pretrain_checkpoint.pth", weights_only=True)
    del checkpoint["model"]["blocks.1.attn.qkv.bias"]
    torch.save(checkpoint, tmp_path / "partial.pth")
    with pytest.raises(backbones.WeightsError, match=r"missing: blocks\.1\.attn\.qkv\.bias$"):
        toy.build(tmp_path / "partial.pth")


def test_the_full_size_model_has_upstreams_keys_and_shapes(folder):
    backbone = backbones.get("retfound-vit-l16")
    model = backbone.skeleton()
    stored = json.loads((folder / "keys_shapes_vitl16.json").read_text())
    expected = stored["common"] | stored["only_global_pool_true"]
    own = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert own == {key: entry["shape"] for key, entry in expected.items() if not key.startswith("head.")}


def test_the_entries_lead_to_the_published_files():
    """Each repository contains one file with the repository's name, under terms that exclude commercial use."""
    files = {
        "retfound-vit-l16": "RETFound_mae_natureCFP",
        "retfound-vit-l16-meh": "RETFound_mae_meh",
        "retfound-vit-l16-shanghai": "RETFound_mae_shanghai",
        "retfound-dinov2-vit-l14-meh": "RETFound_dinov2_meh",
        "retfound-dinov2-vit-l14-shanghai": "RETFound_dinov2_shanghai",
    }
    assert set(files) == {name for name in backbones.names() if name.startswith("retfound-") and "tiny" not in name}
    for name, file in files.items():
        backbone = backbones.get(name)
        assert str(backbone.weights) == f"YukunZhou/{file}/{file}.pth"
        assert backbone.weights.gated
        assert "non-commercial" in backbone.licence


@pytest.fixture(params=["retfound-dinov2-vit-l14-meh", "retfound-dinov2-vit-l14-shanghai"])
def dinov2(request):
    """A real entry but for its size."""
    return replace(backbones.get(request.param), overrides={"embed_dim": 32, "depth": 2, "num_heads": 2})


def teacher(model):
    """A teacher from DINOv2 training: the backbone under its prefix, together with the heads of both losses."""
    backbone = {f"backbone.{key}": value for key, value in model.state_dict().items()}
    heads = {f"{head}.mlp.0.weight": torch.ones(4, 32) for head in ("dino_head", "ibot_head")}
    return backbone | heads | {"backbone.mask_token": torch.zeros(1, 32), "dino_head.last_layer.weight": torch.ones(2)}


@pytest.mark.parametrize("native", [224, 518])
def test_features_of_a_dinov2_teacher(dinov2, native, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(dinov2.architecture, img_size=native, num_classes=0, **dinov2.overrides).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.save({"teacher": teacher(model)}, tmp_path / "RETFound_dinov2.pth")
    own = dinov2.build(tmp_path / "RETFound_dinov2.pth")
    if native != 224:
        grid = model.pos_embed[:, 1:].reshape(1, 37, 37, 32).permute(0, 3, 1, 2)
        small = interpolate(grid, (16, 16), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
        positions = torch.cat([model.pos_embed[:, :1], small], dim=1)
        model.set_input_size(img_size=224)
        model.pos_embed.data = positions.data
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(own(images), model(images), atol=1e-5, rtol=0)


def test_gated_parts_of_a_teacher_are_renamed(dinov2, tmp_path):
    """Upstream's rule for models with SwiGLU, whose layers are `w12` and `w3`."""
    swiglu = replace(
        dinov2,
        architecture="vit_giant_patch14_dinov2.lvd142m",
        overrides=backbones.get("dinov2-tiny").overrides,
    )
    model = replace(swiglu, weights=None).build(seed=4)
    state = {
        key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): value for key, value in teacher(model).items()
    }
    torch.save({"teacher": state}, tmp_path / "RETFound_dinov2.pth")
    built = swiglu.build(tmp_path / "RETFound_dinov2.pth").state_dict()
    assert all(torch.equal(value, built[key]) for key, value in model.state_dict().items())


def test_a_fine_tuned_dinov2_file_loads_without_its_head(dinov2, tmp_path):
    model = timm.create_model(dinov2.architecture, img_size=224, num_classes=5, **dinov2.overrides)
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "checkpoint-best.pth")
    built = dinov2.build(tmp_path / "checkpoint-best.pth").state_dict()
    assert not any(key.startswith("head.") for key in built)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in built.items())


def test_what_else_a_teacher_holds_is_refused(dinov2, tmp_path):
    model = timm.create_model(dinov2.architecture, img_size=224, num_classes=0, **dinov2.overrides)
    torch.save({"teacher": teacher(model) | {"koleo.weight": torch.ones(2)}}, tmp_path / "a.pth")
    with pytest.raises(backbones.WeightsError, match=r"unexpected: koleo\.weight$"):
        dinov2.build(tmp_path / "a.pth")


def test_files_of_the_other_method_are_refused(folder, toy, dinov2, tmp_path):
    with pytest.raises(backbones.WeightsError, match="patches of 16 pixels, the backbone patches of 14 pixels"):
        dinov2.build(folder / "pretrain_checkpoint.pth")
    model = timm.create_model(dinov2.architecture, img_size=224, num_classes=0, **dinov2.overrides)
    torch.save({"teacher": teacher(model)}, tmp_path / "teacher.pth")
    with pytest.raises(backbones.WeightsError, match="patches of 14 pixels, the backbone patches of 16 pixels"):
        toy.build(tmp_path / "teacher.pth")
