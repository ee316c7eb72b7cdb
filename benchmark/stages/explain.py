"""explain: Grad-CAM of every test image for every trained trial, and its share inside the vessels."""

import numpy as np
import polars as pl
import torch
from rich.markup import escape
from timm.models.vision_transformer import VisionTransformer

import backbones
from benchmark.scheduling.streaming import Row, stream
from benchmark.stages.run import Run
from benchmark.stages.worker import Worker
from benchmark.storage.rundir import RunDirectory, open_array, write_array, write_parquet
from benchmark.study.config import Study
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from benchmark.trial.device import worker_device
from benchmark.trial.figures import draw_figures
from benchmark.trial.fit import Entering, explained_inputs, trained_model
from finetune.inputs import batches
from xai.gradcam import not_finite
from xai.saliency_row import measure, measure_names


def explain(run: Run) -> None:
    """Add `cam.npy`, `saliency.parquet` and `mean_cam.png` to every trained trial without them."""
    waiting = [trial for trial in run.trials() if not run.directory.trial(trial).is_explained]
    if not waiting:
        run.reporter.skip("explain", "every trial is explained")
        return
    test = of_split(read_parquet(run.directory.cohort), "test")
    eyes = test["eye"].to_list() if test["eye"].count() else None
    size = run.study.resources.batch_size
    # One trial after another, so that an actor loads each model only once or twice.
    units = [
        {"trial": index, "positions": np.arange(len(test))[part]}
        for index in range(len(waiting))
        for part in batches(len(test), size)
    ]
    options = {
        "study": run.study,
        "directory": run.directory,
        "trials": waiting,
        "rows": test["row"].to_numpy(),
        "eyes": eyes,
    }
    cams: dict[int, np.ndarray] = {}
    columns = measure_names(run.study.explain.scaling, eyes is not None, run.directory.disc.is_file())
    measures = {index: np.full((len(test), len(columns)), np.nan) for index in range(len(waiting))}
    left = dict.fromkeys(measures, len(test))
    seconds = [run.durations.maps.get(trial.name, 1.0) for trial in waiting]
    with run.reporter.stage(
        "explain", len(waiting) * len(test), "maps", run.at_once(sum(seconds), len(waiting))
    ) as stage:
        for result in stream(units, [run.batched(ExplainWorker, options)], batch_size=1, on_wait=stage.note):
            index, positions = int(result["trial"]), result["positions"]
            trial = waiting[index]
            stage.advance(len(positions), run.at_once(seconds[index] * len(positions) / len(test), len(waiting)))
            left[index] -= len(positions)
            if left[index]:
                stage.show(trial.name, f"{len(test) - left[index]}/{len(test)} maps")
            else:
                stage.drop(trial.name)
            if result["error"]:
                if not run.directory.trial(trial).has_failed:  # reported once, even if several batches fail
                    run.fail(trial, f"explain: {result['error']}")
                continue
            cams.setdefault(index, np.zeros((len(test), *result["grid"]), np.float32))
            cams[index][positions] = result["cams"].reshape(-1, *result["grid"])
            measures[index][positions] = result["measures"]
            if left[index] == 0:
                table = pl.DataFrame(measures.pop(index), schema=columns).fill_nan(None)
                _finish(run, trial, test, cams.pop(index), table)


def _finish(run: Run, trial: Trial, test: pl.DataFrame, cams: np.ndarray, measures: pl.DataFrame) -> None:
    folder = run.directory.trial(trial)
    write_array(folder.cams, cams)
    poisoned = not_finite(torch.from_numpy(cams))
    if poisoned:
        run.reporter.console.print(
            f"{escape(trial.name)}: no map for {len(poisoned)} test images, whose tokens are not finite; the first: "
            f"{escape(test['image'][poisoned[0]])}"
        )
    draw_figures(run.study, run.directory, trial, test, cams, measures)
    write_parquet(folder.saliency, pl.concat([test.select("image", "patient_id"), measures], how="horizontal"))


class ExplainWorker(Worker[tuple[VisionTransformer, Entering]]):
    """Streaming step: a trial and `positions` in the test images -> signed maps on the patch grid, and measures."""

    def __init__(
        self,
        study: Study,
        directory: RunDirectory,
        trials: list[Trial],
        rows: np.ndarray,
        eyes: list[str | None] | None,
    ) -> None:
        self.study, self.directory = study, directory
        self.trials, self.rows, self.eyes = trials, rows, eyes
        self.device = worker_device(self.study.resources)
        self.planes = open_array(self.directory.regions)
        self.discs = open_array(directory.disc) if directory.disc.is_file() else None

    def key(self, unit: Row) -> int:
        return int(unit["trial"])

    def load(self, key: int) -> tuple[VisionTransformer, Entering]:
        trial = self.trials[key]
        model = trained_model(trial, self.directory).requires_grad_(False).to(self.device)
        return model, explained_inputs(self.study, self.directory, trial, model)

    def work(self, loaded: tuple[VisionTransformer, Entering], unit: Row) -> list[Row]:
        settings, (model, entering), positions = self.study.explain, loaded, unit["positions"]
        inputs = entering(self.rows[positions])
        with backbones.autocast(self.device):
            signed = settings.open()(model, inputs, settings.target_class)
        eyes = None if self.eyes is None else [self.eyes[position] for position in positions]
        disc = None if self.discs is None else self.discs[positions]
        found = {
            "cams": signed.flatten(1).cpu().numpy(),
            "grid": np.array(signed.shape[1:]),
            "measures": measure(signed, settings.masks(self.planes[positions]), settings.scaling, eyes, disc),
        }
        return [unit | found]

    def failed(self, unit: Row) -> Row:
        nothing = np.zeros((0, 0), np.float32)
        return unit | {"cams": nothing, "grid": np.zeros(2, int), "measures": nothing}
