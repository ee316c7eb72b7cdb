"""control: the controls with which every trial's saliency is compared, so that its ratios can be interpreted."""

from functools import partial

import numpy as np
import polars as pl
from rich.markup import escape

from benchmark.errors import OF_ONE_ROW, named, stop_when_full
from benchmark.scheduling.streaming import Each, Row, stream
from benchmark.stages.run import Run
from benchmark.stages.worker import Worker
from benchmark.storage.rundir import RunDirectory, create_array, open_array, write_parquet, write_text
from benchmark.study.config import Study
from benchmark.study.controls import CONTROLS
from benchmark.study.images import IMAGE_SIZE
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from benchmark.trial.compute_controls import COMPUTE, Explained
from xai.controls.erasure import erase_all

BLOCK = 16


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
        reason = _erase(run)
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


def _erase(run: Run) -> str:
    """Fill `erased.npy` and `erased.parquet`, once per study: the images are the same for every trial.

    Returns:
        The reason for the first image that failed, in which case `erased.parquet` is not written; else "".
    """
    test = of_split(read_parquet(run.directory.cohort), "test").select("row", "image")
    store = create_array(run.directory.erased, (len(test), 2, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    painted, failed = np.full(len(test), np.nan), ""
    rows = test.with_row_index("position").select("position", "row").to_dicts()
    with run.reporter.stage("erase", len(rows), "images") as stage:
        for result in stream(rows, [Each(partial(erase_row, run.directory))], BLOCK, on_wait=stage.note):
            stage.advance()
            if result["error"]:
                failed = failed or f"{test['image'][int(result['position'])]}: {result['error']}"
                continue
            store[result["position"]] = result["versions"]
            painted[result["position"]] = result["share"]
    store.flush()
    if not failed:
        write_parquet(run.directory.painted, test.select("image", pl.Series("painted", painted).fill_nan(None)))
    return failed


def erase_row(directory: RunDirectory, row: Row) -> Row:
    """Streaming step: a test image -> its two erased versions, and the share of the field of view painted over.

    `versions` (2, 224, 224, 3) uint8: without its vessels, and painted over elsewhere. `share` is NaN if there are no
    vessels to erase. If the step fails, the reason is in `error`.
    """
    try:
        image = open_array(directory.images)[row["row"]]
        planes = open_array(directory.regions)[row["position"]]
        erased, elsewhere, share = erase_all(image[None], planes[None])
    except OF_ONE_ROW as error:
        blank = np.zeros((2, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        return {"position": row["position"], "versions": blank, "share": np.nan, "error": named(error)}
    versions = np.stack([erased[0], elsewhere[0]])
    return {"position": row["position"], "versions": versions, "share": share[0], "error": ""}


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
