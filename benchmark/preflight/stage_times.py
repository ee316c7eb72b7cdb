"""How long each stage of a run will take: counts of the work that is left, times the pace measured on this machine.

Assumptions, in the constants below, stand for what a short measurement cannot show: starting Ray and its workers, an
optimizer's step, and the report. They were fitted to the runs in docs/run-time.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import polars as pl

from benchmark.preflight.calibration import Pace
from benchmark.preflight.expected import images_by_split
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.controls import CONTROLS
from benchmark.study.folds import folds_of
from benchmark.study.trials import Trial, trials_of
from benchmark.trial.cache import CachePlan, explained_from, trains_from_images
from benchmark.trial.compute_controls import depths
from benchmark.trial.costs import Cost, Machine, block_seconds, cached_blocks, cost_of, entries, tested

RAY = 11.0  # seconds of processor time to start Ray
WORKER = 8.0  # seconds of processor time until a worker has imported PyTorch and loaded a model
TASK = 0.25  # share of that for a process without a model
TRIAL = 0.6  # share of that for the process of a trial
STEP = 0.004  # seconds of processor time per optimizer step, besides the passes through blocks
REPORT = 6.0  # seconds of processor time for the report, besides its trials and pictures
REPORT_TRIAL = 0.3  # for one trial's estimates, row and page, with 1,000 resamples and 100 test images
PICTURE = 0.02  # for one test image and its masks, which all trials' pages share


@dataclass(frozen=True)
class StageTime:
    """The estimate for one stage.

    Attributes:
        name: the stage, as the progress display names it.
        work: what is left to do, as "400 images"; "complete" if nothing is.
        seconds: estimated wall time; 0 if nothing is left, NaN if it could not be measured.
        processor: the same as processor time of all processes together; on a GPU, the time that the trials hold it.
    """

    name: str
    work: str
    seconds: float
    processor: float


def total(stages: list[StageTime]) -> float:
    """Seconds of all stages whose time is known."""
    return sum(stage.seconds for stage in stages if not math.isnan(stage.seconds))


@dataclass(frozen=True)
class Plan:
    """What stage times are computed from."""

    study: Study
    cohort: pl.DataFrame
    out: Path
    resume: bool
    machine: Machine
    pace: Pace

    @property
    def directory(self) -> RunDirectory | None:
        """The run that is resumed."""
        return RunDirectory(self.out) if self.resume else None

    @cached_property
    def sizes(self) -> dict[str, int]:
        return images_by_split(self.study, self.cohort)

    @cached_property
    def cached(self) -> CachePlan:
        return cached_blocks(self.study, self.sizes, self.out)

    @cached_property
    def costs(self) -> dict[Trial, Cost]:
        return {trial: cost_of(self.study, trial, self.sizes, self.cached, self.machine) for trial in self.trials}

    @property
    def trials(self) -> list[Trial]:
        return trials_of(self.study)

    @property
    def places(self) -> list[RunDirectory | None]:
        """The folders with trials: the run directory, or that of each fold; None for a new run."""
        if self.study.splits is None:
            return [self.directory]
        return [self.directory and self.directory.fold(fold.name) for fold in folds_of(self.study.splits)]

    def left(self, done: Callable[[RunDirectory, Trial], bool]) -> list[Trial]:
        """The trials for which something is not complete, as often as there are folds in which it is not."""
        return [trial for place in self.places for trial in self.trials if place is None or not done(place, trial)]

    def completed(self, stage: str) -> bool:
        return self.directory is not None and self.directory.completed(stage) is not None

    def passing(self, trial: Trial, blocks: float, images: int) -> float:
        """Seconds to pass images through that many blocks of a trial's backbone, from the images if all of them."""
        block = block_seconds(trial.backbone.name, self.machine.device, self.machine.threads)
        return images * (blocks * block + self.pace.view * (blocks >= trial.backbone.open().depth))


def stage_times(plan: Plan) -> list[StageTime]:
    """The estimate for every stage, in the order in which they run."""
    return [
        _stage(plan, "start", 1, "Ray", workers=0, alone=RAY),
        *_images(plan),
        _segment(plan),
        _embed(plan),
        *_search(plan),
        _train(plan),
        _explain(plan),
        _control(plan),
        _report(plan),
    ]


