"""Finer maps from shifted inputs. The position of the patch grid on an image is arbitrary, so the image is shifted.

Each shift by a fraction of a patch gives a map in which every pixel has the value of the patch that covers it. The
average of these maps has the resolution of the shifts.
"""

from collections.abc import Callable
from itertools import product
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor


def shifted_average(explain: Callable[[Tensor], Tensor], images: Tensor, patch: int, steps: int) -> Tensor:
    """Average of the maps of an explanation method over steps x steps shifts of the images.

    Args:
        explain: returns maps (B, rows, columns) on the patch grid, signed or not, for images; called once per shift.
        images: (B, 3, H, W) float, not yet normalised, because pixels from beyond the frame are filled with 0 (black).
        patch: side of a patch in pixels; H and W are multiples of it.
        steps: number of shifts along each axis, spread evenly over one patch and centred; 1 means no shift.

    Returns:
        (B, H, W) float32, for each pixel the average over the shifts that keep it in the frame.

    Raises:
        ValueError: `steps` is below 1 or above `patch`.
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
    """The shifts along one axis in whole pixels; arguments and errors as in `shifted_average`."""
    if not 1 <= steps <= patch:
        raise ValueError(f"{steps} shifts of a patch of {patch} pixels; choose from 1 to {patch}")
    # All halves are rounded up, so two shifts are never equal.
    return [floor((2 * step + 1 - steps) * patch / (2 * steps) + 0.5) for step in range(steps)]


def _moved(planes: Tensor, down: int, right: int) -> Tensor:
    """Planes (..., H, W) shifted by whole pixels and filled with 0."""
    return F.pad(planes, (right, -right, down, -down))
