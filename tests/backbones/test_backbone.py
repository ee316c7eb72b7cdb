"""Building a tower: reproducibly, from a checkpoint file, and normalising what goes into it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import backbones

FAMILIES = ["openclip-tiny", "dinov2-tiny", "retfound-tiny"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def write(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tower_is_ready_to_encode(name):
    tower = backbones.get(name).build()
    assert not tower.training
    assert all(parameter.dtype == torch.float32 and parameter.device.type == "cpu" for parameter in tower.parameters())
    with torch.inference_mode():
        assert tower(torch.zeros(1, 3, 224, 224)).shape == (1, tower.embed_dim)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_alone_decides_the_weights(name):
    backbone = backbones.get(name)
    before = torch.get_rng_state()
    first = backbone.build(seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)  # whatever else a process draws
    assert same(first, backbone.build(seed=7).state_dict())
    assert not same(first, backbone.build(seed=8).state_dict())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("file", ["tower.safetensors", "tower.pth"])
def test_a_saved_tower_comes_back(name, file, tmp_path):
    backbone = backbones.get(name)
    saved = backbone.build(seed=1).state_dict()
    assert same(backbone.build(write(saved, tmp_path / file), seed=2).state_dict(), saved)


def test_a_published_classifier_is_left_behind(tmp_path):
    backbone = backbones.get("openclip-tiny")
    saved = backbone.build(seed=1).state_dict()
    file = write(saved | {"head.weight": torch.ones(1024, 96), "head.bias": torch.ones(1024)}, tmp_path / "clip.pth")
    assert same(backbone.build(file).state_dict(), saved)


def test_a_checkpoint_of_another_family_is_refused(tmp_path):
    file = write(backbones.get("retfound-tiny").build().state_dict(), tmp_path / "retfound.safetensors")
    with pytest.raises(backbones.WeightsError, match=r"retfound\.safetensors.*missing: blocks\.0\.ls1\.gamma"):
        backbones.get("dinov2-tiny").build(file)


class Published:
    """Stands for a file on the hub."""

    def __init__(self, file):
        self.file, self.fetched = file, 0

    def fetch(self):
        self.fetched += 1
        return self.file


def test_published_weights_are_fetched_only_where_no_file_is_named(tmp_path):
    untrained = backbones.get("openclip-tiny")
    hub = write(untrained.build(seed=1).state_dict(), tmp_path / "hub.safetensors")
    own = write(untrained.build(seed=2).state_dict(), tmp_path / "own.safetensors")
    published = Published(hub)
    backbone = replace(untrained, weights=published)
    assert same(backbone.build(own).state_dict(), untrained.build(seed=2).state_dict())
    assert published.fetched == 0
    assert same(backbone.build().state_dict(), untrained.build(seed=1).state_dict())
    assert published.fetched == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_normalising(name):
    backbone = backbones.get(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    expected = (pixels / 255 - np.array(backbone.mean)) / np.array(backbone.std)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(backbone.normalise(images).permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    assert backbone.normalise(images.half()).dtype == torch.float16
