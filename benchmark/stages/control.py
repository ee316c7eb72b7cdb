"""control: the controls with which every trial's saliency is compared, so that its ratios can be interpreted."""

from rich.markup import escape

from benchmark.errors import stop_when_full
from benchmark.scheduling.streaming import Row, stream
from benchmark.stages.erase import erase
from benchmark.stages.run import Run
from benchmark.stages.worker import Worker
from benchmark.storage.rundir import RunDirectory, write_text
from benchmark.study.config import Study
from benchmark.study.controls import CONTROLS
from benchmark.study.trials import Trial
from benchmark.trial.compute_controls import COMPUTE, Explained


def control(run: Run) -> None:
    """Add the missing controls that the study asks for to every explained trial."""
    wanted = [name for name in CONTROLS if getattr(run.study.controls, name)]
    waiting = [
        (trial, name) for trial in run.trials() for name in wanted if not run.directory.trial(trial).has_control(name)
    ]
    for trial, name in waiting:
        run.directory.trial(trial).control_failure(name).unlink(missing_ok=True)
    if not waiting:
        run.reporter.skip("control", "complete" if wanted else "the study asks for no control")
        return
    if any(CONTROLS[name].needs_erased for _, name in waiting) and not run.directory.painted.is_file():
        reason = erase(run)
        if reason:
            for trial, name in waiting:
                if CONTROLS[name].needs_erased:
                    _fail(run, trial, name, reason)
            waiting = [(trial, name) for trial, name in waiting if not CONTROLS[name].needs_erased]
    units = [{"unit": unit} for unit in range(len(waiting))]
    options = {"study": run.study, "directory": run.directory, "units": waiting}
    seconds = [run.durations.controls.get((trial.name, name), 1.0) for trial, name in waiting]
    with run.reporter.stage("control", len(units), "controls", run.at_once(sum(seconds), len(units))) as stage:
        for result in stream(units, [run.batched(ControlWorker, options)], batch_size=1, on_wait=stage.note):
            trial, name = waiting[int(result["unit"])]
            stage.advance(1, run.at_once(seconds[int(result["unit"])], len(units)))
            stage.say(f"{trial.name}: {CONTROLS[name].title}")
            if result["error"]:
                _fail(run, trial, name, str(result["error"]))


def _fail(run: Run, trial: Trial, name: str, reason: str) -> None:
    """Record why a control could not be computed; the trial's own numbers remain valid."""
    stop_when_full(reason)
    write_text(run.directory.trial(trial).control_failure(name), reason + "\n")
    message = f"{trial.name}: {CONTROLS[name].title} failed: {reason}"
    run.reporter.console.print(f"[red]✗[/] {escape(message)}")


class ControlWorker(Worker[Explained]):
    """Streaming step: a trial and a control -> that control's file."""

    def __init__(self, study: Study, directory: RunDirectory, units: list[tuple[Trial, str]]) -> None:
        self.study, self.directory, self.units = study, directory, units

    def key(self, unit: Row) -> Trial:
        return self.units[int(unit["unit"])][0]

    def load(self, key: Trial) -> Explained:
        return Explained(self.study, self.directory, key)

    def work(self, loaded: Explained, unit: Row) -> list[Row]:
        COMPUTE[self.units[int(unit["unit"])][1]](loaded)
        return [unit]

    def failed(self, unit: Row) -> Row:
        return unit
