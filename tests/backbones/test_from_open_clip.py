"""Any of open_clip's plain CLIP models becomes a timm model with the same features."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from timm.layers import QuickGELU

import backbones

TEXT = {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1}
SMALL = {"image_size": 224, "patch_size": 32, "width": 96, "head_width": 24, "layers": 3}
CLIPA = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True, "pos_embed_type": "sin_cos_2d"}
TAG = {"hf_hub": "lab/tiny/", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Registers a small model in open_clip, and returns the path of a random state dict of it."""

    def publish(vision, quick_gelu=False, tag_quick_gelu=False):
        torch.manual_seed(0)
        config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": quick_gelu}
        (tmp_path / "tiny.json").write_text(json.dumps(config))
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
        tag = TAG | {"quick_gelu": tag_quick_gelu}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"random": tag})
        model = open_clip.create_model("tiny", force_quick_gelu=quick_gelu or tag_quick_gelu).eval()
        for parameter in model.visual.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        file = tmp_path / "tiny.safetensors"
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
        return model.visual, file

    backbones.from_open_clip.from_open_clip.cache_clear()
    yield publish
    backbones.from_open_clip.from_open_clip.cache_clear()


@pytest.mark.parametrize(
    ("differently", "quick_gelu"),
    [
        ({}, {}),
        ({}, {"quick_gelu": True}),
        ({}, {"tag_quick_gelu": True}),
        ({"mlp_ratio": 4.3637}, {}),
        ({"ls_init_value": 0.1}, {}),
        ({"pool_type": "avg"}, {}),
        (CLIPA, {}),
        (CLIPA, {"quick_gelu": True}),
        ({"norm_kwargs": {"eps": 1e-3}}, {}),
    ],
    ids=str,
)
def test_the_converted_model_gives_open_clips_features(differently, quick_gelu, published):
    visual, file = published(SMALL | differently, **quick_gelu)
    backbone = backbones.get("open_clip:tiny/random")
    model = backbone.build(file)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(model(images) @ visual.proj, visual(images), atol=1e-5, rtol=1e-5)
    assert (backbone.mean, backbone.std) == (TAG["mean"], TAG["std"])
    assert (backbone.width, backbone.depth) == (96, 3)
    assert backbone.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert isinstance(model.blocks[0].mlp.act, QuickGELU) == bool(quick_gelu)


def test_positions_of_another_size_are_resampled_to_224(published):
    visual, file = published(SMALL | {"image_size": 320})
    model = backbones.get("open_clip:tiny/random").build(file)
    native = visual.positional_embedding.detach()
    grid = native[1:].reshape(1, 10, 10, 96).permute(0, 3, 1, 2)
    small = torch.nn.functional.interpolate(grid, (7, 7), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.pos_embed[:, 1:], small, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.pos_embed[0, 0], native[0])


def test_what_is_no_part_of_a_clip_model_is_refused(published, tmp_path):
    visual, _ = published(SMALL)
    state = {f"visual.{key}": value for key, value in visual.state_dict().items()}
    torch.save(state | {"audio.proj": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(backbones.WeightsError, match=r"unexpected: audio\.proj$"):
        backbones.get("open_clip:tiny/random").build(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("name", "parameters", "width", "depth", "repository", "quick_gelu"),
    [
        ("ViT-B-32/laion2b_s34b_b79k", 87_456_000, 768, 12, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", False),
        ("ViT-B-32/openai", 87_456_000, 768, 12, "timm/vit_base_patch32_clip_224.openai", True),
        ("ViT-L-14-quickgelu/dfn2b", 303_179_776, 1024, 24, "apple/DFN2B-CLIP-ViT-L-14", True),
        ("ViT-H-14-CLIPA/datacomp1b", 630_764_800, 1280, 32, "UCSC-VLAA/ViT-H-14-CLIPA-datacomp1B", False),
    ],
)
def test_models_as_open_clip_publishes_them(name, parameters, width, depth, repository, quick_gelu):
    backbone = backbones.get(f"open_clip:{name}")
    assert (backbone.parameters, backbone.width, backbone.depth) == (parameters, width, depth)
    assert backbone.name == f"open_clip:{name}"
    assert backbone.weights.repository == repository
    assert backbone.weights.names == ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    assert repository in backbone.licence
    assert isinstance(backbone.skeleton().blocks[0].mlp.act, QuickGELU) == quick_gelu


def test_models_differ_in_normalisation():
    assert backbones.get("open_clip:ViT-H-14-CLIPA/datacomp1b").mean == open_clip.constants.IMAGENET_MEAN
    assert backbones.get("open_clip:ViT-B-32/openai").mean == open_clip.constants.OPENAI_DATASET_MEAN


@pytest.mark.slow
def test_every_published_model_is_taken_or_refused_in_one_line():
    taken = refused = 0
    for name, tag in dict(open_clip.list_pretrained()).items():
        try:
            backbone = backbones.get(f"open_clip:{name}/{tag}")
        except ValueError as error:
            assert str(error).endswith("; only plain vision transformers are supported")
            refused += 1
        else:
            assert backbone.weights.repository.count("/") == 1
            taken += 1
    assert taken > 30
    assert refused > 60


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32", r"ViT-B-32 needs the tag of its weights after a slash; known tags: openai, .*laion2b_s34b_b79k, "),
        ("ViT-B-32/laion", r"ViT-B-32 has no weights tagged 'laion'; known tags: openai, .*laion2b_s34b_b79k, "),
        ("ViT-S-32/x", "ViT-S-32 has no weights tagged 'x'; known tags: none"),
        ("VitB32/openai", "open_clip has no model 'VitB32'; did you mean ViT-B-32"),
        ("RN50/openai", "RN50: its image encoder is a ResNet; only plain vision transformers are supported"),
        ("ViT-B-16-SigLIP/webli", "a timm model; use timm:vit_base_patch16_siglip_224 instead; only plain"),
        ("convnext_base/laion400m_s13b_b51k", "its image encoder is timm's convnext_base; only plain"),
        ("coca_ViT-B-32/laion2b_s13b_b90k", "its image encoder has attentional_pool, attn_pooler_heads; only plain"),
    ],
)
def test_an_unavailable_model_is_refused_with_the_reason(name, message):
    with pytest.raises(ValueError, match=message):
        backbones.get(f"open_clip:{name}")
