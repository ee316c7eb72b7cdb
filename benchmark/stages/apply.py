"""apply: the trials of another run on the images of an external cohort, in place of training."""

from benchmark.scheduling.streaming import stream
from benchmark.stages.run import Run
from benchmark.stages.worker import OneTrial
from benchmark.trial.fit import apply_trial


def apply(run: Run) -> None:
    """Fill `trials/<trial>/` with predictions; complete trials are kept."""
    waiting = [trial for trial in run.trials() if not run.directory.trial(trial).is_trained]
    if not waiting:
        run.reporter.skip("apply", "every trial is applied")
        return
    units = [{"trial": index} for index in range(len(waiting))]
    options = {"study": run.study, "directory": run.directory, "trials": waiting, "write": apply_trial}
    with run.reporter.stage("apply", len(units), "trials") as stage:
        for result in stream(units, [run.batched(OneTrial, options)], batch_size=1, on_wait=stage.note):
            trial = waiting[int(result["trial"])]
            stage.say(trial.name)
            stage.advance()
            if result["error"]:
                run.fail(trial, f"apply: {result['error']}")
