"""The settings of training, in a module without torch so that reading a configuration does not import it."""

from dataclasses import dataclass
from typing import Literal

Balance = Literal["weights", "sampling", "none"]


@dataclass(frozen=True)
class Recipe:
    """The settings of training. All cells of a study share them; the learning rate belongs to the strategy.

    Attributes:
        epochs: maximum number of epochs; `patience` may end training earlier.
        batch_size: images per optimizer step (the effective batch size).
        micro_batch: images on the device at once; gradients accumulate over the batch. None starts with the whole
            batch. An out-of-memory error halves this number and leaves the effective batch size unchanged.
        checkpointing: use gradient checkpointing from the start; if False, only after memory has run out.
        balance: compensation for class imbalance: `weights` weights the loss inversely to class frequency, `sampling`
            draws both classes equally often, `none` does neither.
        weight_decay: weight decay of AdamW.
        warmup: share of all steps in which the learning rate rises linearly. It then falls as a cosine.
        patience: number of epochs without a better validation AUC after which training stops.
        views: number of versions of each training image, including the image itself.
        view_seed: seed of the augmented views, which all trials share.
        max_grad_norm: gradients with a larger norm are scaled down to this norm.
    """

    epochs: int = 30
    batch_size: int = 32
    micro_batch: int | None = None
    checkpointing: bool = False
    balance: Balance = "weights"
    weight_decay: float = 0.05
    warmup: float = 0.1
    patience: int = 8
    views: int = 4
    view_seed: int = 0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "micro_batch", "patience", "views"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} must be at least 1, not {value}")
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise ValueError(f"micro_batch ({self.micro_batch}) is larger than batch_size ({self.batch_size})")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of all steps, from 0 to below 1, not {self.warmup:g}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, not {self.weight_decay:g}")
        if self.max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm must be above 0, not {self.max_grad_norm:g}")
