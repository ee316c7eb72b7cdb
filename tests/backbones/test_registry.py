"""Names lead to backbones, and what an entry says of its tower is true."""

import pytest
import timm
import torch

import backbones
from backbones.registry import register


@pytest.mark.parametrize("name", backbones.names())
def test_an_entry_describes_its_tower(name):
    backbone = backbones.get(name)
    with torch.device("meta"):
        tower = timm.create_model(backbone.architecture, img_size=224, num_classes=0, **backbone.overrides)
    assert backbone.name == name
    assert sum(parameter.numel() for parameter in tower.parameters()) == backbone.parameters
    assert (tower.embed_dim, len(tower.blocks)) == (backbone.width, backbone.depth)
    assert set(backbone.fresh) <= set(tower.state_dict())
    assert backbone.licence
    assert backbone.pretraining
    if backbone.weights is None:
        assert "untrained" in backbone.pretraining


def test_the_study_and_its_demo_are_there():
    assert {"openclip-vit-g14", "dinov2-vit-g14", "retfound-vit-l16"} < set(backbones.names())
    demo = [backbones.get(name) for name in backbones.names() if name.endswith("-tiny")]
    assert {backbone.family for backbone in demo} == {"openclip", "dinov2", "retfound"}
    assert backbones.names() == sorted(backbones.names())


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"'dinov2-vitg14' is unknown; did you mean dinov2-vit-g14"):
        backbones.get("dinov2-vitg14")


def test_a_name_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match=r"known: dinov2-tiny, .*timm:<model>"):
        backbones.get("???")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="openclip-tiny is registered twice"):
        register(backbones.get("openclip-tiny"))


def test_any_vision_transformer_of_timm_goes_by_its_own_name():
    backbone = backbones.get("timm:vit_small_patch14_dinov2.lvd142m")
    assert backbone.name == "timm:vit_small_patch14_dinov2.lvd142m"
    assert (backbone.width, backbone.depth) == (384, 12)
    assert backbone.mean == pytest.approx((0.485, 0.456, 0.406))
    assert str(backbone.weights) == "timm/vit_small_patch14_dinov2.lvd142m/model.safetensors"
    with torch.device("meta"):
        tower = timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0)
    assert backbone.parameters == sum(parameter.numel() for parameter in tower.parameters())


def test_timm_models_differ_in_normalisation():
    assert backbones.get("timm:vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("architecture", ["vit_smal_patch14_dinov2", "vit_small_patch14_dinov2.no_such_tag"])
def test_an_unknown_timm_model_or_tag(architecture):
    with pytest.raises(ValueError, match=r"timm has no model .*did you mean vit_small_patch14_dinov2\.lvd142m"):
        backbones.get(f"timm:{architecture}")


@pytest.mark.parametrize(
    "architecture", ["resnet50", "swin_tiny_patch4_window7_224", "deit_tiny_distilled_patch16_224"]
)
def test_other_architectures_of_timm_are_refused(architecture):
    with pytest.raises(ValueError, match=rf"timm:{architecture}: .*only timm's VisionTransformer"):
        backbones.get(f"timm:{architecture}")
