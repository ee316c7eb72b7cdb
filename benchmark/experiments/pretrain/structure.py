"""Fine structure: the dark and bright lines and edges in a patch, which are the target of the patch losses.

Pixels are a poor target on a fundus image: nearly all of their variance is shading and colour, and a vessel is only one
to three pixels wide. MaskFeat (Wei et al. 2022) predicts gradients instead; here, differences of Gaussians are used.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.7, 1.4, 2.8)  # standard deviations of the Gaussians, in pixels
CELLS = 2  # a patch's target has CELLS x CELLS parts
FEATURES = 4 * len(SCALES) * CELLS**2  # per patch


@dataclass(frozen=True)
class Structure:
    """Per image and part of a patch: standardised `maps` float16 (n, parts, parts, 12), and the parts that
    `count`, bool (n, parts, parts).
    """

    maps: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, grid: tuple[int, int]) -> "Structure":
        """The structure of images (n, H, W, 3) uint8 for a model with a `grid` of patches."""
        parts = grid[0] * CELLS
        count = np.stack([inside(image, parts) for image in images])
        maps = np.stack([fine_structure(image, parts) for image in images])
        return cls(((maps - maps[count].mean(0)) / maps[count].std(0)).astype(np.float16), count)

    def take(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """For some images: the maps (B, 12, parts, parts), and 1 or 0 for parts that count (B, 1, parts, parts)."""
        maps = torch.from_numpy(self.maps[rows]).permute(0, 3, 1, 2).float()
        return maps, torch.from_numpy(self.count[rows])[:, None].float()


def fine_structure(image: np.ndarray, parts: int) -> np.ndarray:
    """(parts, parts, 12) float32: for each part of an image (H, W, 3) uint8, the log mean of the positive and of the
    negative values of three differences of Gaussians, in red and green.
    """
    bands: list[np.ndarray] = []
    fine: np.ndarray = image[..., :2].astype(np.float32) / 255
    for sigma in SCALES:
        coarse: np.ndarray = cv2.GaussianBlur(fine, (0, 0), sigma)
        bands += [np.maximum(fine - coarse, 0), np.maximum(coarse - fine, 0)]
        fine = coarse
    return np.log(cv2.resize(np.concatenate(bands, 2), (parts, parts), interpolation=cv2.INTER_AREA).clip(1e-4))


def inside(image: np.ndarray, parts: int) -> np.ndarray:
    """(parts, parts) bool: parts well inside the field of view, because its rim is an edge made by the camera."""
    lit = cv2.resize((image.max(2) > 25).astype(np.float32), (parts, parts), interpolation=cv2.INTER_AREA)
    return cv2.erode(lit, np.ones((3, 3))) > 0.95


def by_patch(maps: Tensor) -> Tensor:
    """(B, C, rows * CELLS, columns * CELLS) -> (B, patches, CELLS * CELLS * C)."""
    parts = maps.unflatten(3, (-1, CELLS)).unflatten(2, (-1, CELLS))  # (B, C, rows, CELLS, columns, CELLS)
    return parts.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def structure_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean smooth L1 distance between predicted and true structure, where `weight` is 1.

    All three are (B, patches, FEATURES).
    """
    error = F.smooth_l1_loss(predicted, target, reduction="none")
    return (error * weight).sum() / weight.sum()
