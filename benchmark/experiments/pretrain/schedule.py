"""The common part of the three pre-trainings: batches of flipped, recoloured images, and the training loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Loss = Callable[[int, np.ndarray], Tensor]


@dataclass(frozen=True)
class Schedule:
    """`steps` of `batch` images; the learning `rate` warms up over the first tenth of them, then falls."""

    steps: int
    batch: int
    rate: float
    weight_decay: float = 0.05
    most_gradient: float = 3.0  # norm at which gradients are clipped

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        """AdamW; biases, norms and tokens are not decayed."""
        trained = [p for p in parameters if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, self.rate, betas=(0.9, 0.95))

    def run(
        self, module: nn.Module, images: int, loss: Loss, seed: int, after: Callable[[int], None] = lambda step: None
    ) -> list[float]:
        """Train `module`; returns the loss of every step.

        Args:
            images: number of images; every epoch takes them in a new order.
            loss: from a step (from 0) and the rows of its images to the loss to minimise.
            after: called after every step.
        """
        optimizer = self.optimizer(module.parameters())
        pace = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.rate, self.steps, pct_start=0.1, div_factor=25, cycle_momentum=False
        )
        rng, losses = np.random.default_rng(seed), []
        order = np.empty(0, int)
        for step in range(self.steps):
            if len(order) < self.batch:
                order = np.concatenate([order, rng.permutation(images)])
            rows, order = order[: self.batch], order[self.batch :]
            value = loss(step, rows)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), self.most_gradient)
            optimizer.step()
            pace.step()
            after(step)
            losses.append(value.item())
            if (step + 1) % 50 == 0:
                print(f"step {step + 1} of {self.steps}: loss {np.mean(losses[-50:]):.4f}", flush=True)
        return losses


def pixels(images: np.ndarray, rows: np.ndarray) -> Tensor:
    """Images (B, 3, H, W), float in 0..1."""
    return torch.from_numpy(images[rows]).permute(0, 3, 1, 2).contiguous().float() / 255


def recoloured(batch: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Every image (B, 3, H, W) with random brightness, contrast and colour cast, within +-`strength`.

    A model that is to learn vessels can then not rely on a patient's complexion.
    """

    def factor(*shape: int) -> Tensor:
        return 1 + strength * (2 * torch.rand(shape, generator=generator) - 1)

    count = len(batch)
    mean = batch.mean(dim=(1, 2, 3), keepdim=True)
    changed = (batch - mean) * factor(count, 1, 1, 1) + mean
    return (changed * factor(count, 1, 1, 1) * (1 + (factor(count, 3, 1, 1) - 1) / 2)).clamp(0, 1)


def flipped(generator: torch.Generator, *maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (B, C, H, W) of the same images, flipped in the same way: horizontally, vertically, both or neither."""
    for axis in (2, 3):
        mirror = torch.rand(len(maps[0]), generator=generator).view(-1, 1, 1, 1) < 0.5
        maps = tuple(torch.where(mirror, values.flip(axis), values) for values in maps)
    return maps
