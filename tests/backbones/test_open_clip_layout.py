"""The file of a complete CLIP model contains an image encoder under other names."""

import torch

from backbones.open_clip_layout import image_encoder


def test_timms_own_names_pass_without_the_projection():
    state = {"cls_token": torch.ones(1, 1, 4), "norm.weight": torch.ones(4), "head.weight": torch.ones(2, 4)}
    assert image_encoder(state).keys() == {"cls_token", "norm.weight"}


def test_tokens_and_positions_get_their_batch_dimension():
    visual = {"class_embedding": torch.arange(4.0), "positional_embedding": torch.rand(5, 4), "proj": torch.ones(4, 2)}
    state = {f"visual.{key}": value for key, value in visual.items()} | {"logit_scale": torch.tensor(1.0)}
    found = image_encoder(state)
    assert found.keys() == {"cls_token", "pos_embed"}
    assert torch.equal(found["cls_token"], visual["class_embedding"].view(1, 1, 4))
    assert torch.equal(found["pos_embed"], visual["positional_embedding"].view(1, 5, 4))
