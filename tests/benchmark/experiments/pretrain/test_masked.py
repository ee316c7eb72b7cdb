"""Masked auto-encoding: what is predicted, and from which patches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import backbones
from benchmark.experiments.pretrain import masked
from benchmark.experiments.pretrain.cohorts import cohorts, draw_images


@torch.inference_mode()
def test_hidden_patches_are_not_seen():
    model = backbones.get("retfound-tiny-untrained").build()
    autoencoder = masked.Autoencoder(model).eval()
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    seen = torch.arange(0, 196, 4)[None]
    other = images.clone()
    other[:, :, :16, 16:32] = 1 - other[:, :, :16, 16:32]  # patch 1, hidden
    assert torch.equal(autoencoder(images, seen), autoencoder(other, seen))
    other[:, :, :16, :16] = 1 - other[:, :, :16, :16]  # patch 0, seen
    assert not torch.allclose(autoencoder(images, seen), autoencoder(other, seen))


@pytest.mark.slow
def test_the_loss_falls(monkeypatch):
    monkeypatch.setattr(masked, "SCHEDULE", replace(masked.SCHEDULE, batch=8))
    drawn = draw_images(cohorts(16), processes=2)
    model, losses = masked.pretrain(backbones.get("retfound-tiny-untrained"), drawn, seed=0, steps=150)
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
