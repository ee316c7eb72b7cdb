"""Image and text in one space."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

import backbones
from benchmark.experiments.pretrain import captions, contrastive
from benchmark.experiments.pretrain.cohorts import cohorts, draw_images
from benchmark.experiments.pretrain.structure import FEATURES


def test_no_caption_is_cut_off():
    longest = [max(words, key=len) for words in (captions.OPENINGS, captions.GOOD, captions.TESSELLATED)]
    longest += [
        max((w for group in groups for w in group), key=len) for groups in (captions.PIGMENT, captions.ARTERIES)
    ]
    longest += [
        max((w for group in groups.values() for w in group), key=len)
        for groups in (captions.SIDES, captions.DISC, captions.FAULTS)
    ]
    tokens = SimpleTokenizer(context_length=200)(", ".join(longest))
    assert (tokens > 0).sum() <= contrastive.CONTEXT


def test_both_models_give_unit_vectors():
    tokenize = SimpleTokenizer(context_length=contrastive.CONTEXT)
    model = contrastive.Pair(backbones.get("openclip-tiny-untrained").build(), tokenize.vocab_size)
    seen = torch.arange(0, 256, 2).expand(3, -1)
    images, texts, scale, read = model(torch.rand(3, 3, 224, 224), seen, tokenize(["right eye", "left eye", "od"]))
    assert images.shape == texts.shape == (3, contrastive.SHARED)
    assert torch.allclose(images.norm(dim=1), torch.ones(3))
    assert torch.allclose(texts.norm(dim=1), torch.ones(3))
    assert read.shape == (3, 128, FEATURES)
    assert scale.item() == pytest.approx(1 / 0.07)


@pytest.mark.slow
def test_the_loss_falls(monkeypatch):
    monkeypatch.setattr(contrastive, "SCHEDULE", replace(contrastive.SCHEDULE, batch=16))
    drawn = draw_images(cohorts(16), processes=2)
    model, losses = contrastive.pretrain(backbones.get("openclip-tiny-untrained"), drawn, seed=0, steps=60)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