def _stage(
    plan: Plan,
    name: str,
    count: float,
    unit: str,
    shared: float = 0,
    workers: float | None = None,
    alone: float = 0,
    starts: int = 1,
) -> StageTime:
    """The estimate for a stage with `count` pieces of work left.

    Args:
        shared: seconds of work that the trials' workers share.
        workers: how many workers start; None for one per trial at once.
        alone: seconds of work in one process, while the workers wait.
        starts: how often the workers start: once, or once for each fold.
    """
    if not count:
        return StageTime(name, "complete", 0.0, 0.0)
    at_once = plan.machine.trials
    shared += (at_once if workers is None else workers) * starts * WORKER
    seconds = plan.pace.slowdown * (shared / at_once + alone)
    return StageTime(name, f"{count:,.0f} {unit}", seconds, shared + alone)


def _images(plan: Plan) -> list[StageTime]:
    images, some = 0 if plan.completed("prepare") else len(plan.cohort), plan.machine.trials * TASK
    stages = [_stage(plan, "prepare", images, "images", images * plan.pace.crop, some)]
    if plan.study.cohort.synthetic is not None:
        stages.insert(0, _stage(plan, "draw", images, "images", images * plan.pace.draw, some))
    return stages


def _segment(plan: Plan) -> StageTime:
    images = 0 if plan.completed("segment") else tested(plan.study, plan.sizes)
    return _stage(plan, "segment", images, "images", images * plan.pace.segment)


def _embed(plan: Plan) -> StageTime:
    sizes, seconds, views = plan.sizes, 0.0, 0
    every, in_tests = entries(plan.study, sizes), tested(plan.study, sizes)
    for name in plan.cached.every:
        all_blocks, test_blocks = _missing(plan, name)
        passing = block_seconds(name, plan.machine.device, plan.machine.threads)
        last = max(all_blocks, default=0)
        passed = every if all_blocks else in_tests if test_blocks else 0
        views += passed
        further = max(0, max(test_blocks, default=0) - last)
        seconds += passed * (plan.pace.view + last * passing) + in_tests * further * passing
    return _stage(plan, "embed", views, "views", seconds)


def _missing(plan: Plan, backbone: str) -> tuple[list[int], list[int]]:
    """The blocks of the cache that are not in the run directory: for all images, and for test images alone."""
    every, test = plan.cached.every[backbone], plan.cached.test[backbone]
    if plan.directory is None:
        return every, test
    folder = plan.directory.embeddings(backbone)
    waiting = plan.left(lambda directory, trial: directory.trial(trial).is_explained)
    if not any(trial.backbone.name == backbone for trial in waiting):
        return [], []
    return (
        [block for block in every if not folder.block(block).is_file()],
        [block for block in test if not folder.block(block).is_file() and not folder.test(block).is_file()],
    )


