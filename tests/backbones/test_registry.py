"""Backbones are found by name, and the values in each entry agree with its model."""

import pytest
import torch

import backbones
from backbones.registry import register


@pytest.mark.parametrize("name", backbones.names())
def test_an_entry_describes_its_model(name):
    backbone = backbones.get(name)
    model = backbone.skeleton()
    assert backbone.name == name
    assert sum(parameter.numel() for parameter in model.parameters()) == backbone.parameters
    assert (model.embed_dim, len(model.blocks)) == (backbone.width, backbone.depth)
    assert set(backbone.fresh) <= set(model.state_dict())
    assert backbone.licence
    assert backbone.pretraining
    assert backbone.untrained == ("untrained" in backbone.pretraining)
    if backbone.weights is not None:
        assert backbone.weights.revision == "main"


def counted(width, depth, patch, mlp, positions, extra):
    """Weights and biases of a vision transformer with a class token; `mlp` is of one block, `extra` of the model."""
    attention, norms = 4 * width * width + 4 * width, 2 * 2 * width
    tokens = (1 + positions) * width
    return 3 * patch**2 * width + tokens + depth * (attention + norms + mlp) + extra


def two_layers(width, hidden):
    return 2 * width * hidden + hidden + width


def swiglu(width, hidden):
    return width * 2 * hidden + 2 * hidden + hidden * width + width


OPENCLIP = counted(1408, 40, 14, two_layers(1408, 6144), 257, extra=2 * 1408 + 2 * 1408)  # two norms
SCALED = swiglu(1536, 4096) + 2 * 1536  # LayerScale
DINOV2 = counted(1536, 40, 14, SCALED, 257, extra=3 * 1536)  # bias of the patches, norm
REGISTERS = counted(1536, 40, 14, SCALED, 256, extra=3 * 1536 + 4 * 1536)  # four registers, none with a position
MAE = counted(1024, 24, 16, two_layers(1024, 4096), 197, extra=3 * 1024)
RETFOUND_DINOV2 = counted(1024, 24, 14, two_layers(1024, 4096) + 2 * 1024, 257, extra=3 * 1024)
FULL_SIZE = {
    "openclip-vit-g14": OPENCLIP,
    "openclip-vit-g14-s34b": OPENCLIP,
    "dinov2-vit-g14": DINOV2,
    "dinov2-vit-g14-reg": REGISTERS,
    "retfound-vit-l16": MAE,
    "retfound-vit-l16-meh": MAE,
    "retfound-vit-l16-shanghai": MAE,
    "retfound-dinov2-vit-l14-meh": RETFOUND_DINOV2,
    "retfound-dinov2-vit-l14-shanghai": RETFOUND_DINOV2,
}


@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_full_size_model_has_as_many_parameters_as_its_design(name):
    """The values in the entries; a test above compares them with the models."""
    assert backbones.get(name).parameters == FULL_SIZE[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("openclip-vit-g14", 257),
        ("dinov2-vit-g14", 257),
        ("dinov2-vit-g14-reg", 261),
        ("retfound-vit-l16", 197),
        ("retfound-dinov2-vit-l14-meh", 257),
    ],
)
def test_a_full_size_model_runs(name, tokens):
    """With random weights in bfloat16 (2.3 GB for the largest), on a GPU if there is one."""
    backbone = backbones.get(name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = backbone.skeleton().to(torch.bfloat16).to_empty(device=device).eval()
    generator = torch.Generator(device).manual_seed(0)
    for key, parameter in model.named_parameters():
        scale = key.endswith("gamma") or ("norm" in key and key.endswith("weight"))
        torch.nn.init.constant_(parameter, float(scale))
        if parameter.ndim > 1:
            parameter.data.uniform_(-0.03, 0.03, generator=generator)
    images = backbone.normalise(torch.rand(1, 3, 224, 224, generator=generator, device=device)).to(torch.bfloat16)
    with torch.inference_mode():
        reached = backbones.encode_at(model, images, (backbone.depth - 1, backbone.depth))
    assert reached[backbone.depth - 1].shape == (1, tokens, backbone.width)
    features = reached[backbone.depth]
    assert features.shape == (1, backbone.width)
    assert features.isfinite().all()
    assert features.std() > 0


def test_the_study_and_its_demo_are_there():
    assert {name for name in backbones.names() if "-tiny" not in name} == set(FULL_SIZE)
    for ending, untrained in (("-tiny", False), ("-tiny-untrained", True)):
        demo = [backbones.get(name) for name in backbones.names() if name.endswith(ending)]
        assert {backbone.family for backbone in demo} == {"openclip", "dinov2", "retfound"}
        assert all(backbone.untrained == untrained for backbone in demo)
    assert backbones.names() == sorted(backbones.names())


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"'dinov2-vitg14' is unknown; did you mean dinov2-vit-g14"):
        backbones.get("dinov2-vitg14")


def test_a_name_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match=r"known: .*dinov2-tiny, .*timm:<model> and open_clip:<model>/<tag>"):
        backbones.get("???")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'openclip-tiny' is registered twice"):
        register(backbones.get("openclip-tiny"))
