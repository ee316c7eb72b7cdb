"""Self-distillation: the teacher's assignments, the windows and the hidden patches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import backbones
from benchmark.experiments.pretrain import distilled
from benchmark.experiments.pretrain.cohorts import cohorts, draw_images


def test_assignments_are_distributions_that_use_every_prototype_alike():
    logits = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)) * 0.2
    logits[:, 3] += 1  # without balance nearly everything would fall to this one
    assigned = distilled.evenly_assigned(logits, iterations=50)
    assert torch.allclose(assigned.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(assigned.sum(0), torch.full((16,), 4.0), rtol=0.05)
    assert torch.softmax(logits / distilled.TEACHER_TEMPERATURE, 1).sum(0)[3] > 40


def test_cross_entropy_is_least_for_the_teachers_own_distribution():
    target = torch.tensor([[0.7, 0.2, 0.1]])
    own = target.log() * distilled.STUDENT_TEMPERATURE
    entropy = -(target * target.log()).sum()
    assert torch.isclose(distilled.cross_entropy(own, target), entropy)
    assert distilled.cross_entropy(own.flip(1), target) > entropy


def test_a_window_is_a_square_of_neighbouring_patches():
    windows = distilled.Windows((16, 16), 5, 200, torch.Generator().manual_seed(0))
    rows, columns = windows.rows // 16, windows.rows % 16
    assert windows.rows.shape == (200, 25)
    for axis in (rows, columns):
        assert torch.equal(axis.amax(1) - axis.amin(1), torch.full((200,), 4))
    assert (rows.amin(), rows.amax(), columns.amin(), columns.amax()) == (0, 15, 0, 15)
    values = torch.rand(200, 256, 3)
    assert torch.equal(windows.of(values)[7, 11], values[7, windows.rows[7, 11]])


@torch.inference_mode()
def test_the_whole_image_as_a_window_is_what_the_model_computes():
    network = distilled.Network(backbones.get("dinov2-tiny-untrained").build()).eval()
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    model = network.model
    token, patches = network(model.patch_embed(images), model.pos_embed[:, 1:].expand(2, -1, -1))
    features = model.forward_features(images)
    assert torch.allclose(token, features[:, 0], atol=1e-5)
    assert torch.allclose(patches, features[:, 1:], atol=1e-5)


@torch.inference_mode()
def test_the_student_does_not_see_hidden_patches():
    network = distilled.Network(backbones.get("dinov2-tiny-untrained").build()).eval()
    patches = torch.rand(1, 9, 96, generator=torch.Generator().manual_seed(0))
    hide = torch.zeros(1, 9, dtype=torch.bool)
    hide[0, 4] = True
    other = patches.clone()
    other[0, 4] += 1
    first, second = (network(value, torch.zeros_like(value), hide)[0] for value in (patches, other))
    assert torch.equal(first, second)


@pytest.mark.slow
def test_the_loss_falls_and_the_model_is_the_teachers(monkeypatch):
    monkeypatch.setattr(distilled, "SCHEDULE", replace(distilled.SCHEDULE, batch=8))
    drawn = draw_images(cohorts(16), processes=2)
    model, losses = distilled.pretrain(backbones.get("dinov2-tiny-untrained"), drawn, seed=0, steps=60)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert not any(value.requires_grad for value in model.parameters())
