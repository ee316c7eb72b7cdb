"""How to train. Apart from the loop, so that a configuration can be read without torch."""

from dataclasses import dataclass
from typing import Literal

Balance = Literal["weights", "sampling", "none"]


@dataclass(frozen=True)
class Recipe:
    """How to train; the same for every cell of a study but for the learning rate, which a strategy carries.

    Attributes:
        epochs: at most; `patience` may end training earlier.
        batch_size: images to a step of the optimizer, the effective batch.
        micro_batch: images on the device at once; gradients accumulate over them. None starts with the whole batch;
            either way an out-of-memory error halves it, which leaves the effective batch as it is.
        checkpointing: gradient checkpointing from the start; otherwise only when memory asks for it.
        balance: what makes up for the rarer class: `weights` in the loss, inverse to class frequency; `sampling` of
            both classes equally often; or `none`.
        weight_decay: AdamW's.
        warmup: share of all steps over which the learning rate rises linearly, before it falls as a cosine.
        patience: epochs without a better validation AUC after which training stops.
        views: how many versions of a training image there are, the image itself included.
        view_seed: of the augmented views; cells share them, whatever their own seed.
        max_grad_norm: gradients are scaled down to this norm.
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
            raise ValueError(f"weight_decay must not be negative, as {self.weight_decay:g} is")
        if self.max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm must be above 0, not {self.max_grad_norm:g}")
