"""The use of Ray Tune: every piece of work is a trial, and a failed trial does not affect the others."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from benchmark.errors import UserError
from benchmark.scheduling.cluster import require_own_processes, watch
from benchmark.scheduling.waiting import Watch

Report = Callable[[dict[str, Any]], None]


def run_trials(
    names: Sequence[str],
    work: Callable[[str, Report], None],
    *,
    cpus: float,
    gpus: float | None,
    storage: Path,
    on_report: Callable[[str, dict[str, Any]], None],
    on_end: Callable[[str, str | None], None],
    scheduler: TrialScheduler | None = None,
    on_start: Callable[[str], None] = lambda name: None,
    on_wait: Callable[[str], None] = lambda line: None,
) -> None:
    """Run `work(name, report)` for every name, as many at a time as the cluster can hold, roughly in this order.

    Args:
        work: a plain function; its reports are passed to `on_report` in this process while it runs.
        storage: where Ray Tune keeps its files.
        on_end: called with the name of each trial that ends, and the last line of its error if it failed.
        scheduler: may end trials early, which is not a failure; None lets each trial run to its end.
        on_start: called with the name of each trial that starts.
        on_wait: receives a line if no trial runs and the cause is known.

    Raises:
        UserError: no trial ran for as long as `benchmark.scheduling.waiting.patience` allows, and the cause is known.
        KeyboardInterrupt: Ctrl-C ended the run before every trial had ended.
    """

    def trial(config: dict[str, Any]) -> None:
        work(config["name"], tune.report)

    listener = _Listener(on_start, on_report, on_end, watch(cpus, gpus or 0, on_wait, must_run=True))
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus, "gpu": gpus or 0}),
        param_space={"name": tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(name="trials", storage_path=str(storage), verbose=0, callbacks=[listener]),
    )
    tuner.fit()
    if listener.ended != set(names):
        raise KeyboardInterrupt  # Ray Tune handles the signal itself and returns what it has


class GroupedASHA(FIFOScheduler):
    """ASHA (asynchronous successive halving, Li et al. 2020), run separately within each group of trials.

    Trials report `epoch`, from 1, and `val_auc`. At each rung (`grace` epochs, and `grace` times every power of
    `reduction`), a trial ends unless it is among the best 1 / `reduction` of its group's trials that reached this rung.

    Args:
        groups: the group of every trial, by the trial's name.
        epochs: after which every trial ends, at least `grace`.
    """

    def __init__(self, groups: Mapping[str, str], *, epochs: int, grace: int, reduction: int) -> None:
        super().__init__()
        self._groups = groups
        rungs = {"max_t": epochs, "grace_period": grace, "reduction_factor": reduction}
        self._asha = {group: ASHAScheduler("epoch", "val_auc", "max", **rungs) for group in set(groups.values())}

    def _of(self, trial: Any) -> ASHAScheduler:
        return self._asha[self._groups[trial.config["name"]]]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        return "\n".join(f"{group}: {asha.debug_string()}" for group, asha in self._asha.items())


class _Listener(tune.Callback):
    def __init__(
        self,
        on_start: Callable[[str], None],
        on_report: Callable[[str, dict[str, Any]], None],
        on_end: Callable[[str, str | None], None],
        watch: Watch,
    ) -> None:
        self.on_start = on_start
        self.on_report = on_report
        self.on_end = on_end
        self.watch = watch
        self.ended: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray Tune stores its callbacks in its files; a live display cannot be stored

    def end(self, name: str, error: str | None) -> None:
        self.on_end(name, None if error is None else _last_line(error))
        self.ended.add(name)

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        """Ray Tune calls this ten times a second; a running trial counts as progress, however long it takes."""
        if any(trial.status == trial.RUNNING for trial in trials):
            require_own_processes()
            self.watch.came()
        elif verdict := self.watch.look():
            raise UserError(verdict)

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.on_start(trial.config["name"])

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.on_report(trial.config["name"], result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.end(trial.config["name"], None)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.end(trial.config["name"], Path(trial.error_file).read_text(encoding="utf-8", errors="replace"))

    def on_experiment_end(self, trials: list, **info: Any) -> None:
        # Ray Tune calls no callback when a trial fails because the process to be reused did not release the last trial.
        for trial in trials:
            if trial.status == trial.ERROR and trial.config["name"] not in self.ended:
                self.on_trial_error(0, trials, trial)


def _last_line(error: str) -> str:
    if "ray.exceptions.OutOfMemoryError" in error:
        return (
            "its machine was short of memory, and Ray ended it: close other programs, lower resources.batch_size or "
            "training.batch_size, or run fewer trials at once (resources.cpus), then try again with --resume"
        )
    return next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "no reason given")
