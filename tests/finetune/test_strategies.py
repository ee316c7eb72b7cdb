"""Each strategy trains exactly the intended parameters."""

import re

import numpy as np
import pytest
import torch

import backbones
from finetune.inputs import Images
from finetune.prepared import Prepared
from finetune.recipe import Recipe
from finetune.strategies import STRATEGIES, open_strategy
from finetune.training import Split, train

FAMILIES = ["openclip-tiny", "dinov2-tiny", "retfound-tiny"]
# Full parameter names in the trained module; the tiny models have 4 blocks.
TRAINED = {
    "classifier_only": r"head\.(weight|bias)",
    "partial": r"(blocks\.[23]|norm|fc_norm|head)\..*",
    "lora": r"base_model\.model\.(blocks\.\d\.attn\.(qkv|proj)\.lora_[AB]\.default\.weight"
    r"|head\.modules_to_save\.default\.(weight|bias))",
    "full": r".*",
}


def model_of(family):
    model = backbones.get(family).build()
    backbones.attach_classifier(model, classes=2, seed=0)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TRAINED)
def test_exactly_the_intended_parameters_change(family, name):
    model = model_of(family)
    module = open_strategy(name).apply(model)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    pictures = np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)
    inputs = Images(pictures, backbones.get(family).normalise, seed=0, device=torch.device("cpu"))
    split = Split(train=np.arange(4), val=np.array([4, 5]), labels=np.array([0, 1, 0, 1, 0, 1]))
    # Two steps, because an adapter's first matrix has no gradient while the second is zero.
    train(Prepared(module, model, 0), inputs, split, Recipe(epochs=1, batch_size=2), learning_rate=1e-3, seed=0)

    after = module.state_dict()
    assert after.keys() == before.keys()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {key for key in after if re.fullmatch(TRAINED[name], key)}
    assert changed == {key for key, parameter in module.named_parameters() if parameter.requires_grad}
    assert len(changed) >= 2


def test_every_strategy_is_covered_above():
    assert TRAINED.keys() == STRATEGIES.keys()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("classifier_only", {}, 12),
        ("partial", {}, 10),
        ("partial", {"blocks": 11}, 1),
        ("lora", {}, 0),
        ("full", {}, 0),
    ],
)
def test_how_many_blocks_stay_frozen(name, options, expected):
    assert open_strategy(name, **options).frozen_blocks(12) == expected


@pytest.mark.parametrize("name", ["classifier_only", "partial"])
def test_nothing_before_the_frozen_blocks_end_has_a_gradient(new_model, name):
    """A cache of their output therefore stays valid."""
    strategy, model = open_strategy(name), new_model()
    strategy.apply(model)
    with torch.enable_grad():
        entering = backbones.encode_until(model, torch.rand(1, 3, 32, 32), strategy.frozen_blocks(3))
    assert not entering.requires_grad


@pytest.mark.parametrize(("options", "rank"), [({}, 8), ({"rank": 2, "alpha": 4}, 2)])
def test_lora_adds_parameters_by_its_rank(new_model, options, rank):
    module = open_strategy("lora", **options).apply(new_model())
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    width, depth = 32, 3
    qkv, projection = rank * (width + 3 * width), rank * (width + width)
    assert trained == depth * (qkv + projection) + 2 * width + 2


@torch.inference_mode()
def test_lora_begins_where_the_model_is(new_model):
    model, images = new_model(), torch.rand(2, 3, 32, 32)
    expected = model.eval()(images)
    open_strategy("lora").apply(model)
    torch.testing.assert_close(backbones.finish_from(model, images, 0), expected)


def test_the_seed_alone_decides_what_lora_begins_with(new_model):
    before = torch.get_rng_state()
    first, again, other = (open_strategy("lora").apply(new_model(), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_misspelt_name_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match="strategy 'partal' is unknown; did you mean partial"):
        open_strategy("partal")


def test_a_name_that_is_not_similar_to_any_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match="known: classifier_only, partial, lora, full"):
        open_strategy("???")


def test_an_unknown_option_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"strategy partial: no option depth; known: learning_rate, blocks$"):
        open_strategy("partial", depth=2)


