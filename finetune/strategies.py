"""Which parameters of a model train.

A strategy is a small dataclass whose fields are its options; `STRATEGIES` maps the names that users write to them.
A new strategy is one class and one entry.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from backbones import Backbone
from backbones.loading import listed


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

    def require_fit(self, backbone: Backbone) -> None:
        """Check, without weights, that there is something of this backbone to train.

        Raises:
            ValueError: naming the option that cannot work, and what could.
        """
        ...

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        """Mark in place what trains; returns the module whose parameters are to be trained and saved.

        Args:
            seed: of the initialisation of what the strategy adds to the model.
        """
        ...


@dataclass(frozen=True)
class ClassifierOnly:
    """A linear classifier on the frozen model's pooled features.

    Attributes:
        learning_rate: the highest, after warm-up.
    """

    name: ClassVar[str] = "classifier_only"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        _require_rate(self)

    def frozen_blocks(self, depth: int) -> int:
        return depth

    def require_fit(self, backbone: Backbone) -> None:
        """Every backbone has pooled features."""

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        return _train_only(model, [model.head])


@dataclass(frozen=True)
class Partial:
    """The last `blocks` transformer blocks, the final norm and the classifier.

    Attributes:
        learning_rate: the highest, after warm-up.
        blocks: how many blocks train, counted from the end.
    """

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
            raise ValueError(f"partial: {self.blocks} blocks of a model of {depth} blocks; use fewer, or strategy full")
        return depth - self.blocks

    def require_fit(self, backbone: Backbone) -> None:
        self.frozen_blocks(backbone.depth)

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        start = self.frozen_blocks(len(model.blocks))
        return _train_only(model, [*model.blocks[start:], model.norm, model.fc_norm, model.head])


ATTENTION = r"blocks\.\d+\.attn\.(qkv|proj)"  # both linear layers in every block, at least as wide as its tokens
ALL_LINEAR = "all-linear"  # PEFT's word


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022) on the attention of every block, through PEFT, and the classifier.

    Attributes:
        learning_rate: the highest, after warm-up.
        rank: of every adapter; at most what the adapted layer can have.
        alpha: an adapter's output is scaled by alpha / rank.
        dropout: probability of dropout at an adapter's input, from 0 to below 1.
        targets: a regular expression for the whole names of the modules that are adapted, or `all-linear`.
    """

    name: ClassVar[str] = "lora"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 5e-4
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    # By full path: a bare `proj` would also catch the patch embedding's convolution.
    targets: str = ATTENTION

    def __post_init__(self) -> None:
        _require_rate(self)
        if self.rank < 1:
            raise ValueError(f"lora: rank must be at least 1, not {self.rank}")
        if self.alpha < 1:
            raise ValueError(f"lora: alpha must be at least 1, not {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora: dropout is a probability, from 0 to below 1, not {self.dropout:g}")
        try:
            re.compile(self.targets)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"lora: targets {self.targets!r} is not a regular expression ({error})") from error

    def frozen_blocks(self, depth: int) -> int:
        return 0

    def require_fit(self, backbone: Backbone) -> None:
        if self.targets == ATTENTION:  # of every backbone; a giant takes seconds to lay out
            self._require_rank(backbone.width, f"the attention of {backbone.name}")
        else:
            self.targeted(backbone.skeleton(classes=2), backbone.name)

    def targeted(self, model: VisionTransformer, name: str = "the model") -> list[str]:
        """The names of the modules that get adapters.

        Args:
            name: of the backbone, for messages.

        Raises:
            ValueError: the targets match none, or one that cannot have an adapter or not one of this rank.
        """
        modules = {path: module for path, module in model.named_modules() if path}
        linear = [path for path, module in modules.items() if isinstance(module, nn.Linear)]
        pattern = re.compile(self.targets)
        matched = linear if self.targets == ALL_LINEAR else [path for path in modules if pattern.fullmatch(path)]
        found = [path for path in matched if path != "head"]  # which trains whole, and PEFT passes over
        can = listed([path for path in linear if path.startswith("blocks.")])
        if not found:
            alone = " but the head, which is trained in any case" if matched else ""
            raise ValueError(f"targets match no module of {name}{alone}; they are {can}")
        for path in found:
            module = modules[path]
            if not isinstance(module, nn.Linear | nn.Conv2d):
                kind = type(module).__name__
                raise ValueError(
                    f"targets match {path} of {name}, a {kind}, which LoRA cannot adapt; it can adapt {can}"
                )
            self._require_rank(min(module.weight.flatten(1).shape), f"{path} of {name}")
        return found

    def _require_rank(self, most: int, of: str) -> None:
        if self.rank > most:
            raise ValueError(f"rank {self.rank} is more than {of} can have: at most {most}")

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        self.targeted(model)
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
            return get_peft_model(model, config)


@dataclass(frozen=True)
class Full:
    """Every parameter, the earlier blocks at a lower rate; the defaults are RETFound's (Zhou et al. 2023).

    Attributes:
        learning_rate: of the classifier, the highest, after warm-up.
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

    def require_fit(self, backbone: Backbone) -> None:
        """Every backbone has parameters."""

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        return model.requires_grad_(True)


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
    if not math.isfinite(strategy.learning_rate):
        raise ValueError(f"{strategy.name}: learning_rate must be a number, not {strategy.learning_rate:g}")


def _train_only(model: VisionTransformer, parts: Iterable[nn.Module]) -> nn.Module:
    model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    return model
