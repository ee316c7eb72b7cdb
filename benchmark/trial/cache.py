"""What of the frozen blocks' output is kept on disk: which blocks, of which images, and who starts from where.

Training reads what enters a trial's first trainable block, of every image and view. An explanation reads what enters
the block where its method begins, of the test images alone; as far as a trial froze the model, that is the untrained
backbone's, too.
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
        every: of every image and view.
        test: of the test images alone, where `every` does not have the block.
    """

    every: dict[str, list[int]]
    test: dict[str, list[int]]

    def blocks(self, backbone: str) -> list[int]:
        """What a test image can be taken up from."""
        return [*self.every[backbone], *self.test[backbone]]


def plan_cache(study: Study, images: int, train_images: int, test_images: int, free_bytes: float) -> CachePlan:
    """What fits the budget: what training reads before what explanations read, for it is read every epoch; of each
    the least first, so that pooled features always come in.

    Args:
        free_bytes: on the disk of the run directory, what caches of this run hold already included.
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
    """The blocks where this study's strategies begin to train, without those that train the model from its start."""
    depth = backbones.get(backbone).depth
    return sorted({strategy.open().frozen_blocks(depth) for strategy in study.strategies} - {0})


def explained_fronts(study: Study, backbone: str) -> list[int]:
    """The block where the explanation begins, if some strategy leaves all before it as it was; else none."""
    start = study.explain.open().start(backbones.get(backbone).depth)
    return [start] if 0 < start <= max(frozen_fronts(study, backbone), default=0) else []


def entry_shape(backbone: str, block: int) -> tuple[int, ...]:
    """Of what enters a block: (tokens, width), or at the depth of the model the pooled features (width,)."""
    chosen = backbones.get(backbone)
    return (chosen.width,) if block == chosen.depth else (chosen.tokens, chosen.width)


def trains_from_images(trial: Trial, plan: CachePlan) -> bool:
    """Whether a trial runs its frozen blocks anew in every epoch, because the plan does not keep their output."""
    start = trial.strategy.open().frozen_blocks(trial.backbone.open().depth)
    return start > 0 and start not in plan.every[trial.backbone.name]


def explained_from(study: Study, trial: Trial, cached: Collection[int]) -> int:
    """The block from which a trial's explanation runs the model: of those `cached` the last that is neither behind what
    the trial trained nor behind where the method begins; 0, images, where there is none."""
    depth = trial.backbone.open().depth
    last = min(trial.strategy.open().frozen_blocks(depth), study.explain.open().start(depth))
    return max((block for block in cached if 0 < block <= last), default=0)
