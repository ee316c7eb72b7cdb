"""Every method of the comparison on one small model; those that combine parts are compared with the parts."""

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

import backbones
from benchmark.experiments.cam_maps import BASELINE, LARGE, MAPS, Images, TrainedModel
from xai.gradcam import gradcam, saliency_maps
from xai.larger import larger


def model_of(name="openclip-tiny", target_class=1):
    backbone = backbones.get(name)
    model = backbone.build()
    backbones.attach_classifier(model, 2, seed=1)
    return TrainedModel(model.eval().requires_grad_(False), backbone.normalise, target_class)


@pytest.fixture(scope="module")
def images():
    large = torch.rand(2, 3, LARGE, LARGE, generator=torch.manual_seed(0))
    return Images(torch.nn.functional.avg_pool2d(large, 2), large)


def maps_of(name, trained, images):
    [method] = [method for method in MAPS if method.name == name]
    return method.maps(trained, images)


@pytest.mark.parametrize("name", [method.name for method in MAPS])
def test_every_record_gives_maps_of_the_studys_size_and_changes_nothing(name, images):
    trained = model_of()
    before = copy.deepcopy(trained.model.state_dict())
    maps = maps_of(name, trained, images)
    assert maps.shape == (2, 224, 224)
    assert maps.isfinite().all()
    assert (maps >= 0).all()
    torch.testing.assert_close(trained.model.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in trained.model.parameters())


def test_no_two_records_share_a_name_and_each_says_what_it_costs():
    assert len({method.name for method in MAPS}) == len(MAPS)
    assert MAPS[0].name == BASELINE
    assert all(method.cost for method in MAPS)


@pytest.mark.parametrize("target", [0, 1])
def test_the_baseline_is_the_studys_own_map(images, target):
    trained = model_of(target_class=target)
    tokens = backbones.encode_until(trained.model, trained.normalise(images.small), 3)
    expected = saliency_maps(gradcam(trained.model, tokens, target), 224, "raw")
    torch.testing.assert_close(maps_of(BASELINE, trained, images), expected)


def test_of_448_pixels_it_is_gradcam_of_the_larger_model_on_the_larger_images(images):
    trained = model_of("dinov2-tiny")
    model = larger(trained.model, LARGE)
    signed = gradcam(model, backbones.encode_until(model, trained.normalise(images.large), 3))
    assert signed.shape == (2, 32, 32)
    torch.testing.assert_close(maps_of("Grad-CAM, 448 pixels", trained, images), saliency_maps(signed, 224, "raw"))


@pytest.mark.parametrize(
    ("name", "block"), [("last block", 3), ("half depth", 2), ("quarter depth", 1), ("first block", 0)]
)
def test_layercam_of_a_block_is_the_librarys(images, name, block):
    trained = model_of()
    model = copy.deepcopy(trained.model).requires_grad_()

    def to_grid(tokens):
        return tokens[:, model.num_prefix_tokens :].unflatten(1, model.patch_embed.grid_size).permute(0, 3, 1, 2)

    with LayerCAM(model, [model.blocks[block].norm1], reshape_transform=to_grid) as library:
        expected = library(trained.normalise(images.small), [ClassifierOutputTarget(1)] * 2)
    maps = maps_of(f"LayerCAM, {name}", trained, images)
    stretched = maps / maps.amax(dim=(1, 2), keepdim=True)
    np.testing.assert_allclose(stretched, expected, atol=0.01)
    for one, other in zip(stretched, expected, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9999


def test_shifts_resolve_more_than_a_patch(images):
    """In plain Grad-CAM, a patch has one value or values interpolated to the next; with 4 x 4 shifts it has 16."""
    maps = maps_of("Grad-CAM, 4x4 shifts", model_of(target_class=0), images)
    maps = maps + maps_of("Grad-CAM, 4x4 shifts", model_of(target_class=1), images)  # whatever the sign
    patch = maps[0, 112:126, 112:126]
    assert 4 < len(patch.unique()) <= 25
