"""The trainable parameters of a prepared model, and the blocks that stay in eval mode."""

import torch

import backbones
from finetune.prepared import Prepared


def test_what_comes_before_the_start_is_never_in_training_mode():
    model = backbones.get("dinov2-tiny-untrained").build()
    prepared = Prepared(model, model, 2)
    prepared.train()
    assert [block.training for block in model.blocks] == [False] * 2 + [True] * (len(model.blocks) - 2)


def test_a_whole_model_takes_images_and_trains_what_is_marked():
    model = backbones.get("dinov2-tiny-untrained").build().requires_grad_(False)
    model.norm.requires_grad_(True)
    prepared = Prepared.whole(model)
    assert (prepared.module, prepared.start, prepared.device) == (model, 0, torch.device("cpu"))
    assert [id(parameter) for parameter in prepared.trainable] == [id(model.norm.weight), id(model.norm.bias)]
