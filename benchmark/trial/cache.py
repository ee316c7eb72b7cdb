"""The cache of the frozen blocks' outputs on disk: which blocks, for which images, and where each reader starts.

Training reads the input of a trial's first trainable block, for every image and view. An explanation reads the input of
the block where its method begins, for the test images only. If the trial froze all blocks before it, this input is the
same as the pre-trained backbone's.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import backbones
from benchmark.study.config import Study
from benchmark.study.trials import Trial


@dataclass(frozen=True)
class CachePlan:
    """By backbone, the blocks whose inputs are kept.

    Attributes:
        every: blocks kept for every image and view.
        test: blocks kept for the test images only, as far as they are not in `every`.
    """

    every: dict[str, list[int]]
    test: dict[str, list[int]]

    def blocks(self, backbone: str) -> list[int]:
        """The blocks at which the model can start for a test image."""
        return [*self.every[backbone], *self.test[backbone]]


def plan_cache(study: Study, images: int, train_images: int, test_images: int, free_bytes: float) -> CachePlan:
    """The blocks that fit into the budget.

    Blocks for training come before blocks for explanations, because training reads them in every epoch. Within each
    group the smallest come first, so that pooled features are always included.

    Args:
        free_bytes: free space on the run directory's disk, plus what this run's caches already take.
    """
    budget = min(study.embeddings.max_gib * 2**30, 0.9 * free_bytes)

    def fitting(entries: int, wanted: dict[str, list[int]]) -> dict[str, list[int]]:
        nonlocal budget
        costs = sorted(
            (2 * entries * math.prod(entry_shape(name, block)), name, block)
            for name, blocks in wanted.items()
            for block in blocks
        )
        fit: dict[str, list[int]] = {name: [] for name in wanted}
        for cost, name, block in costs:
            if cost <= budget:
                budget -= cost
                fit[name].append(block)
        return fit

    names = [choice.name for choice in study.backbones]
    entries = images + train_images * (study.training.views - 1)
    every = fitting(entries, {name: frozen_fronts(study, name) for name in names})
    begun = {name: set(explained_fronts(study, name)) - set(every[name]) for name in names}
    return CachePlan(every, fitting(test_images, {name: sorted(blocks) for name, blocks in begun.items()}))


def frozen_fronts(study: Study, backbone: str) -> list[int]:
    """The blocks where this study's strategies begin to train, except strategies that train the whole model."""
    depth = backbones.get(backbone).depth
    return sorted({strategy.open().frozen_blocks(depth) for strategy in study.strategies} - {0})


def explained_fronts(study: Study, backbone: str) -> list[int]:
    """The block where the explanation begins, if some strategy freezes all blocks before it; else none."""
    start = study.explain.open().start(backbones.get(backbone).depth)
    return [start] if 0 < start <= max(frozen_fronts(study, backbone), default=0) else []


def entry_shape(backbone: str, block: int) -> tuple[int, ...]:
    """Shape of a block's input: (tokens, width), or (width,), the pooled features, at the depth of the model."""
    chosen = backbones.get(backbone)
    return (chosen.width,) if block == chosen.depth else (chosen.tokens, chosen.width)


def trains_from_images(trial: Trial, plan: CachePlan) -> bool:
    """Whether a trial runs its frozen blocks again in every epoch, because the plan does not keep their output."""
    start = trial.strategy.open().frozen_blocks(trial.backbone.open().depth)
    return start > 0 and start not in plan.every[trial.backbone.name]


def explained_from(study: Study, trial: Trial, cached: Collection[int]) -> int:
    """The block from which a trial's explanation runs the model; 0 means from the images.

    This is the last `cached` block that is neither after the first trained block nor after the method's first block.
    """
    depth = trial.backbone.open().depth
    last = min(trial.strategy.open().frozen_blocks(depth), study.explain.open().start(depth))
    return max((block for block in cached if 0 < block <= last), default=0)
