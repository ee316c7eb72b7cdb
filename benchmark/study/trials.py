"""A trial of the study: one backbone with one strategy and one seed."""

import re
from dataclasses import dataclass
from typing import Any

from benchmark.study.config import BackboneChoice, StrategyChoice, Study


@dataclass(frozen=True)
class Trial:
    """A backbone, a strategy and a seed: one training."""

    backbone: BackboneChoice
    strategy: StrategyChoice
    seed: int

    @property
    def cell(self) -> str:
        """The name that trials with different seeds share: `<backbone>-<strategy>`."""
        return f"{safe(self.backbone.name)}-{self.strategy.name}"

    @property
    def key(self) -> tuple[str, str, int]:
        """The names of its backbone and strategy and its seed, as in the tables."""
        return self.backbone.name, self.strategy.name, self.seed

    @property
    def name(self) -> str:
        """The trial's folder: `<backbone>-<strategy>-s<seed>`."""
        return f"{self.cell}-s{self.seed}"


def trials_of(study: Study) -> list[Trial]:
    """All trials, backbone by backbone, because trials of one backbone share its embeddings."""
    return [
        Trial(backbone, strategy, seed)
        for backbone in study.backbones
        for strategy in study.strategies
        for seed in study.seeds
    ]


def joined(earlier: Study, now: Study) -> Study:
    """`now` with the backbones, strategies and seeds that only `earlier` has, which come first as they did there."""
    added: dict[str, list[Any]] = {}
    for key in ("backbones", "strategies"):
        own = {choice.name: choice for choice in getattr(now, key)}
        before = [own.pop(choice.name, choice) for choice in getattr(earlier, key)]
        added[key] = [*before, *own.values()]
    added["seeds"] = [*earlier.seeds, *(seed for seed in now.seeds if seed not in earlier.seeds)]
    return now.model_copy(update=added)


def safe(name: str) -> str:
    """A backbone's name as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
