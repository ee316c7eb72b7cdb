"""The inputs of a training step: images, or the output of the model's frozen part for these images."""

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

RESIDENT = 2**30  # bytes; a cache up to this size is copied to the device


class Inputs(Protocol):
    """Batches of the input of the block at which a model's trainable part begins."""

    def batch(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """The inputs of some images.

        Args:
            rows: (B,) int, the number of each image in the study.
            views: (B,) int, the number of the view of each image.

        Returns:
            (B, ...) float on the device.
        """
        ...


@dataclass(frozen=True)
class Images:
    """Images, augmented and normalised on the device.

    Attributes:
        store: (n, H, W, 3) uint8, usually memory-mapped.
        normalise: converts (B, 3, H, W) in 0..1 to the model's input.
        seed: seed of the augmented views.
        device: device of the batches.
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
    """The output of the frozen blocks, computed anew for every batch instead of read from a cache as in `Embeddings`.

    Attributes:
        images: the images.
        model: the network.
        block: the block at which the trainable part of `model` begins.
        dtype: dtype of the cache that this replaces. Values are rounded to it, so that training is the same with both.
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
        entry: (n, views) int, the position of each view of each row in the store; -1 if it was not computed.
        device: device of the batches.
    """

    store: Tensor
    entry: np.ndarray
    device: torch.device

    @classmethod
    def open(
        cls, path: Path, entry: np.ndarray, dtype: torch.dtype, device: torch.device, once: bool = False
    ) -> "Embeddings":
        """Opens a cache on disk.

        Args:
            path: `.npy` file of float16, or of bfloat16 stored as int16, because NumPy has no bfloat16.
            entry: as in the attributes of this class.
            dtype: `torch.float16` or `torch.bfloat16`.
            device: device of the batches.
            once: True if no entry is read twice. The cache is then not copied to the device.
        """
        store = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)).view(dtype)
        resident = not once and store.nbytes <= RESIDENT
        return cls(store.to(device, copy=True) if resident else store, entry, device)

    def batch(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        entries = self.entry[rows, views]
        if (entries < 0).any():
            row, view = rows[entries < 0][0], views[entries < 0][0]
            raise IndexError(f"view {view} of row {row} was not embedded; compute the cache again")
        return self.store[torch.from_numpy(entries).to(self.store.device)].to(self.device).float()


def plan_rows(n: int, rows: np.ndarray) -> np.ndarray:
    """The `entry` table of a cache with only view 0 of some rows.

    Args:
        n: number of rows in the study.
        rows: (k,) int, the rows in the cache, in their order there.

    Returns:
        (n, 1) int, as `Embeddings.entry`.
    """
    entry = np.full((n, 1), -1, dtype=np.int64)
    entry[rows, 0] = np.arange(len(rows))
    return entry


def batches(length: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover a sequence of `length`; the last one may be smaller."""
    for first in range(0, length, size):
        yield slice(first, min(first + size, length))


def plan_views(n: int, augmented: np.ndarray, views: int) -> np.ndarray:
    """The `entry` table of a cache with view 0 of all rows and all views of the augmented rows.

    Args:
        n: number of rows in the study.
        augmented: (k,) int, the rows with all their views in the cache.
        views: number of views of each augmented row, including view 0.

    Returns:
        (n, views) int, as `Embeddings.entry`.
    """
    entry = np.full((n, views), -1, dtype=np.int64)
    entry[:, 0] = np.arange(n)
    entry[augmented, 1:] = n + np.arange(len(augmented) * (views - 1)).reshape(len(augmented), views - 1)
    return entry
