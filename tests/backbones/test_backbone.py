"""Building a model reproducibly, loading a checkpoint file, and normalising the input."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import backbones

FAMILIES = ["openclip-tiny-untrained", "dinov2-tiny-untrained", "retfound-tiny-untrained"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def write(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_is_ready_to_encode(name):
    model = backbones.get(name).build()
    assert not model.training
    assert all(parameter.dtype == torch.float32 and parameter.device.type == "cpu" for parameter in model.parameters())
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 224, 224)).shape == (1, model.embed_dim)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_alone_decides_the_weights(name):
    backbone = backbones.get(name)
    before = torch.get_rng_state()
    first = backbone.build(seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)  # other random numbers in the process
    assert same(first, backbone.build(seed=7).state_dict())
    assert not same(first, backbone.build(seed=8).state_dict())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("file", ["model.safetensors", "model.pth"])
def test_a_saved_model_comes_back(name, file, tmp_path):
    backbone = backbones.get(name)
    saved = backbone.build(seed=1).state_dict()
    assert same(backbone.build(write(saved, tmp_path / file), seed=2).state_dict(), saved)


def test_a_published_classifier_is_left_behind(tmp_path):
    backbone = backbones.get("openclip-tiny-untrained")
    saved = backbone.build(seed=1).state_dict()
    file = write(saved | {"head.weight": torch.ones(1024, 96), "head.bias": torch.ones(1024)}, tmp_path / "clip.pth")
    assert same(backbone.build(file).state_dict(), saved)


def test_a_checkpoint_of_another_family_is_refused(tmp_path):
    file = write(backbones.get("retfound-tiny-untrained").build().state_dict(), tmp_path / "retfound.safetensors")
    with pytest.raises(backbones.WeightsError, match=r"retfound\.safetensors: .*patches of 16 pixels, .* of 14 pixels"):
        backbones.get("dinov2-tiny-untrained").build(file)


class Published:
    """Stands for a file on the hub."""

    repository, names = "lab/model-b16", ("model.safetensors", "pytorch_model.bin")

    def __init__(self, file):
        self.file, self.fetched = file, 0

    def fetch(self):
        self.fetched += 1
        return self.file


def test_published_weights_are_fetched_only_where_no_file_is_named(tmp_path):
    untrained = backbones.get("openclip-tiny-untrained")
    hub = write(untrained.build(seed=1).state_dict(), tmp_path / "hub.safetensors")
    own = write(untrained.build(seed=2).state_dict(), tmp_path / "own.safetensors")
    published = Published(hub)
    backbone = replace(untrained, weights=published)
    assert same(backbone.build(own).state_dict(), untrained.build(seed=2).state_dict())
    assert published.fetched == 0
    assert same(backbone.build().state_dict(), untrained.build(seed=1).state_dict())
    assert published.fetched == 1


def test_an_untrained_backbone_has_no_file():
    assert backbones.get("openclip-tiny-untrained").locate() is None
    with pytest.raises(backbones.WeightsError, match=r"openclip-tiny-untrained is untrained .*`sha256:`"):
        backbones.get("openclip-tiny-untrained").build(sha256="0" * 64)


@pytest.mark.parametrize("files", [("model.safetensors", "model-b16.pth"), ("model-b16.pth", "a.pth"), ("a.bin",)])
def test_a_folder_of_weights(files, tmp_path):
    """The published name first, then the repository's name, then the only checkpoint."""
    backbone = replace(backbones.get("openclip-tiny-untrained"), weights=Published(None))
    for seed, file in enumerate(files):
        torch.save(backbones.get("openclip-tiny-untrained").build(seed=seed).state_dict(), tmp_path / file)
    assert backbone.locate(tmp_path) == tmp_path / files[0]
    assert backbone.locate(tmp_path / files[-1]) == tmp_path / files[-1]


def test_weights_in_a_folder_are_loaded(tmp_path):
    backbone = backbones.get("openclip-tiny-untrained")
    saved = backbone.build(seed=1).state_dict()
    write(saved, tmp_path / "model.safetensors")
    assert same(backbone.build(tmp_path).state_dict(), saved)
    assert same(backbone.build(str(tmp_path)).state_dict(), saved)


def test_a_folder_without_weights(tmp_path):
    message = r"retfound-here: contains no RETFound_mae_natureCFP\.pth or RETFound_mae_natureCFP\.safetensors or "
    (tmp_path / "retfound-here").mkdir()
    with pytest.raises(backbones.WeightsError, match=message):
        backbones.get("retfound-vit-l16").locate(tmp_path / "retfound-here")
    with pytest.raises(backbones.WeightsError, match=r"absent: no such weights file or folder"):
        backbones.get("retfound-vit-l16").build(tmp_path / "absent")


def test_only_the_file_of_the_right_digest_is_loaded(tmp_path):
    backbone = backbones.get("openclip-tiny-untrained")
    file = write(backbone.build(seed=1).state_dict(), tmp_path / "model.safetensors")
    assert same(backbone.build(file, sha256=backbones.sha256(file)).state_dict(), backbone.build(seed=1).state_dict())
    with pytest.raises(backbones.WeightsError, match=rf"SHA-256 begins with {backbones.sha256(file)[:12]}, not abc"):
        backbone.build(file, sha256="abc" + "0" * 61)


def test_another_revision():
    backbone = backbones.get("retfound-vit-l16")
    at = backbone.at("v2")
    assert at.weights == replace(backbone.weights, revision="v2")
    assert replace(at, weights=None) == replace(backbone, weights=None)
    with pytest.raises(ValueError, match="openclip-tiny-untrained has no weights on the hub; remove its `revision:`"):
        backbones.get("openclip-tiny-untrained").at("v2")


@pytest.mark.parametrize("name", ["retfound-vit-l16", "dinov2-tiny-untrained", "open_clip:ViT-H-14-CLIPA/datacomp1b"])
def test_a_backbone_travels_to_other_processes(name):
    backbone = backbones.get(name)
    there = pickle.loads(pickle.dumps(backbone))
    assert (there.name, there.weights, there.parameters) == (backbone.name, backbone.weights, backbone.parameters)
    assert there.skeleton().state_dict().keys() == backbone.skeleton().state_dict().keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_normalising(name):
    backbone = backbones.get(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    expected = (pixels / 255 - np.array(backbone.mean)) / np.array(backbone.std)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(backbone.normalise(images).permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    assert backbone.normalise(images.half()).dtype == torch.float16
