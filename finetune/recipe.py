"""How to train. Apart from the loop, so that a configuration can be read without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How to train; the same for every cell of a study but for the learning rate, which a strategy carries.

    Attributes:
        warmup: share of all steps over which the learning rate rises linearly, before it falls as a cosine.
        patience: epochs without a better validation AUC after which training stops.
        views: how many versions of a training image there are, the photograph itself included.
        view_seed: of the augmented views; cells share them, whatever their own seed.
        max_grad_norm: gradients are scaled down to this norm.
    """

    epochs: int = 30
    batch_size: int = 32
    weight_decay: float = 0.05
    warmup: float = 0.1
    patience: int = 8
    views: int = 4
    view_seed: int = 0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "patience", "views"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, not {getattr(self, key)}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of all steps, from 0 to below 1, not {self.warmup:g}")
