"""Fine-tuning strategies: each selects the parameters of a model that train.

A strategy is a dataclass whose fields are its options. `STRATEGIES` maps the names in a configuration to the classes.
To add a strategy, write a class and register it.
"""

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
from backbones.naming import Registry


class Strategy(Protocol):
    """The interface of a fine-tuning strategy: the parameters that train, and their learning rates."""

    name: ClassVar[str]

    @property
    def learning_rate(self) -> float:
        """The classifier's highest learning rate, reached after warm-up."""
        ...

    @property
    def layer_decay(self) -> float:
        """Learning rate of each block as a multiple of that of the block above it."""
        ...

    def frozen_blocks(self, depth: int) -> int:
        """The number of leading blocks that do not train.

        Args:
            depth: number of blocks of the model.

        Returns:
            A number in 0..depth; depth means that only the classifier trains.
        """
        ...

    def require_fit(self, backbone: Backbone) -> None:
        """Checks, without loading weights, that this strategy can train this backbone.

        Raises:
            ValueError: an option does not fit the backbone; the message names the option and possible values.
        """
        ...

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        """Marks the parameters that train, in place.

        Args:
            model: the network with its classifier.
            seed: seed of the initialisation of parameters that the strategy adds.

        Returns:
            The module whose parameters are trained and saved.
        """
        ...


@dataclass(frozen=True)
class ClassifierOnly:
    """Trains a linear classifier on the frozen model's pooled features (linear probing).

    Attributes:
        learning_rate: the highest learning rate, reached after warm-up.
    """

    name: ClassVar[str] = "classifier_only"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        _require_rate(self)

    def frozen_blocks(self, depth: int) -> int:
        return depth

    def require_fit(self, backbone: Backbone) -> None:
        """Accepts every backbone, because every backbone has pooled features."""

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        return _train_only(model, [model.head])


@dataclass(frozen=True)
class Partial:
    """Trains the last transformer blocks, the final norm and the classifier.

    Attributes:
        learning_rate: the highest learning rate, reached after warm-up.
        blocks: number of blocks that train, counted from the last.
    """

    name: ClassVar[str] = "partial"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 1e-4
    blocks: int = 2

    def __post_init__(self) -> None:
        _require_rate(self)
        if self.blocks < 1:
            raise ValueError(f"partial: blocks must be at least 1, not {self.blocks}; for 0 use classifier_only")

    def frozen_blocks(self, depth: int) -> int:
        if self.blocks >= depth:
            raise ValueError(
                f"partial: blocks is {self.blocks}, but the model has {depth} blocks; use fewer, or strategy full"
            )
        return depth - self.blocks

    def require_fit(self, backbone: Backbone) -> None:
        self.frozen_blocks(backbone.depth)

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        start = self.frozen_blocks(len(model.blocks))
        return _train_only(model, [*model.blocks[start:], model.norm, model.fc_norm, model.head])


ATTENTION = r"blocks\.\d+\.attn\.(qkv|proj)"  # both linear layers of every block's attention, at least `width` wide
ALL_LINEAR = "all-linear"  # PEFT's keyword


