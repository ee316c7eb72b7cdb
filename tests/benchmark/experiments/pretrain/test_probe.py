"""A linear probe finds the information in the features, and nothing if there is none."""

import numpy as np
import torch

import backbones
from benchmark.experiments.pretrain.probe import auc, features


def test_the_probe_finds_a_signal_and_invents_none():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(80), 2)
    labels = patients % 2
    noise = rng.normal(size=(160, 20))
    found, _ = auc(noise + 3 * np.eye(20)[4] * labels[:, None], labels, patients)
    invented, _ = auc(noise, labels, patients)
    assert found > 0.9
    assert 0.35 < invented < 0.65


@torch.inference_mode()
def test_features_are_those_that_a_classifier_reads():
    backbone = backbones.get("dinov2-tiny-untrained")
    images = np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), np.uint8)
    pooled, spread = features(backbone, images)
    model = backbone.build()
    expected = model(backbone.normalise(torch.from_numpy(images).permute(0, 3, 1, 2) / 255))
    assert np.allclose(pooled, expected.numpy(), atol=1e-5)
    assert spread.shape == (3, 2 * 96)
