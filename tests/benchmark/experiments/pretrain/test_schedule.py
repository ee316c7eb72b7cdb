"""The common part of the three pre-trainings."""

import numpy as np
import torch
from torch import nn

from benchmark.experiments.pretrain.schedule import Schedule, flipped, pixels, recoloured


def test_every_epoch_takes_every_image_once_in_a_new_order():
    taken = []
    module = nn.Linear(1, 1)
    nn.init.zeros_(module.bias)
    nn.init.ones_(module.weight)  # far enough from the lowest loss not to step over it

    def loss(step, rows):
        taken.extend(rows.tolist())
        return module(torch.ones(1, 1)).sum() ** 2

    losses = Schedule(steps=6, batch=4, rate=0.1).run(module, images=8, loss=loss, seed=0)
    epochs = [taken[start : start + 8] for start in (0, 8, 16)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_norms_and_biases_are_not_decayed():
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    decayed, kept = Schedule(1, 1, 0.1).optimizer(module.parameters()).param_groups
    assert [p.shape for p in decayed["params"]] == [module[0].weight.shape]
    assert decayed["weight_decay"] > kept["weight_decay"] == 0
    assert len(kept["params"]) == 3


def test_maps_of_one_image_are_mirrored_alike():
    image = torch.arange(16.0).view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    first, second = flipped(torch.Generator().manual_seed(0), image, image + 100)
    assert torch.equal(first + 100, second)
    turned = [image[0].flip(axes) for axes in ((), (1,), (2,), (1, 2))]
    counts = [sum(torch.equal(one, other) for one in first) for other in turned]
    assert sum(counts) == 64
    assert min(counts) > 4


def test_colours_change_within_bounds_and_not_the_structure():
    batch = pixels(np.random.default_rng(0).integers(60, 200, (3, 8, 8, 3), np.uint8), np.array([2, 0]))
    changed = recoloured(batch, torch.Generator().manual_seed(1), strength=0.2)
    assert changed.shape == batch.shape == (2, 3, 8, 8)
    assert 0 <= changed.min() <= changed.max() <= 1
    for one, other in zip(batch.flatten(0, 1), changed.flatten(0, 1), strict=True):
        assert np.corrcoef(one.flatten(), other.flatten())[0, 1] > 0.999
    assert (changed / batch).std() > 0.01
