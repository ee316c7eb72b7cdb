"""The miniatures differ from the published models only in size and initial values, and have their weights."""

import re

import pytest
import timm
import torch
from safetensors import safe_open

import backbones


def blueprint(backbone):
    """The modules of a model, without their sizes and the number of blocks."""
    with torch.device("meta"):
        model = timm.create_model(backbone.architecture, img_size=224, num_classes=0, **backbone.overrides)
    parts = {(re.sub(r"blocks\.\d+", "blocks", name), type(part)) for name, part in model.named_modules()}
    return parts, model.global_pool, model.num_prefix_tokens, model.patch_embed.patch_size


@pytest.mark.parametrize(
    ("tiny", "full"),
    [("openclip-tiny", "openclip-vit-g14"), ("dinov2-tiny", "dinov2-vit-g14"), ("retfound-tiny", "retfound-vit-l16")],
)
def test_a_tiny_model_is_built_like_the_full_one(tiny, full):
    tiny, full = backbones.get(tiny), backbones.get(full)
    assert blueprint(tiny) == blueprint(full)
    assert (tiny.family, tiny.mean, tiny.std) == (full.family, full.mean, full.std)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["openclip-tiny-untrained", "dinov2-tiny-untrained", "retfound-tiny-untrained"])
def test_features_of_an_untrained_model_depend_on_the_image(name):
    """Features of different images differ, so that a classifier can learn."""
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images[1, :, 60:160, 60:160] = 0
    first, second = backbones.get(name).build()(images)
    assert (first - second).norm() > 0.01 * first.norm()


@pytest.mark.parametrize("name", ["openclip-tiny", "dinov2-tiny", "retfound-tiny"])
def test_a_miniature_comes_with_small_weights_and_how_they_were_made(name):
    file = backbones.get(name).shipped
    assert file.stat().st_size < 2_000_000
    with safe_open(file, framework="pt") as opened:
        made = opened.metadata()
        dtypes = {opened.get_tensor(key).dtype for key in opened.keys()}  # noqa: SIM118 - not a dict
    assert dtypes == {torch.float16}
    assert made["model"] == name
    assert {"photographs", "steps", "seconds", "seed", "loss", "torch"} <= made.keys()
    pretraining = backbones.get(name).pretraining
    assert f"{int(made['photographs']):,} synthetic images" in pretraining
    assert f", {int(made['seconds']) / 60:.0f} minutes of one CPU core" in pretraining and made["threads"] == "1"
