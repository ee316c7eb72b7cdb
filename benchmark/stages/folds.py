"""Cross-validation: the stages that depend on the division of the patients, once for each fold.

Images, vessels, embeddings and weights are made once for all images, before this. Each fold is a run directory of its
own inside the run directory, with the same files, figures and pages as a study without folds.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from rich.markup import escape

from benchmark.errors import UserError
from benchmark.stages.erase import erase
from benchmark.stages.report import report
from benchmark.stages.run import Run, reported
from benchmark.storage.rundir import create_array, open_array, write_parquet, write_text
from benchmark.study.config import Study
from benchmark.study.folds import Fold, divided
from benchmark.study.splits import require_both_classes
from benchmark.study.trials import trials_of
from benchmark.tables import read_parquet

ROWS = 64  # of an array, copied at once


def run_folds(run: Run, whole: Study, stages: Sequence[Callable[[Run], None]]) -> list[Fold]:
    """Run some stages and the report in every fold; what is complete is kept.

    Args:
        run: of the run directory that holds what all folds share.
        whole: the study with the trials that were finished or failed earlier as well, for the reports.
        stages: of each fold, in order.

    Returns:
        The folds.

    Raises:
        UserError: without the images that could not be used, a fold lacks one class in some split.
    """
    study, directory = run.study, run.directory
    assert study.splits is not None  # or there are no folds
    folds = divided(read_parquet(directory.cohort), study.splits, study.cohort.shares)
    for fold, images in folds.items():
        try:
            require_both_classes(images, advice="add patients, lower splits.folds, or change splits.seed")
        except UserError as error:
            raise UserError(f"{fold.name}: {error}") from error
    waiting = [fold for fold in folds if not directory.fold(fold.name).is_fold]
    if waiting and study.controls.erasure and not directory.painted.is_file():
        erase(run)  # if it fails, each fold reports why
    for number, (fold, images) in enumerate(folds.items(), start=1):
        run.reporter.console.print(f"[bold]fold {number} of {len(folds)}[/]: {escape(fold.name)}")
        place = directory.fold(fold.name)
        if fold in waiting:
            _set_up(run, fold, images)
        configuration = yaml.safe_dump(_of_fold(whole, fold).dump(), sort_keys=False, allow_unicode=True)
        if not place.study.is_file() or place.study.read_text(encoding="utf-8") != configuration:
            write_text(place.study, configuration)  # statistics, for example, may have changed
        for trial in trials_of(study):
            place.trial(trial).failure.unlink(missing_ok=True)
            if directory.trial(trial).has_failed:  # without weights, or without embeddings
                write_text(place.trial(trial).failure, directory.trial(trial).failure.read_text(encoding="utf-8"))
        of_fold = replace(run, directory=place, study=_of_fold(study, fold), reporter=run.reporter.within(fold.name))
        for stage in stages:
            stage(of_fold)
        chosen = reported(whole, study, place)
        report(replace(of_fold, study=_of_fold(whole, fold), chosen=chosen))
        for name, seconds in of_fold.reporter.seconds.items():
            run.reporter.seconds[name] = run.reporter.seconds.get(name, 0.0) + seconds
    return list(folds)


def _of_fold(study: Study, fold: Fold) -> Study:
    """The study of one fold: its division is made, so that it is a study without folds."""
    name = f"{study.name}, repeat {fold.repeat}, fold {fold.fold}"
    return study.model_copy(update={"name": name, "splits": None})


def _set_up(run: Run, fold: Fold, images: pl.DataFrame) -> None:
    """Write what the fold's stages read: the division, and the vessels of its test images."""
    whole, place, splits = run.directory, run.directory.fold(fold.name), run.study.splits
    assert splits is not None
    place.regions.parent.mkdir(parents=True, exist_ok=True)
    # The vessels of the run directory are in the order of all images.
    positions = np.flatnonzero((images["split"] == "test").to_numpy())
    for name in ("regions", "disc", "erased"):
        if getattr(whole, name).is_file():
            _copy_rows(open_array(getattr(whole, name)), positions, getattr(place, name))
    vessels = read_parquet(whole.vessels)
    numbered = pl.Series("position", np.arange(len(positions)), dtype=vessels["position"].dtype)
    write_parquet(place.vessels, vessels[positions].with_columns(numbered))
    if whole.painted.is_file():
        write_parquet(place.painted, read_parquet(whole.painted)[positions])
    for file in ("rejected", "repeated", "covariates"):
        if getattr(whole, file).is_file():
            shutil.copyfile(getattr(whole, file), getattr(place, file))
    write_parquet(place.cohort, images)
    for stage in ("prepare", "segment"):
        place.complete(stage, **(whole.completed(stage) or {}))
    place.complete("fold", repeat=fold.repeat, fold=fold.fold, repeats=splits.repeats, folds=splits.folds)


def _copy_rows(source: np.ndarray, positions: np.ndarray, file: Path) -> None:
    target = create_array(file, (len(positions), *source.shape[1:]), source.dtype)
    for start in range(0, len(positions), ROWS):
        part = positions[start : start + ROWS]
        target[np.arange(start, start + len(part))] = source[part]
    target.flush()
