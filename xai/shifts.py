"""Denser maps from shifted inputs: where the grid of patches lies on an image is arbitrary, so it is moved.

Every shift by a fraction of a patch gives a map of its own. In each of them a pixel has the value of the patch that
covers it; their average is as fine as the shifts.
"""

from collections.abc import Callable
from itertools import product
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor


def shifted_average(explain: Callable[[Tensor], Tensor], images: Tensor, patch: int, steps: int) -> Tensor:
    """The average of an explanation's maps over steps x steps shifts of the images.

    Args:
        explain: images -> (B, rows, columns) maps on the patch grid, signed or not; called once for each shift.
        images: (B, 3, H, W) float, not yet normalised: what moves in from beyond the frame is 0, which is black.
        patch: side of a patch in pixels; H and W are multiples of it.
        steps: shifts along each axis, spread evenly over one patch and centred; 1 is no shift at all.

    Returns:
        (B, H, W) float32: of each pixel the average over the shifts that leave it in the frame.

    Raises:
        ValueError: fewer steps than 1, or more than a patch has pixels.
    """
    total = torch.zeros_like(images[:, 0], dtype=torch.float32)
    counted = torch.zeros_like(total[:1])
    for down, right in product(offsets(patch, steps), repeat=2):
        maps = explain(_moved(images, down, right)).float()
        each_pixel = maps.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)
        total += _moved(each_pixel, -down, -right)
        counted += _moved(torch.ones_like(counted), -down, -right)
    return total / counted


def offsets(patch: int, steps: int) -> list[int]:
    """The shifts along one axis in whole pixels; as `shifted_average`."""
    if not 1 <= steps <= patch:
        raise ValueError(f"{steps} shifts of a patch of {patch} pixels; from 1 to {patch}")
    # Halves are rounded up, all alike: two steps never fall on one pixel.
    return [floor((2 * step + 1 - steps) * patch / (2 * steps) + 0.5) for step in range(steps)]


def _moved(planes: Tensor, down: int, right: int) -> Tensor:
    """(..., H, W) moved by whole pixels; 0 moves in."""
    return F.pad(planes, (right, -right, down, -down))
