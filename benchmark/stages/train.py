"""train: every trial, scheduled by Ray Tune."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmark.report.forecast import TrainingTime
from benchmark.report.tracking import trackers
from benchmark.scheduling.tuning import Report, run_trials
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from benchmark.trial.fit import train_trial


def train(run: Run) -> None:
    """Fill `trials/<trial>/` with weights, history and predictions; complete trials are kept.

    If a trial fails, the reason is written to its `failed.txt`. A trial that failed in an earlier run is tried again.
    """
    waiting = {trial.name: trial for trial in run.trials() if not run.directory.trial(trial).is_trained}
    if not waiting:
        run.reporter.skip("train", "every trial is trained")
        return
    epochs = run.study.training.epochs
    done = dict.fromkeys(waiting, 0)
    best: dict[str, float] = {}
    images = images_per_epoch(run.directory)
    estimates = run.durations.epochs
    share = {name: run.at_once(estimates.get(name, 1.0), len(waiting)) for name in waiting}  # of the wall time
    with (
        run.reporter.stage("train", len(waiting) * epochs, "epochs", epochs * sum(share.values())) as stage,
        trackers(run.study, run.directory, stage.note) as tracking,
    ):
        time = TrainingTime(
            {name: trial.cell for name, trial in waiting.items()},
            estimates,
            epochs,
            at_once=max(1, min(run.actors(), len(waiting))),
            scale=stage.forecast.scale,
        )

        def finished(name: str, now: int) -> None:
            stage.advance(now - done[name], (now - done[name]) * share[name], time.left)
            done[name] = now

        def on_start(name: str) -> None:
            time.start(name)
            stage.show(name, "starts")

        def on_report(name: str, result: dict[str, Any]) -> None:
            time.epoch(name, result["seconds"])
            finished(name, result["epoch"])
            best[name] = max(best.get(name, 0.0), result["val_auc"])
            stage.show(name, *figures(result, epochs, best[name], images))
            for tracker in tracking:
                tracker.epoch(waiting[name], result | {"images_per_second": images / result["seconds"]})

        def on_end(name: str, error: str | None) -> None:
            time.end(name)
            finished(name, epochs)  # stopped early, or failed
            stage.drop(name)
            for tracker in tracking:
                tracker.end(waiting[name], error)
            if error is not None:
                run.fail(waiting[name], f"train: {error}")

        run_trials(
            list(waiting),
            partial(_work, run.study, run.directory, waiting),
            cpus=run.study.resources.cpus,
            gpus=run.study.resources.gpus,
            storage=run.directory.tune,
            on_start=on_start,
            on_report=on_report,
            on_end=on_end,
            on_wait=stage.note,
        )


def images_per_epoch(directory: RunDirectory) -> int:
    """The number of images that pass through a model in an epoch: those it trains on, and the validation images."""
    cohort = read_parquet(directory.cohort)
    return len(of_split(cohort, "train")) + len(of_split(cohort, "val"))


def figures(result: Mapping[str, Any], epochs: int, best: float, images: int) -> tuple[str, ...]:
    """The progress of a trial: epoch, best validation AUC so far, and images per second."""
    return f"epoch {result['epoch']}/{epochs}", f"AUC {best:.3f}", f"{images / result['seconds']:,.0f} images/s"


def _work(study: Study, directory: RunDirectory, trials: dict[str, Trial], name: str, report: Report) -> None:
    train_trial(study, directory, trials[name], on_epoch=lambda epoch: report(vars(epoch)))