@dataclass(frozen=True)
class Lora:
    """Trains low-rank adapters (LoRA, Hu et al. 2022) on the attention of every block through PEFT, and the classifier.

    Attributes:
        learning_rate: the highest learning rate, reached after warm-up.
        rank: rank of every adapter, at most the smaller side of the adapted layer's weight matrix.
        alpha: an adapter's output is scaled by alpha / rank.
        dropout: probability of dropout at an adapter's input, from 0 to below 1.
        targets: a regular expression that must match the full names of the adapted modules, or `all-linear`.
    """

    name: ClassVar[str] = "lora"
    layer_decay: ClassVar[float] = 1.0
    learning_rate: float = 5e-4
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    # The full path, because `proj` alone would also match the patch embedding's convolution.
    targets: str = ATTENTION

    def __post_init__(self) -> None:
        _require_rate(self)
        if self.rank < 1:
            raise ValueError(f"lora: rank must be at least 1, not {self.rank}")
        if self.alpha < 1:
            raise ValueError(f"lora: alpha must be at least 1, not {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora: dropout must be a probability, from 0 to below 1, not {self.dropout:g}")
        try:
            re.compile(self.targets)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"lora: targets {self.targets!r} is not a regular expression ({error})") from error

    def frozen_blocks(self, depth: int) -> int:
        return 0

    def require_fit(self, backbone: Backbone) -> None:
        if self.targets == ATTENTION:  # every backbone has it; building the skeleton of a giant takes seconds
            self._require_rank(backbone.width, f"the attention of {backbone.name}")
        else:
            self.targeted(backbone.skeleton(classes=2), backbone.name)

    def targeted(self, model: VisionTransformer, name: str = "the model") -> list[str]:
        """The names of the modules that get adapters.

        Args:
            model: the network.
            name: the backbone's name, for messages.

        Raises:
            ValueError: `targets` matches no module, or a module that LoRA cannot adapt or not with this rank.
        """
        modules = {path: module for path, module in model.named_modules() if path}
        linear = [path for path, module in modules.items() if isinstance(module, nn.Linear)]
        pattern = re.compile(self.targets)
        matched = linear if self.targets == ALL_LINEAR else [path for path in modules if pattern.fullmatch(path)]
        found = [path for path in matched if path != "head"]  # all of the head trains, and PEFT skips it
        can = listed([path for path in linear if path.startswith("blocks.")])
        if not found:
            alone = " except the head, which trains in any case" if matched else ""
            raise ValueError(f"targets match no module of {name}{alone}; modules that can be adapted: {can}")
        for path in found:
            module = modules[path]
            if not isinstance(module, nn.Linear | nn.Conv2d):
                kind = type(module).__name__
                raise ValueError(
                    f"targets match {path} of {name}, a {kind}, which LoRA cannot adapt; "
                    f"modules that can be adapted: {can}"
                )
            self._require_rank(min(module.weight.flatten(1).shape), f"{path} of {name}")
        return found

    def _require_rank(self, most: int, of: str) -> None:
        if self.rank > most:
            raise ValueError(f"rank {self.rank} is too high for {of}; use at most {most}")

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        self.targeted(model)
        from peft import LoraConfig, get_peft_model  # takes seconds to import, and most workers do not need it

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
    """Trains every parameter, earlier blocks with a lower learning rate. Defaults as in RETFound (Zhou et al. 2023).

    Attributes:
        learning_rate: the classifier's highest learning rate, reached after warm-up.
        layer_decay: learning rate of each block as a multiple of that of the block above it, above 0 and at most 1.
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
        """Accepts every backbone."""

    def apply(self, model: VisionTransformer, seed: int = 0) -> nn.Module:
        return model.requires_grad_(True)


STRATEGIES: Registry[type[ClassifierOnly | Partial | Lora | Full]] = Registry("strategy")
for _kind in (ClassifierOnly, Partial, Lora, Full):
    STRATEGIES.register(_kind.name, _kind)


def open_strategy(name: str, **options: Any) -> Strategy:
    """The strategy of a name, with its options.

    Args:
        name: a key of `STRATEGIES`.
        **options: fields of the strategy's class.

    Raises:
        ValueError: the name or an option is unknown (the message lists the known ones), or a value is out of range.
    """
    kind = STRATEGIES.find(name)
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"strategy {name}: no option {', '.join(unknown)}; known: {', '.join(known)}")
    return kind(**options)


def _require_rate(strategy: Strategy) -> None:
    if strategy.learning_rate < 0:
        raise ValueError(f"{strategy.name}: learning_rate must be at least 0, not {strategy.learning_rate:g}")
    if not math.isfinite(strategy.learning_rate):
        raise ValueError(f"{strategy.name}: learning_rate must be a finite number, not {strategy.learning_rate:g}")


def _train_only(model: VisionTransformer, parts: Iterable[nn.Module]) -> nn.Module:
    model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    return model
