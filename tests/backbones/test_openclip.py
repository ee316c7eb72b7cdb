"""The OpenCLIP entry compared with timm's published model, and the converted model with open_clip's own."""

import open_clip
import timm
import torch
from safetensors.torch import save_file

import backbones
from backbones.tiny import DEPTH, TINY, WIDTH


def test_the_entry_agrees_with_timm():
    backbone = backbones.get("openclip-vit-g14")
    published = timm.get_pretrained_cfg(backbone.architecture)
    assert (backbone.mean, backbone.std) == (published.mean, published.std)
    assert backbone.weights.repository == published.hf_hub_id


def test_the_other_tag_comes_from_open_clips_own_repository():
    """The same model with two pre-trainings."""
    first, second = backbones.get("openclip-vit-g14"), backbones.get("openclip-vit-g14-s34b")
    named = backbones.get("open_clip:ViT-g-14/laion2b_s34b_b88k")
    assert second.weights == named.weights
    assert second.architecture == first.architecture
    assert (second.parameters, second.mean, second.std) == (named.parameters, named.mean, named.std)
    shapes = [{key: value.shape for key, value in entry.skeleton().state_dict().items()} for entry in (second, named)]
    assert shapes[0] == shapes[1]


def test_open_clips_own_file_gives_the_features_of_its_own_model(tmp_path):
    """The state dict of a complete CLIP model of the tiny model's size, with ViT-g-14's MLP ratio."""
    torch.manual_seed(0)
    ratio = open_clip.get_model_config("ViT-g-14")["vision_cfg"]["mlp_ratio"]
    visual = {"image_size": 224, "patch_size": 14, "width": WIDTH, "layers": DEPTH, "mlp_ratio": ratio}
    text = {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1}
    clip = open_clip.CLIP(64, visual | {"head_width": WIDTH // TINY["num_heads"]}, text).eval()
    for parameter in clip.visual.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    file = tmp_path / "open_clip_model.safetensors"
    save_file({key: value.contiguous() for key, value in clip.state_dict().items()}, file)
    model = backbones.get("openclip-tiny").build(file)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        features = backbones.encode_until(model, images, DEPTH)
        torch.testing.assert_close(features @ clip.visual.proj, clip.visual(images), atol=1e-4, rtol=1e-4)
