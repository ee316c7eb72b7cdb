"""Which parameters of a tower train.

A strategy is a small dataclass whose fields are its options; `STRATEGIES` maps the names that users write to them.
A new strategy is one class and one entry.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn


class Strategy(Protocol):
    """What trains, and how fast."""

    name: ClassVar[str]

    @property
    def learning_rate(self) -> float: ...

    @property
    def layer_decay(self) -> float: ...

    def frozen_blocks(self, depth: int) -> int:
        """How many leading blocks of `depth` never change; all of them means that only the classifier trains."""
        ...

    def apply(self, tower: VisionTransformer, seed: int = 0) -> nn.Module:
        """Mark in place what trains; returns the module whose parameters are to be trained and saved.

        Args:
            seed: of the initialisation of what the strategy adds to the tower.
        """
        ...


@dataclass(frozen=True)
class ClassifierOnly:
    """A linear classifier on the frozen tower's pooled features."""

    name: ClassVar[str] = "classifier_only"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        _require_rate(self)

    def frozen_blocks(self, depth: int) -> int:
        return depth

    def apply(self, tower: VisionTransformer, seed: int = 0) -> nn.Module:
        return _train_only(tower, [tower.head])


@dataclass(frozen=True)
class Partial:
    """The last `blocks` transformer blocks, the final norm and the classifier."""

    name: ClassVar[str] = "partial"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 1e-4
    blocks: int = 2

    def __post_init__(self) -> None:
        _require_rate(self)
        if self.blocks < 1:
            raise ValueError(f"partial: blocks must be at least 1, not {self.blocks}; 0 blocks is classifier_only")

    def frozen_blocks(self, depth: int) -> int:
        if self.blocks >= depth:
            raise ValueError(f"partial: {self.blocks} blocks of a tower of {depth}; use fewer, or strategy full")
        return depth - self.blocks

    def apply(self, tower: VisionTransformer, seed: int = 0) -> nn.Module:
        start = self.frozen_blocks(len(tower.blocks))
        return _train_only(tower, [*tower.blocks[start:], tower.norm, tower.fc_norm, tower.head])


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022) on the attention of every block, through PEFT, and the classifier."""

    name: ClassVar[str] = "lora"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 5e-4
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    # By full path: a bare `proj` would also catch the patch embedding's convolution.
    targets: str = r"blocks\.\d+\.attn\.(qkv|proj)"

    def __post_init__(self) -> None:
        _require_rate(self)
        if self.rank < 1:
            raise ValueError(f"lora: rank must be at least 1, not {self.rank}")
        if self.alpha < 1:
            raise ValueError(f"lora: alpha must be at least 1, not {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora: dropout is a probability, from 0 to below 1, not {self.dropout:g}")

    def frozen_blocks(self, depth: int) -> int:
        return 0

    def apply(self, tower: VisionTransformer, seed: int = 0) -> nn.Module:
        from peft import LoraConfig, get_peft_model  # seconds to import, and most workers need none of it

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.targets,
            modules_to_save=["head"],
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return get_peft_model(tower, config)


@dataclass(frozen=True)
class Full:
    """Every parameter, the earlier blocks at a lower rate; the defaults are RETFound's (Zhou et al. 2023).

    Attributes:
        learning_rate: of the classifier.
        layer_decay: each block's learning rate is that of the block above times this.
    """

    name: ClassVar[str] = "full"
    learning_rate: float = 3e-4
    layer_decay: float = 0.65

    def __post_init__(self) -> None:
        _require_rate(self)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"full: layer_decay is above 0 and at most 1, not {self.layer_decay:g}")

    def frozen_blocks(self, depth: int) -> int:
        return 0

    def apply(self, tower: VisionTransformer, seed: int = 0) -> nn.Module:
        return tower.requires_grad_(True)


STRATEGIES: dict[str, type[ClassifierOnly | Partial | Lora | Full]] = {
    kind.name: kind for kind in (ClassifierOnly, Partial, Lora, Full)
}


def open_strategy(name: str, **options: Any) -> Strategy:
    """The strategy of that name with its options.

    Raises:
        ValueError: unknown name or option, with the known ones.
    """
    if name not in STRATEGIES:
        near = difflib.get_close_matches(name, STRATEGIES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(STRATEGIES)}"
        raise ValueError(f"strategy {name!r} is unknown; {hint}")
    kind = STRATEGIES[name]
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"strategy {name}: no option {', '.join(unknown)}; known: {', '.join(known)}")
    return kind(**options)


def _require_rate(strategy: Strategy) -> None:
    if strategy.learning_rate < 0:
        raise ValueError(f"{strategy.name}: learning_rate must not be negative, as {strategy.learning_rate:g} is")


def _train_only(tower: VisionTransformer, parts: Iterable[nn.Module]) -> nn.Module:
    tower.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    return tower
