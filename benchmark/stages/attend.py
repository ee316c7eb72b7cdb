"""attend: attention over a patient's images for every trained trial, if the study asks for it."""

from rich.markup import escape

from benchmark.errors import stop_when_full
from benchmark.scheduling.streaming import stream
from benchmark.stages.run import Run
from benchmark.stages.worker import OneTrial
from benchmark.storage.rundir import write_text
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
    options = {"study": run.study, "directory": run.directory, "trials": waiting, "write": attend_trial}
    with run.reporter.stage("attend", len(units), "trials") as stage:
        for result in stream(units, [run.batched(OneTrial, options)], batch_size=1, on_wait=stage.note):
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
