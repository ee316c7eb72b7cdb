"""What a training step reads: images, or what the frozen part of the model made of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones import autocast, encode_until
from finetune.augment import augment

RESIDENT = 2**30  # bytes; a smaller cache is kept on the device whole


class Inputs(Protocol):
    """Batches of a model's input, at the block where its trainable part begins."""

    def batch(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """The given view of each row, float on the device."""
        ...


@dataclass(frozen=True)
class Images:
    """Images, augmented and normalised on the device.

    Attributes:
        store: (n, H, W, 3) uint8, usually memory-mapped.
        normalise: (B, 3, H, W) in 0..1 -> the model's input.
        seed: of the augmented views.
    """

    store: np.ndarray
    normalise: Callable[[Tensor], Tensor]
    seed: int
    device: torch.device

    def batch(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(self.store[rows]).to(self.device).permute(0, 3, 1, 2)
        return self.normalise(augment(pixels.float() / 255, rows, views, self.seed))


@dataclass(frozen=True)
class FrozenFront:
    """What the frozen blocks make of images, computed anew for every batch: `Embeddings` without a disk.

    Attributes:
        block: where the trainable part of `model` begins.
        dtype: of the cache that this stands in for; values are rounded to it, so that both train alike.
    """

    images: Images
    model: VisionTransformer
    block: int
    dtype: torch.dtype

    @torch.no_grad()
    def batch(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        images = self.images.batch(rows, views)
        with autocast(self.images.device):
            return encode_until(self.model, images, self.block).to(self.dtype).float()


@dataclass(frozen=True)
class Embeddings:
    """Cached tokens or pooled features.

    Attributes:
        store: (entries, ...) float16 or bfloat16, memory-mapped or on the device.
        entry: (n, views) int, where each view of each row lies in the store; -1 where it was not computed.
    """

    store: Tensor
    entry: np.ndarray
    device: torch.device

    @classmethod
    def open(
        cls, path: Path, entry: np.ndarray, dtype: torch.dtype, device: torch.device, once: bool = False
    ) -> "Embeddings":
        """A cache on disk: `.npy` of float16, or of bfloat16 stored as int16, for NumPy has no bfloat16.

        Args:
            once: no entry is read twice, so that a copy on the device would be for nothing.
        """
        store = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)).view(dtype)
        resident = not once and store.nbytes <= RESIDENT
        return cls(store.to(device, copy=True) if resident else store, entry, device)

    def batch(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        entries = self.entry[rows, views]
        if (entries < 0).any():
            row, view = rows[entries < 0][0], views[entries < 0][0]
            raise IndexError(f"view {view} of row {row} was not embedded")
        return self.store[torch.from_numpy(entries).to(self.store.device)].to(self.device).float()


def plan_rows(n: int, rows: np.ndarray) -> np.ndarray:
    """The `entry` table of a cache that holds view 0 of some of `n` rows alone, in their order."""
    entry = np.full((n, 1), -1, dtype=np.int64)
    entry[rows, 0] = np.arange(len(rows))
    return entry


def batches(length: int, size: int) -> Iterator[slice]:
    """Pieces of `size` of a sequence, the last one smaller where it must be."""
    for first in range(0, length, size):
        yield slice(first, min(first + size, length))


def plan_views(n: int, augmented: np.ndarray, views: int) -> np.ndarray:
    """The `entry` table of a cache that holds view 0 of all `n` rows and every view of the `augmented` rows."""
    entry = np.full((n, views), -1, dtype=np.int64)
    entry[:, 0] = np.arange(n)
    entry[augmented, 1:] = n + np.arange(len(augmented) * (views - 1)).reshape(len(augmented), views - 1)
    return entry
