"""RETFound's published layout, at toy size, against upstream's own loading and features."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file

import backbones

TOY = {"global_pool": "avg", "embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def toy():
    """The real entry but for its size."""
    return replace(backbones.get("retfound-vit-l16"), overrides=TOY)


@pytest.fixture
def folder(shared):
    return shared / "fixtures" / "retfound_tiny"


@pytest.mark.parametrize("file", ["pretrain_checkpoint.pth", "pretrain_checkpoint_with_args.pth"])
def test_features_of_a_pretraining_checkpoint(folder, toy, file):
    """The second file also carries the training script's arguments, as the published ones do."""
    expected = load_file(folder / "loaded_gap_224.safetensors")["out.forward_features"].squeeze(1)
    tower = toy.build(folder / file, seed=3)
    with torch.inference_mode():
        features = tower(load_file(folder / "inputs.safetensors")["x224"].float())
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=0)


def test_the_norm_after_pooling_starts_fresh(folder, toy):
    tower = toy.build(folder / "pretrain_checkpoint.pth")
    assert torch.equal(tower.fc_norm.weight, torch.ones(32))
    assert torch.equal(tower.fc_norm.bias, torch.zeros(32))


@pytest.mark.parametrize("file", ["gap_64.pth", "finetuned_checkpoint_other_head.pth"])
def test_a_fine_tuned_encoder_loads_without_its_head(folder, toy, file):
    """Made at 64x64; the head has two classes in one file and five in the other."""
    stored = torch.load(folder / file, weights_only=True)["model"]
    built = toy.build(folder / file).state_dict()
    assert all(torch.equal(value, stored[key]) for key, value in built.items() if key != "pos_embed")
    assert built["pos_embed"].shape == (1, 197, 32)


def test_a_missing_block_is_an_error(folder, toy, tmp_path):
    checkpoint = torch.load(folder / "pretrain_checkpoint.pth", weights_only=True)
    del checkpoint["model"]["blocks.1.attn.qkv.bias"]
    torch.save(checkpoint, tmp_path / "partial.pth")
    with pytest.raises(backbones.WeightsError, match=r"missing: blocks\.1\.attn\.qkv\.bias$"):
        toy.build(tmp_path / "partial.pth")


def test_the_full_size_tower_has_upstreams_keys_and_shapes(folder):
    backbone = backbones.get("retfound-vit-l16")
    with torch.device("meta"):
        tower = timm.create_model(backbone.architecture, img_size=224, num_classes=0, **backbone.overrides)
    stored = json.loads((folder / "keys_shapes_vitl16.json").read_text())
    expected = stored["common"] | stored["only_global_pool_true"]
    own = {key: list(value.shape) for key, value in tower.state_dict().items()}
    assert own == {key: entry["shape"] for key, entry in expected.items() if not key.startswith("head.")}