def test_partial_needs_a_block():
    with pytest.raises(ValueError, match="blocks must be at least 1, not 0; for 0 use classifier_only"):
        open_strategy("partial", blocks=0)


@pytest.mark.parametrize("blocks", [3, 4])
def test_partial_needs_a_frozen_block(new_model, blocks):
    strategy = open_strategy("partial", blocks=blocks)
    with pytest.raises(
        ValueError, match=rf"blocks is {blocks}, but the model has 3 blocks; use fewer, or strategy full"
    ):
        strategy.apply(new_model())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("[.]*(q_proj|v_proj)", r"targets match no module of retfound-tiny; modules .*: blocks\.0\.attn\.qkv, "),
        ("", "targets match no module of retfound-tiny; modules that can be adapted: blocks"),
        ("qkv", "targets match no module of retfound-tiny"),
        ("head", "targets match no module of retfound-tiny except the head, which trains in any case; modules"),
        (r"blocks\.\d+\.norm1", r"targets match blocks\.0\.norm1 of retfound-tiny, a LayerNorm, which LoRA cannot ada"),
        (r"blocks\.\d+", r"targets match blocks\.0 of retfound-tiny, a Block, which LoRA cannot adapt"),
        (".*", "targets match patch_embed of retfound-tiny, a PatchEmbed, which LoRA cannot adapt"),
    ],
)  # fmt: skip
def test_targets_that_adapt_nothing_are_refused(targets, message):
    """Most often, the targets are those of another model (huggingface/peft#40, hiyouga/LlamaFactory#43, #1785)."""
    backbone, strategy = backbones.get("retfound-tiny"), open_strategy("lora", targets=targets)
    with pytest.raises(ValueError, match=f"^{message}") as error:
        strategy.require_fit(backbone)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="targets match"):
        strategy.apply(backbone.skeleton(classes=2))


@pytest.mark.parametrize("targets", ["(", "*proj", "[a-", "x{99999999999}"])
def test_targets_that_are_no_pattern_are_refused(targets):
    with pytest.raises(ValueError, match=re.escape(f"lora: targets {targets!r} is not a regular expression (")):
        open_strategy("lora", targets=targets)


@pytest.mark.parametrize(
    ("targets", "adapted"),
    [
        (r"blocks\.\d+\.attn\.qkv", 4),
        (r"blocks\.3\.mlp\.fc[12]", 2),
        ("all-linear", 16),
        (r"patch_embed\.proj", 1),
        (r"head|.*\.qkv", 4),
    ],
)
def test_other_targets_that_peft_can_adapt_are_taken(targets, adapted):
    backbone, strategy = backbones.get("retfound-tiny"), open_strategy("lora", targets=targets)
    strategy.require_fit(backbone)
    module = strategy.apply(backbone.skeleton(classes=2))
    assert len([name for name, _ in module.named_parameters() if "lora_A" in name]) == adapted


@pytest.mark.parametrize(("options", "at"), [({}, "the attention"), ({"targets": r".*\.qkv"}, r"blocks\.0\.attn\.qkv")])
def test_a_rank_beyond_the_matrix_is_refused(options, at):
    backbone = backbones.get("retfound-tiny")
    open_strategy("lora", rank=96, **options).require_fit(backbone)
    with pytest.raises(ValueError, match=rf"^rank 97 is too high for {at} of retfound-tiny; use at most 96$"):
        open_strategy("lora", rank=97, **options).require_fit(backbone)


@pytest.mark.parametrize("name", ["openclip-vit-g14", "dinov2-vit-g14-reg", "retfound-vit-l16", "dinov2-tiny"])
def test_the_attention_of_every_backbone_is_found(name):
    """A configuration with the default targets can therefore be checked without building the skeleton of a giant."""
    backbone = backbones.get(name)
    model = backbone.skeleton(classes=2)
    adapted = open_strategy("lora").targeted(model)
    assert len(adapted) == 2 * backbone.depth
    assert min(side for path in adapted for side in model.get_submodule(path).weight.shape) == backbone.width


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_a_learning_rate_is_a_number(rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number, not"):
        open_strategy("full", learning_rate=rate)
