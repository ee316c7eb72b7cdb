"""A model knows what of it is trained, and what stays as it is."""

import torch

import backbones
from finetune.model import Model


def test_what_comes_before_the_start_is_never_in_training_mode():
    tower = backbones.get("dinov2-tiny-untrained").build()
    model = Model(tower, tower, 2)
    model.train()
    assert [block.training for block in tower.blocks] == [False] * 2 + [True] * (len(tower.blocks) - 2)


def test_a_whole_tower_takes_images_and_trains_what_is_marked():
    tower = backbones.get("dinov2-tiny-untrained").build().requires_grad_(False)
    tower.norm.requires_grad_(True)
    model = Model.whole(tower)
    assert (model.module, model.start, model.device) == (tower, 0, torch.device("cpu"))
    assert [id(parameter) for parameter in model.trainable] == [id(tower.norm.weight), id(tower.norm.bias)]
