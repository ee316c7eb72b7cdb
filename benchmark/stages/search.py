"""search: a learning rate for every cell (backbone x strategy), if the study asks for it; by Ray Tune."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from benchmark.report.forecast import TrainingTime
from benchmark.scheduling.tuning import GroupedASHA, Report, run_trials
from benchmark.stages.run import Run
from benchmark.stages.train import figures, images_per_epoch
from benchmark.storage.rundir import RunDirectory, write_csv
from benchmark.study.config import Search, Study
from benchmark.study.trials import Trial
from benchmark.trial.fit import fit
from finetune.training import Epoch


@dataclass
class Candidate:
    """A learning rate tried for a cell, and its progress; AUC and loss are those of the best epoch so far."""

    trial: Trial
    learning_rate: float
    epochs: int = 0
    val_auc: float | None = None
    val_loss: float | None = None
    error: str | None = None
    ended: bool = False


def learning_rates(own: float, search: Search) -> list[float]:
    """Candidates around a strategy's default rate, ascending, evenly spaced on a logarithmic scale, to six digits."""
    rates = np.geomspace(own / search.span, own * search.span, search.candidates)
    return [float(f"{rate:.6g}") for rate in rates]


def search(run: Run) -> None:
    """Fill `search/`, one table per cell, using the study's first seed; existing tables are kept.

    Every cell has the same budget: the same number of candidates and epochs, and the same rungs. A failed candidate is
    recorded in the table; if all candidates of a cell fail, the cell's trials fail. The study determines the
    candidates, but with several devices, which of them ASHA ends early may depend on timing.
    """
    settings = run.study.search
    if settings is None:
        return
    waiting = [
        trial
        for trial in run.trials()
        if trial.seed == run.study.seeds[0] and not run.directory.search(trial).is_file()
    ]
    if not waiting:
        run.reporter.skip("search", "every cell has a learning rate")
        return
    candidates: dict[str, Candidate] = {}
    for trial in waiting:
        own = trial.strategy.open().learning_rate
        # Nearest to the strategy's default first: on one device, ASHA compares every rate with those before it, so the
        # earlier a good rate has run, the earlier a bad one ends.
        for rate in sorted(learning_rates(own, settings), key=lambda rate: abs(math.log(rate / own))):
            candidates[f"{trial.cell}-{len(candidates)}"] = Candidate(trial, rate)
    epochs = run.study.training.epochs
    images = images_per_epoch(run.directory)
    estimates = {name: run.durations.epochs.get(tried.trial.name, 1.0) for name, tried in candidates.items()}
    share = {name: run.at_once(seconds, len(candidates)) for name, seconds in estimates.items()}  # of the wall time
    with run.reporter.stage("search", len(candidates) * epochs, "epochs", epochs * sum(share.values())) as stage:
        time = TrainingTime(
            {name: tried.trial.cell for name, tried in candidates.items()},
            estimates,
            epochs,
            at_once=max(1, min(run.actors(), len(candidates))),
            scale=stage.forecast.scale,
        )

        def line(name: str) -> str:
            return f"{candidates[name].trial.cell} at {candidates[name].learning_rate:.2g}"

        def finished(name: str, now: int) -> None:
            parts = now - candidates[name].epochs
            stage.advance(parts, parts * share[name], time.left)

        def on_start(name: str) -> None:
            time.start(name)
            stage.show(line(name), "starts")

        def on_report(name: str, result: dict[str, Any]) -> None:
            tried = candidates[name]
            time.epoch(name, result["seconds"])
            finished(name, result["epoch"])
            tried.epochs, tried.val_auc, tried.val_loss = (result[key] for key in ("epoch", "val_auc", "val_loss"))
            stage.show(line(name), *figures(result, epochs, result["val_auc"], images))

        def on_end(name: str, error: str | None) -> None:
            tried = candidates[name]
            time.end(name)
            finished(name, epochs)  # ended early, or failed
            stage.drop(line(name))
            tried.ended, tried.error = True, error
            of_cell = [other for other in candidates.values() if other.trial == tried.trial]
            if all(other.ended for other in of_cell):
                _conclude(run, tried.trial, of_cell)

        run_trials(
            list(candidates),
            partial(_work, run.study, run.directory, candidates),
            cpus=run.study.resources.cpus,
            gpus=run.study.resources.gpus,
            storage=run.directory.tune,
            on_start=on_start,
            on_report=on_report,
            on_end=on_end,
            on_wait=stage.note,
            scheduler=GroupedASHA(
                {name: tried.trial.cell for name, tried in candidates.items()},
                epochs=epochs,
                grace=min(settings.grace, epochs),
                reduction=settings.reduction,
            ),
        )


def _work(study: Study, directory: RunDirectory, candidates: dict[str, Candidate], name: str, report: Report) -> None:
    best = (-math.inf, -math.inf)

    # Report the best epoch so far, not the last: training keeps the best epoch's weights, so a candidate that ended
    # here would have this AUC. As it never falls, a rate that is better than all that continue does not end early.
    def on_epoch(epoch: Epoch) -> None:
        nonlocal best
        best = max(best, (epoch.val_auc, -epoch.val_loss))
        report({"epoch": epoch.epoch, "val_auc": best[0], "val_loss": -best[1], "seconds": epoch.seconds})

    fit(study, directory, candidates[name].trial, candidates[name].learning_rate, on_epoch)


def _conclude(run: Run, trial: Trial, candidates: list[Candidate]) -> None:
    """Write the cell's table, or fail its trials; without a table, a resumed run tries again."""
    candidates = sorted(candidates, key=lambda tried: tried.learning_rate)
    if all(tried.error for tried in candidates):
        lowest = candidates[0]
        for failed in [other for other in run.trials() if other.cell == trial.cell]:
            run.fail(failed, f"search: every learning rate failed; {lowest.learning_rate:.2g}: {lowest.error}")
        return
    rows = [
        {
            "learning_rate": tried.learning_rate,
            "epochs": tried.epochs,
            "val_auc": None if tried.error else tried.val_auc,
            "val_loss": None if tried.error else tried.val_loss,
            "error": tried.error,
        }
        for tried in candidates
    ]
    measures = dict.fromkeys(("val_auc", "val_loss"), pl.Float64)
    schema = {"learning_rate": pl.Float64, "epochs": pl.Int64, **measures, "error": pl.String}
    write_csv(run.directory.search(trial), pl.DataFrame(rows, schema=schema))
