"""train: every trial, scheduled by Ray Tune."""

from functools import partial
from typing import Any

from benchmark.scheduling.tuning import Report, run_trials
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import Trial
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
    with run.reporter.stage("train", len(waiting) * epochs, "epochs") as stage:

        def on_report(name: str, result: dict[str, Any]) -> None:
            stage.advance(result["epoch"] - done[name])
            done[name] = result["epoch"]
            stage.say(f"{name}: validation AUC {result['val_auc']:.3f}")

        def on_end(name: str, error: str | None) -> None:
            stage.advance(epochs - done[name])  # stopped early, or failed
            done[name] = epochs
            if error is not None:
                run.fail(waiting[name], f"train: {error}")

        run_trials(
            list(waiting),
            partial(_work, run.study, run.directory, waiting),
            cpus=run.study.resources.cpus,
            gpus=run.study.resources.gpus,
            storage=run.directory.tune,
            on_report=on_report,
            on_end=on_end,
            on_wait=stage.note,
        )


def _work(study: Study, directory: RunDirectory, trials: dict[str, Trial], name: str, report: Report) -> None:
    train_trial(study, directory, trials[name], on_epoch=lambda epoch: report(vars(epoch)))
