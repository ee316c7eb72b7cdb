"""Any of timm's vision transformers can be used by its name."""

from dataclasses import replace

import pytest
import timm
import torch
from timm.models.vision_transformer import Block

import backbones
from finetune.strategies import open_strategy
from xai.gradcam import gradcam, saliency_maps


def test_any_vision_transformer_of_timm_goes_by_its_own_name():
    backbone = backbones.get("timm:vit_small_patch14_dinov2.lvd142m")
    assert backbone.name == "timm:vit_small_patch14_dinov2.lvd142m"
    assert (backbone.width, backbone.depth) == (384, 12)
    assert backbone.mean == pytest.approx((0.485, 0.456, 0.406))
    assert str(backbone.weights) == "timm/vit_small_patch14_dinov2.lvd142m/model.safetensors"
    with torch.device("meta"):
        model = timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0)
    assert backbone.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_timm_models_differ_in_normalisation():
    assert backbones.get("timm:vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)


def test_a_non_commercial_licence_is_named_so():
    assert backbones.get("timm:vit_base_patch16_224.mae").licence == "cc-by-nc-4.0 (non-commercial)"
    assert backbones.get("timm:vit_tiny_patch16_224").licence == "apache-2.0"


def test_a_model_without_weights_says_so():
    backbone = backbones.get("timm:vit_small_patch16_36x1_224")
    assert backbone.weights is None
    assert "untrained unless a file is named" in backbone.pretraining


@pytest.mark.parametrize("architecture", ["vit_smal_patch14_dinov2", "vit_small_patch14_dinov2.no_such_tag"])
def test_an_unknown_timm_model_or_tag(architecture):
    with pytest.raises(ValueError, match=r"timm has no model .*did you mean vit_small_patch14_dinov2\.lvd142m"):
        backbones.get(f"timm:{architecture}")


@pytest.mark.parametrize("name", ["deit_tiny_distiled_patch16_224", "vit_base_patch16_radio_v2", "vit_base_r50_s16"])
def test_what_is_suggested_can_be_had(name):
    with pytest.raises(ValueError, match="did you mean") as error:
        backbones.get(f"timm:{name}")
    suggested = str(error.value).partition("did you mean ")[2].rstrip("?").split(" or ")
    for suggestion in suggested:
        assert backbones.get(f"timm:{suggestion}").weights


def test_a_name_like_none_of_timms():
    with pytest.raises(ValueError, match=r"timm has no model '\?\?\?'; timm\.list_models\('vit\*'\) lists some"):
        backbones.get("timm:???")


@pytest.mark.parametrize(
    "architecture",
    ["resnet50", "swin_tiny_patch4_window7_224", "deit_tiny_distilled_patch16_224", "vit_base_patch16_radio_v3"],
)
def test_other_architectures_of_timm_are_refused(architecture):
    with pytest.raises(ValueError, match=rf"timm:{architecture}: .*only timm's VisionTransformer"):
        backbones.get(f"timm:{architecture}")


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("vit_small_patch16_18x2_224", "its blocks are ParallelThingsBlock; only timm's Block is supported"),
        ("vit_pwee_patch16_reg1_gap_256", "its blocks are ParallelScalingBlock; only timm's Block is supported"),
        ("vit_dpwee_patch16_reg1_gap_256", "its blocks are DiffParallelScalingBlock; only timm's Block is supported"),
        ("vit_base_patch16_rpn_224", "its blocks are ResPostBlock; only timm's Block is supported"),
        ("vit_tiny_r_s16_p8_224", "its patches come from HybridEmbed; only timm's VisionTransformer is supported"),
        ("vitamin_small_224", "its patches come from HybridEmbed"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_explained_or_loaded_are_refused(architecture, message):
    """Blocks without norm1 have no target layer (jacobgil/pytorch-grad-cam#257, #474)."""
    with pytest.raises(ValueError, match=rf"^timm:{architecture}: {message}"):
        backbones.get(f"timm:{architecture}")


PARTS = 12  # each of a few minutes
MODULES = ("vision_transformer", "vision_transformer_hybrid", "vitamin", "deit")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_model_of_timms_is_refused_or_goes_all_the_way(part):
    """Every model that a configuration accepts can be cached, adapted and explained."""
    lora, taken = open_strategy("lora"), 0
    for architecture in timm.list_models(module=MODULES)[part::PARTS]:
        try:
            backbone = backbones.get(f"timm:{architecture}")
        except ValueError as error:
            assert "supported" in str(error)
            continue
        lora.require_fit(backbone)
        model = replace(backbone, overrides={**backbone.overrides, "depth": 2}).skeleton(classes=2).eval()
        assert {type(block) for block in model.blocks} == {Block}
        lora.apply(model)
        reached = backbones.encode_at(model, torch.empty(2, 3, 224, 224, device="meta"), [0, 1, 2])
        assert reached[1].shape == (2, backbone.tokens, backbone.width), architecture
        assert all(backbones.finish_from(model, entering, at).shape == (2, 2) for at, entering in reached.items())
        assert saliency_maps(gradcam(model, reached[1]), 224).shape == (2, 224, 224), architecture
        taken += 1
    assert taken > 5


def test_flexivit_is_resampled_as_timm_does(tmp_path):
    """Its native grid is 15x15; timm resamples models with "flexi" in their name bilinearly."""
    backbone = backbones.get("timm:flexivit_small")
    native = timm.create_model("flexivit_small", num_classes=0)
    torch.nn.init.normal_(native.pos_embed)
    torch.save(native.state_dict(), tmp_path / "flexivit.pth")
    overlay = {"file": str(tmp_path / "flexivit.pth"), "num_classes": 0}
    theirs = timm.create_model(
        "flexivit_small", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=224
    )
    assert native.pos_embed.shape != theirs.pos_embed.shape
    torch.testing.assert_close(backbone.build(tmp_path / "flexivit.pth").pos_embed, theirs.pos_embed)
