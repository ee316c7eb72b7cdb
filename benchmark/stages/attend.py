"""attend: attention over a patient's images for every trained trial, if the study asks for it."""

from rich.markup import escape

from benchmark.errors import stop_when_full
from benchmark.scheduling.streaming import Row, stream
from benchmark.stages.run import Run
from benchmark.stages.worker import Worker
from benchmark.storage.rundir import RunDirectory, write_text
from benchmark.study.config import Study
from benchmark.study.trials import Trial
from benchmark.trial.attend import attend_trial


def attend(run: Run) -> None:
    """Add `attention.parquet` to every trained trial without it.

    If it fails for a trial, the reason is written to `attention.failed.txt`; the trial's own numbers remain valid.
    """
    trials = run.trials() if run.study.patients.attention else []
    waiting = [trial for trial in trials if not run.directory.trial(trial).attention.is_file()]
    if not waiting:
        run.reporter.skip("attend", "complete" if trials else "the study asks for no attention")
        return
    units = [{"trial": index} for index in range(len(waiting))]
    options = {"study": run.study, "directory": run.directory, "trials": waiting}
    with run.reporter.stage("attend", len(units), "trials") as stage:
        for result in stream(units, [run.batched(AttendWorker, options)], batch_size=1, on_wait=stage.note):
            trial = waiting[int(result["trial"])]
            stage.advance()
            stage.say(trial.name)
            failure = run.directory.trial(trial).attention_failure
            failure.unlink(missing_ok=True)
            if result["error"]:
                stop_when_full(str(result["error"]))
                write_text(failure, f"{result['error']}\n")
                message = f"{trial.name}: attention failed: {result['error']}"
                run.reporter.console.print(f"[red]✗[/] {escape(message)}")


class AttendWorker(Worker[None]):
    """Streaming step: a trial -> its attention."""

    def __init__(self, study: Study, directory: RunDirectory, trials: list[Trial]) -> None:
        self.study, self.directory, self.trials = study, directory, trials

    def key(self, unit: Row) -> None:
        """Every unit has its own model, which is freed when it is done."""

    def load(self, key: None) -> None:
        """Nothing is kept between units."""

    def work(self, loaded: None, unit: Row) -> list[Row]:
        attend_trial(self.study, self.directory, self.trials[int(unit["trial"])])
        return [unit]

    def failed(self, unit: Row) -> Row:
        return unit
