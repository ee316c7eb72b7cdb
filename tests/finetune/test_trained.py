"""The saved parameters of a trial give the same predictions when they are loaded."""

import re

import pytest
import torch
from safetensors.torch import load_file

import backbones
from finetune.strategies import STRATEGIES, open_strategy
from finetune.trained import load_trained, save_trained

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=STRATEGIES)
def saved(request, new_model, tmp_path_factory):
    """A strategy's name, its folder, and the logits of the model that is saved there."""
    model = new_model().eval()
    untrained = model(IMAGES)
    module = open_strategy(request.param).apply(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # as if it had been trained
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    folder = tmp_path_factory.mktemp(request.param)
    save_trained(module, folder, backbone="retfound-tiny")
    with torch.inference_mode():
        logits = backbones.finish_from(model, IMAGES, 0)
    assert not torch.allclose(logits, untrained, atol=1e-2)
    return request.param, folder, logits


def with_another_head(new_model):
    """A new model with another classifier than that at the start of training."""
    model = new_model()
    backbones.attach_classifier(model, classes=2, seed=99)
    return model


@torch.inference_mode()
def test_the_same_logits_come_back(saved, new_model):
    _, folder, logits = saved
    model = load_trained(with_another_head(new_model), folder, backbone="retfound-tiny")
    assert not model.training
    torch.testing.assert_close(backbones.finish_from(model, IMAGES, 0), logits, atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_the_folder_is_read_by_the_libraries_too(saved, new_model):
    strategy, folder, logits = saved
    model = with_another_head(new_model).eval()
    if strategy == "lora":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder)
    else:
        model.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    torch.testing.assert_close(model(IMAGES), logits, atol=1e-6, rtol=1e-6)


TRAINED = {
    "classifier_only": r"head\.(weight|bias)",
    "partial": r"(blocks\.[12]|fc_norm|head)\..*",
    "lora": r"base_model\.model\.(blocks\.\d\.attn\.(qkv|proj)\.lora_[AB]\.weight|head\.(weight|bias))",
    "full": r".*",
}


def test_only_what_trained_is_written(saved, new_model):
    strategy, folder, _ = saved
    written = load_file(folder / ("adapter_model.safetensors" if strategy == "lora" else "weights.safetensors"))
    assert all(re.fullmatch(TRAINED[strategy], key) for key in written)
    expected = {key for key in new_model().state_dict() if re.fullmatch(TRAINED[strategy], key)}
    if strategy == "lora":
        assert len(written) == 3 * 2 * 2 + 2
    else:
        assert written.keys() == expected


def test_a_narrower_model_is_refused(saved, new_model):
    _, folder, _ = saved
    with pytest.raises(backbones.WeightsError, match=r"\.safetensors: .* of another shape: \S+ \(.*32.*\) instead of"):
        load_trained(new_model(embed_dim=16), folder, backbone="retfound-tiny")


@pytest.mark.parametrize("saved", ["partial", "lora", "full"], indirect=True)
def test_a_shallower_model_is_refused(saved, new_model):
    _, folder, _ = saved
    with pytest.raises(backbones.WeightsError, match=r"\.safetensors: .* unexpected: .*blocks\.2\."):
        load_trained(new_model(depth=2), folder, backbone="retfound-tiny")


@pytest.mark.parametrize("saved", ["lora"], indirect=True)
def test_a_deeper_model_is_refused_by_an_adapter(saved, new_model):
    _, folder, _ = saved
    with pytest.raises(backbones.WeightsError, match=r"missing: .*blocks\.3\.attn"):
        load_trained(new_model(depth=4), folder, backbone="retfound-tiny")


def test_weights_of_another_backbone_are_refused(saved, new_model):
    """A model of another family may have the same keys and shapes."""
    _, folder, _ = saved
    with pytest.raises(backbones.WeightsError, match="trained on backbone retfound-tiny, not on dinov2-tiny"):
        load_trained(new_model(), folder, backbone="dinov2-tiny")