def epoch_seconds(plan: Plan, trial: Trial) -> float:
    """Seconds of work per epoch: the passes through blocks, the images if they are not cached, and the optimizer."""
    sizes, recipe = plan.sizes, plan.study.training
    from_images = trains_from_images(trial, plan.cached) or not trial.strategy.open().frozen_blocks(
        trial.backbone.open().depth
    )
    reading = (sizes["train"] + sizes["val"]) * plan.pace.view * from_images
    steps = -(-sizes["train"] // recipe.batch_size) * STEP
    return plan.costs[trial].epoch + reading + steps


def _search(plan: Plan) -> list[StageTime]:
    settings, recipe = plan.study.search, plan.study.training
    if settings is None:
        return []
    first = plan.left(lambda directory, trial: directory.search(trial).is_file())
    cells = [trial for trial in first if trial.seed == plan.study.seeds[0]]
    count = len(cells) * settings.candidates
    seconds = settings.candidates * recipe.epochs * sum(epoch_seconds(plan, trial) for trial in cells)
    starts = plan.study.trainings
    return [_stage(plan, "search", count * recipe.epochs, "epochs at most", seconds, TRIAL * count, starts=starts)]


def training_seconds(plan: Plan, trial: Trial) -> float:
    """Seconds of work for all epochs of a trial; early stopping may save some of them."""
    return plan.study.training.epochs * epoch_seconds(plan, trial)


def _train(plan: Plan) -> StageTime:
    waiting = plan.left(lambda directory, trial: directory.trial(trial).is_trained)
    seconds = sum(training_seconds(plan, trial) for trial in waiting)
    epochs = len(waiting) * plan.study.training.epochs
    starts = plan.study.trainings
    return _stage(plan, "train", epochs, "epochs at most", seconds, TRIAL * len(waiting), starts=starts)


def _explain(plan: Plan) -> StageTime:
    waiting = plan.left(lambda directory, trial: directory.trial(trial).is_explained)
    images, seconds = plan.sizes["test"], 0.0
    for trial in waiting:
        depth = trial.backbone.open().depth
        blocks = depth - explained_from(plan.study, trial, plan.cached.blocks(trial.backbone.name))
        # The gradient of the last block takes another two passes.
        seconds += plan.passing(trial, blocks, images) + 2 * plan.passing(trial, 1, images)
        seconds += images * plan.pace.measures
    figures = len(waiting) * (3 * plan.study.explain.examples + 2) * plan.pace.panel  # one after another
    count, starts = len(waiting) * images, plan.study.trainings
    return _stage(plan, "explain", count, "maps", seconds, alone=figures, starts=starts)


def _control(plan: Plan) -> StageTime:
    units = [
        (trial, name)
        for name in CONTROLS
        if getattr(plan.study.controls, name)
        for trial in plan.left(partial(_has_control, name))
    ]
    seconds = sum(_OF_CONTROL[name](plan, trial) for trial, name in units)
    painted = plan.directory is not None and plan.directory.painted.is_file()
    if any(CONTROLS[name].needs_erased for _, name in units) and not painted:
        seconds += tested(plan.study, plan.sizes) * plan.pace.erase
    return _stage(plan, "control", len(units), "controls", seconds, starts=plan.study.trainings)


def _has_control(name: str, directory: RunDirectory, trial: Trial) -> bool:
    return directory.trial(trial).has_control(name)


def _pairs(plan: Plan) -> float:
    """Seconds for the ratios of every map on the vessels of every test image."""
    images = plan.sizes["test"]
    return images * plan.pace.exchange + images**2 * plan.pace.pair


def _maps(plan: Plan, trial: Trial, images: int) -> float:
    """Seconds for maps from images."""
    return plan.passing(trial, trial.backbone.open().depth, images) + 2 * plan.passing(trial, 1, images)


def _vessel_permutation(plan: Plan, trial: Trial) -> float:
    return _pairs(plan) + plan.sizes["test"] * plan.pace.turned


def _other_class(plan: Plan, trial: Trial) -> float:
    return _maps(plan, trial, plan.sizes["test"]) + _pairs(plan)


def _parameter_randomisation(plan: Plan, trial: Trial) -> float:
    settings = plan.study.controls
    images = min(plan.sizes["test"], settings.images)
    models = settings.seeds * len(depths(trial.backbone.open().depth + 2))
    return models * (_maps(plan, trial, images) + images * plan.pace.likeness)


def _erasure(plan: Plan, trial: Trial) -> float:
    return plan.passing(trial, trial.backbone.open().depth, 3 * plan.sizes["test"])


_OF_CONTROL: dict[str, Callable[[Plan, Trial], float]] = {
    "vessel_permutation": _vessel_permutation,
    "other_class": _other_class,
    "parameter_randomisation": _parameter_randomisation,
    "erasure": _erasure,
}


def _report(plan: Plan) -> StageTime:
    count, images = len(plan.trials) * plan.study.trainings, plan.sizes["test"]
    resampled = count * REPORT_TRIAL * plan.study.statistics.resamples / 1000 * images / 100
    pictures = images * PICTURE * (plan.study.explain.examples > 0)
    alone = plan.study.trainings * (REPORT + pictures) + resampled
    return _stage(plan, "report", count, "trials", workers=0, alone=alone)
