"""Ray Tune, once: every cell is a trial, and a trial that fails leaves the others alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

Report = Callable[[dict[str, Any]], None]


def run_trials(
    names: Sequence[str],
    work: Callable[[str, Report], None],
    *,
    cpus: float,
    gpus: float | None,
    storage: Path,
    on_report: Callable[[str, dict[str, Any]], None],
    on_end: Callable[[str], None],
) -> dict[str, str]:
    """Run `work(name, report)` for every name, as many at a time as the cluster holds.

    Args:
        work: a plain function; what it reports reaches `on_report` on this side while it runs.
        storage: where Ray Tune keeps its books.

    Returns:
        The last line of the error of each trial that failed.
    """

    def trial(config: dict[str, Any]) -> None:
        work(config["name"], tune.report)

    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus, "gpu": gpus or 0}),
        param_space={"name": tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name="trials", storage_path=str(storage), verbose=0, callbacks=[_Listener(on_report, on_end)]
        ),
    )
    grid = tuner.fit()
    return {result.config["name"]: _last_line(result.error) for result in grid if result.error is not None}


class _Listener(tune.Callback):
    def __init__(self, on_report: Callable[[str, dict[str, Any]], None], on_end: Callable[[str], None]) -> None:
        self.on_report = on_report
        self.on_end = on_end

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray Tune stores its callbacks with its books; a live display cannot be stored

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.on_report(trial.config["name"], result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.on_end(trial.config["name"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.on_end(trial.config["name"])


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
