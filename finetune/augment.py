"""Augmented views of fundus images, computed on the device.

A view is a pure function of (seed, image, view number), so a view computed during training equals the same view
computed beforehand for a cache. View 0 is the image itself.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = 15.0  # degrees, at most, in either direction
BRIGHTNESS = 0.15  # relative change, at most, in either direction
CONTRAST = 0.15  # likewise


def augment(images: Tensor, rows: np.ndarray, views: np.ndarray, seed: int) -> Tensor:
    """Flips images left-right, rotates them, and changes their brightness and contrast, all at random.

    Args:
        images: (B, 3, H, W) float in 0..1.
        rows: (B,) int, the number of each image in the study.
        views: (B,) int, the number of the view to compute of each image; 0 leaves the image unchanged.
        seed: seed of the random changes.

    Returns:
        (B, 3, H, W) float in 0..1. Pixels that the rotation leaves empty are black before brightness and contrast
        change.
    """
    if not views.any():
        return images
    draws = np.stack(
        [
            np.random.default_rng([seed, row, view]).random(4) if view else np.array([1.0, 0.5, 0.5, 0.5])
            for row, view in zip(rows.tolist(), views.tolist(), strict=True)
        ]
    )
    flip = np.where(draws[:, 0] < 0.5, -1.0, 1.0)
    angle = (2 * draws[:, 1] - 1) * math.radians(ROTATION)
    cosine, sine, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    affine = np.stack([np.stack([flip * cosine, -sine, zero], 1), np.stack([flip * sine, cosine, zero], 1)], 1)
    grid = F.affine_grid(_like(affine, images), list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    brightness = _like(1 + (2 * draws[:, 2] - 1) * BRIGHTNESS, images).view(-1, 1, 1, 1)
    contrast = _like(1 + (2 * draws[:, 3] - 1) * CONTRAST, images).view(-1, 1, 1, 1)
    mean = turned.mean(dim=(1, 2, 3), keepdim=True)
    changed = (((turned - mean) * contrast + mean) * brightness).clamp(0, 1)
    return torch.where(_like(views, images).view(-1, 1, 1, 1) > 0, changed, images)


def _like(values: np.ndarray, images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device)
