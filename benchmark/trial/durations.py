"""How long each stage of a run takes, roughly: only the proportions matter, because the display corrects them.

Work on models follows from their blocks (`benchmark.trial.costs`). For other work, the constants below are
guesses of the right order of magnitude, not measurements.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from benchmark.study.config import SWITCHES, Study
from benchmark.study.trials import Trial
from benchmark.trial.cache import CachePlan
from benchmark.trial.compute_controls import depths
from benchmark.trial.costs import Machine, Sizes, block_passes, block_seconds, embedding_seconds, tested

_GPU = 1000.0  # how much faster a GPU is than one core, in order of magnitude
_START = 8.0  # seconds until the workers of a stage have imported PyTorch
_DRAW, _PREPARE, _SEGMENT, _ERASE, _EXCHANGE = 0.4, 0.05, 0.3, 0.1, 0.03  # seconds per image on one core
_EPOCH, _TRIAL, _FIGURES, _PAGE = 0.1, 1.0, 3.0, 1.5  # seconds of each trial that do not depend on its model


@dataclass(frozen=True)
class Durations:
    """Estimated seconds.

    Attributes:
        stages: wall seconds of each stage, in the order in which they run.
        views: by backbone, for one view in the embed stage.
        epochs: by trial, for one epoch.
        maps: by trial, for the maps of all test images, and the figures.
        controls: by trial and control.
    """

    stages: Mapping[str, float] = field(default_factory=dict)
    views: Mapping[str, float] = field(default_factory=dict)
    epochs: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, float] = field(default_factory=dict)
    controls: Mapping[tuple[str, str], float] = field(default_factory=dict)


def durations(
    study: Study, trials: list[Trial], sizes: Sizes, cached: CachePlan, *, cpus: int, at_once: int
) -> Durations:
    """Estimate a run.

    Args:
        sizes: split -> images.
        cached: the blocks whose inputs are kept on disk.
        cpus: CPU cores of the cluster.
        at_once: number of trials, or of actors, that run at the same time.
    """
    # A GPU is not measured: the memory that this process would need there is the trials'.
    machine = Machine(torch.device("cpu"), "CPU", at_once, study.resources.cpus, 0.0, half=False)
    faster = _GPU if study.resources.gpus else 1.0

    def block(backbone: str) -> float:
        return block_seconds(backbone, machine.device, machine.threads) / faster

    images, test = sum(sizes.values()), sizes["test"]
    epochs, maps, controls = {}, {}, {}
    for trial in trials:
        epoch, explained = block_passes(study, trial, sizes, cached)
        epochs[trial.name] = _EPOCH + epoch * block(trial.backbone.name)
        maps[trial.name] = _FIGURES + explained * block(trial.backbone.name)
        for name, passes in _control_passes(study, trial, test).items():
            controls[trial.name, name] = _EXCHANGE * test + passes * block(trial.backbone.name)
    views = {name: max([*blocks, *cached.test[name]], default=0) * block(name) for name, blocks in cached.every.items()}
    cells = {trial.cell: study.training.epochs * epochs[trial.name] for trial in trials}
    candidates = study.search.candidates if study.search else 0
    seconds = {
        "weights": 1.0,
        "draw": _DRAW * images / cpus if study.cohort.synthetic else 0.0,
        "prepare": _PREPARE * images / cpus,
        "segment": _START + _SEGMENT * tested(study, sizes) / cpus,
        "embed": _START + embedding_seconds(study, sizes, cached, machine) / faster / at_once,
        "search": _START + candidates * sum(cells.values()) / at_once if candidates else 0.0,
        "train": _START + sum(_TRIAL + study.training.epochs * epoch for epoch in epochs.values()) / at_once,
        "explain": _START + sum(maps.values()) / at_once,
        "erase": _ERASE * tested(study, sizes) / cpus if study.controls.erasure else 0.0,
        "control": _START + sum(controls.values()) / at_once if controls else 0.0,
        "report": _PAGE * (1 + len(trials)),
    }
    return Durations({stage: time for stage, time in seconds.items() if time}, views, epochs, maps, controls)


def _control_passes(study: Study, trial: Trial, test: int) -> dict[str, float]:
    """By control, its forward passes of one image through one block."""
    depth, settings = trial.backbone.open().depth, study.controls
    randomised = settings.seeds * len(depths(depth + 2)) * min(settings.images, test)
    passes = {
        "vessel_permutation": 0.0,
        "other_class": test * (depth + 2.0),
        "parameter_randomisation": randomised * (depth + 2.0),
        "erasure": 3.0 * test * depth,
    }
    return {name: passes[name] for name in SWITCHES if getattr(settings, name)}
