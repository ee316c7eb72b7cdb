"""A trial of the study: one backbone with one strategy and one seed."""

import re
from dataclasses import dataclass

from benchmark.study.config import BackboneChoice, StrategyChoice, Study


@dataclass(frozen=True)
class Trial:
    """What one trial trains."""

    backbone: BackboneChoice
    strategy: StrategyChoice
    seed: int

    @property
    def cell(self) -> str:
        """What trials that differ in their seed alone have in common: `<backbone>-<strategy>`."""
        return f"{safe(self.backbone.name)}-{self.strategy.name}"

    @property
    def name(self) -> str:
        """The trial's folder: `<backbone>-<strategy>-s<seed>`."""
        return f"{self.cell}-s{self.seed}"


def trials_of(study: Study) -> list[Trial]:
    """Every trial, backbone by backbone: trials that share a backbone share its embeddings."""
    return [
        Trial(backbone, strategy, seed)
        for backbone in study.backbones
        for strategy in study.strategies
        for seed in study.seeds
    ]


def safe(name: str) -> str:
    """A backbone's name as a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
