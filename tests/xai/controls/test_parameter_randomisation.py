"""The cascade re-initialises all trained weights in order and leaves the original unchanged; similarities are right."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity as skimage_ssim

import backbones
from finetune.strategies import open_strategy
from xai.controls.parameter_randomisation import cascade, mean_sd, others, rank_correlation, structural_similarity

DEPTH = 4


def trained(name, strategy="full"):
    """A tiny model in which every parameter differs from its initial value."""
    model = backbones.get(name).build()
    backbones.attach_classifier(model, 2, seed=0)
    open_strategy(strategy).apply(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def part_of(key):
    """The step at which a parameter of a plain model is re-initialised."""
    if key.startswith("head."):
        return 1
    if key.startswith("blocks."):
        return DEPTH + 1 - int(key.split(".")[1])
    return 2 if key.startswith(("norm.", "fc_norm.")) else DEPTH + 2


@pytest.mark.parametrize("name", ["openclip-tiny", "dinov2-tiny", "retfound-tiny"])
def test_the_trained_weights_go_from_the_head_down(name):
    model = trained(name)
    before = copy.deepcopy(model.state_dict())
    random_before = torch.random.get_rng_state()
    previous = before
    for step, changed in cascade(model, seed=3):
        now = copy.deepcopy(changed.state_dict())
        for key, value in now.items():
            if part_of(key) == step:
                assert not (value == before[key]).all(), f"{key} is still the trained one at step {step}"
            else:
                assert torch.equal(value, previous[key]), f"{key} changed at step {step}"
        previous = now
        assert not changed.training
    assert step == DEPTH + 2
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random_before)


def test_fresh_weights_are_spread_as_in_a_new_model():
    new = backbones.get("dinov2-tiny-untrained").build().state_dict()
    *_, (_, changed) = cascade(trained("dinov2-tiny"))
    for key, value in changed.state_dict().items():
        if not key.startswith("head."):
            assert float(value.std()) == pytest.approx(float(new[key].std()), rel=0.3, abs=1e-6), key
            assert float(value.mean()) == pytest.approx(float(new[key].mean()), abs=0.02), key


def test_the_seed_decides():
    def last(seed):
        *_, (_, changed) = cascade(trained("retfound-tiny"), seed)
        return changed.blocks[2].attn.qkv.weight

    assert torch.equal(last(1), last(1))
    assert not torch.equal(last(1), last(2))


@torch.inference_mode()
def test_adapters_are_merged_and_go_with_their_block():
    model = trained("retfound-tiny", "lora")
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    entering = backbones.encode_until(model, images, DEPTH - 1)
    for step, changed in cascade(model):
        assert not any("lora" in key or "base_layer" in key for key in changed.state_dict())
        same = torch.allclose(backbones.encode_until(changed, images, DEPTH - 1), entering, atol=1e-4)
        assert same == (step <= 2), "adapters of blocks not yet reached still work"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_classifier_is_never_zero():
    """With timm's "jax" initialisation it would be zero, and no map would have a gradient."""
    model = trained("openclip-tiny")
    assert model.weight_init_mode == "jax"
    _, changed = next(cascade(model))
    assert changed.head.weight.abs().min() > 0


maps = hnp.arrays(np.float64, (2, 4, 4), elements=st.integers(-5, 5))


@given(maps, maps)
def test_rank_correlation_is_spearmans(one, other):
    for a, b, found in zip(one, other, rank_correlation(one, other), strict=True):
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-12)


def test_ssim_is_that_of_scikit_image():
    generator = np.random.default_rng(0)
    one = generator.random((3, 40, 56)).astype(np.float32)
    other = np.clip(one + generator.normal(0, [[[0.0]], [[0.1]], [[0.4]]], one.shape), 0, 1).astype(np.float32)
    expected = [
        skimage_ssim(a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for a, b in zip(one.astype(float), other.astype(float), strict=True)
    ]
    found = structural_similarity(one, other)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found[0] == pytest.approx(1)


def test_a_map_of_zeros_has_no_similarity():
    one, blank = np.random.default_rng(0).random((1, 16, 16)), np.zeros((1, 16, 16))
    assert np.isnan(structural_similarity(one, blank)).all()
    assert np.isnan(rank_correlation(one, blank)).all()


def test_mean_and_spread_over_images():
    assert mean_sd(np.array([1.0, 3.0, np.nan])) == (2, pytest.approx(2**0.5))
    assert np.isnan(mean_sd(np.array([np.nan]))).all()
    assert np.isnan(mean_sd(np.array([1.0]))[1])


def test_pairs_of_other_images_are_of_different_patients():
    patients = np.array(["a", "a", "b", "b", "c", "d"])
    pairs = others(patients)
    assert len(pairs) == len(np.unique(pairs, axis=0))
    assert {tuple(pair) for pair in pairs} == {
        (i, j) for i in range(6) for j in range(i + 1, 6) if patients[i] != patients[j]
    }
    assert len(others(np.array(["a", "a"]))) == len(others(np.array(["a"]))) == 0
    many = others(np.arange(300))
    assert 300 * 8 - 300 <= len(many) <= 300 * 8, "no more than sixteen an image"
    assert np.bincount(many.ravel()).max() <= 16


def test_unrelated_smooth_maps_are_as_alike_as_maps_of_other_images():
    """Smooth fields: after a full cascade the rank correlation equals that of unrelated images, and is not near 0."""
    generator = np.random.default_rng(0)
    fields = ndimage.gaussian_filter(generator.normal(size=(2, 60, 24, 24)), (0, 0, 3, 3))[..., 4:-4, 4:-4]
    cascaded = abs(rank_correlation(*fields))
    one, other = others(np.arange(60)).T
    baseline = abs(rank_correlation(fields[0, one], fields[0, other]))
    assert 0.11 < baseline.mean() < 0.34
    assert cascaded.mean() == pytest.approx(baseline.mean(), abs=3 * cascaded.std() / np.sqrt(60))
