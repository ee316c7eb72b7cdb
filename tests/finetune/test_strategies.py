"""Each strategy trains exactly the parameters that its name promises."""

import re

import numpy as np
import pytest
import torch

import backbones
from finetune.inputs import Images
from finetune.recipe import Recipe
from finetune.strategies import STRATEGIES, open_strategy
from finetune.training import Split, train

FAMILIES = ["openclip-tiny", "dinov2-tiny", "retfound-tiny"]
# By full name, as the module that is trained spells it; the tiny towers have 4 blocks.
TRAINED = {
    "classifier_only": r"head\.(weight|bias)",
    "partial": r"(blocks\.[23]|norm|fc_norm|head)\..*",
    "lora": r"base_model\.model\.(blocks\.\d\.attn\.(qkv|proj)\.lora_[AB]\.default\.weight"
    r"|head\.modules_to_save\.default\.(weight|bias))",
    "full": r".*",
}


def tower_of(family):
    tower = backbones.get(family).build()
    backbones.attach_classifier(tower, classes=2, seed=0)
    return tower


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", TRAINED)
def test_exactly_the_intended_parameters_change(family, name):
    tower = tower_of(family)
    module = open_strategy(name).apply(tower)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    pictures = np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)
    inputs = Images(pictures, backbones.get(family).normalise, seed=0, device=torch.device("cpu"))
    split = Split(train=np.arange(4), val=np.array([4, 5]), labels=np.array([0, 1, 0, 1, 0, 1]))
    # Two steps: an adapter's first matrix has no gradient until the second has left zero.
    train(module, tower, 0, inputs, split, Recipe(epochs=1, batch_size=2), learning_rate=1e-3, seed=0)

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
def test_nothing_before_the_frozen_blocks_end_has_a_gradient(new_tower, name):
    """What is cached there stays true."""
    strategy, tower = open_strategy(name), new_tower()
    strategy.apply(tower)
    with torch.enable_grad():
        entering = backbones.encode_until(tower, torch.rand(1, 3, 32, 32), strategy.frozen_blocks(3))
    assert not entering.requires_grad


@pytest.mark.parametrize(("options", "rank"), [({}, 8), ({"rank": 2, "alpha": 4}, 2)])
def test_lora_adds_what_the_rank_says(new_tower, options, rank):
    module = open_strategy("lora", **options).apply(new_tower())
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    width, depth = 32, 3
    qkv, projection = rank * (width + 3 * width), rank * (width + width)
    assert trained == depth * (qkv + projection) + 2 * width + 2


@torch.inference_mode()
def test_lora_begins_where_the_tower_is(new_tower):
    tower, images = new_tower(), torch.rand(2, 3, 32, 32)
    expected = tower.eval()(images)
    open_strategy("lora").apply(tower)
    torch.testing.assert_close(backbones.finish_from(tower, images, 0), expected)


def test_the_seed_alone_decides_what_lora_begins_with(new_tower):
    before = torch.get_rng_state()
    first, again, other = (open_strategy("lora").apply(new_tower(), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match="strategy 'partal' is unknown; did you mean partial"):
        open_strategy("partal")


def test_a_name_like_no_other_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match="known: classifier_only, partial, lora, full"):
        open_strategy("???")


def test_an_unknown_option_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"strategy partial: no option depth; known: learning_rate, blocks$"):
        open_strategy("partial", depth=2)


def test_partial_needs_a_block():
    with pytest.raises(ValueError, match="blocks must be at least 1, not 0; 0 blocks is classifier_only"):
        open_strategy("partial", blocks=0)


@pytest.mark.parametrize("blocks", [3, 4])
def test_partial_needs_a_frozen_block(new_tower, blocks):
    strategy = open_strategy("partial", blocks=blocks)
    with pytest.raises(ValueError, match=rf"{blocks} blocks of a tower of 3; use fewer, or strategy full"):
        strategy.apply(new_tower())
