"""apply: the trials of another run on the images of an external cohort, in place of training."""

from benchmark.scheduling.streaming import Row, stream
from benchmark.stages.run import Run
from benchmark.stages.worker import Worker
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import Trial
from benchmark.trial.fit import apply_trial


def apply(run: Run) -> None:
    """Fill `trials/<trial>/` with predictions; complete trials are kept."""
    waiting = [trial for trial in run.trials() if not run.directory.trial(trial).is_trained]
    if not waiting:
        run.reporter.skip("apply", "every trial is applied")
        return
    units = [{"trial": index} for index in range(len(waiting))]
    options = {"study": run.study, "directory": run.directory, "trials": waiting}
    with run.reporter.stage("apply", len(units), "trials") as stage:
        for result in stream(units, [run.batched(ApplyWorker, options)], batch_size=1, on_wait=stage.note):
            trial = waiting[int(result["trial"])]
            stage.say(trial.name)
            stage.advance()
            if result["error"]:
                run.fail(trial, f"apply: {result['error']}")


class ApplyWorker(Worker[None]):
    """Streaming step: a trial -> its predictions."""

    def __init__(self, study: Study, directory: RunDirectory, trials: list[Trial]) -> None:
        self.study, self.directory, self.trials = study, directory, trials

    def key(self, unit: Row) -> None:
        """Every unit has its own model, which is freed when it is done."""

    def load(self, key: None) -> None:
        """Nothing is kept between units."""

    def work(self, loaded: None, unit: Row) -> list[Row]:
        apply_trial(self.study, self.directory, self.trials[int(unit["trial"])])
        return [unit]

    def failed(self, unit: Row) -> Row:
        return unit
