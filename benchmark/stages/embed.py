"""embed: the frozen blocks of every backbone, run once over all images and their augmented views.

The same pass keeps the block inputs from which explanations of the test images start."""

import shutil
from pathlib import Path

import numpy as np
import torch
from rich.markup import escape
from timm.models.vision_transformer import VisionTransformer

import backbones
from benchmark.scheduling.streaming import Row, stream
from benchmark.stages.run import Run
from benchmark.stages.worker import Worker
from benchmark.storage.disk import ArrayFile
from benchmark.storage.rundir import EmbeddingDirectory, RunDirectory, create_array, open_array, write_array
from benchmark.study.config import BackboneChoice, Study
from benchmark.study.splits import of_split
from benchmark.tables import read_parquet
from benchmark.trial.cache import CachePlan, explained_from, explained_fronts, plan_cache, trains_from_images
from benchmark.trial.device import forward_batch, worker_device
from benchmark.trial.weight_files import build_model
from finetune.footprint import Footprint
from finetune.inputs import Images, batches, plan_rows, plan_views


def embed(run: Run) -> None:
    """Fill `embeddings/`; existing files are kept, and what exceeds the budget is left out."""
    # 1. Plan: what of the cache fits, is missing, and will be read.
    cohort = read_parquet(run.directory.cohort)
    train, test = (of_split(cohort, split)["row"].to_numpy() for split in ("train", "test"))
    if run.study.splits is not None:  # sooner or later, every image is trained on and tested
        train = test
    images = len(open_array(run.directory.images))
    entry = plan_views(images, train, run.study.training.views)
    free = shutil.disk_usage(run.directory.path).free + run.directory.embedded_bytes
    plan = plan_cache(run.study, images, len(train), len(test), free)
    missing = _missing(run, plan)
    _say_what_is_left_out(run, plan)
    wanted = [choice for choice in run.study.backbones if missing.blocks(choice.name)]
    if not wanted:
        run.reporter.skip("embed", "complete, or every strategy trains the whole model")
        return

    # 2. Stream the views through the backbones.
    units = _units(entry, test, [bool(missing.every[choice.name]) for choice in wanted], run.study.resources.batch_size)
    options = {
        "study": run.study,
        "directory": run.directory,
        "choices": wanted,
        "blocks": [missing.every[choice.name] for choice in wanted],
        "test_blocks": [missing.test[choice.name] for choice in wanted],
    }
    writer = _Writer(run.directory, missing, entry, plan_rows(images, test))
    each = [run.durations.views.get(choice.name, 1.0) for choice in wanted]  # seconds per view
    seconds = sum(len(unit["rows"]) * each[unit["backbone"]] for unit in units)
    with run.reporter.stage(
        "embed", sum(len(unit["rows"]) for unit in units), "views", run.at_once(seconds, len(units))
    ) as stage:
        for result in stream(units, [run.batched(EmbedWorker, options)], batch_size=1, on_wait=stage.note):
            backbone = int(result["backbone"])
            name = wanted[backbone].name
            written = writer.write(name, result)
            if written:
                stage.say(name)
                views = written / len(missing.blocks(name) if result["test"] else missing.every[name])
                stage.advance(views, run.at_once(views * each[backbone], len(units)))

    # 3. Complete the files, and note what failed.
    writer.finish()
    for (name, block), reason in writer.failed.items():
        if block != WHOLE:
            run.reporter.console.print(f"{escape(name)} is explained from images or an earlier block: {escape(reason)}")
    for trial in run.trials():
        reason = writer.failed.get((trial.backbone.name, WHOLE), "")
        if reason:
            run.fail(trial, f"embed: {reason}")


def _units(entry: np.ndarray, test: np.ndarray, every: list[bool], size: int) -> list[Row]:
    """The batches of work, one backbone after another, so that an actor builds each model once.

    Test images come separately, because they may pass through more blocks.

    Args:
        entry: as `EmbeddingDirectory.entry`; views that it has are computed.
        test: rows of the test images.
        every: for each backbone, whether a block of all images is missing; else test images alone are computed.
        size: views in a batch.
    """
    rows, views = np.nonzero(entry >= 0)
    tested = np.isin(rows, test) & (views == 0)  # with folds, test images are also trained on, augmented
    return [
        {"backbone": index, "test": part is tested, "rows": rows[part][batch], "views": views[part][batch]}
        for index, all_images in enumerate(every)
        for part in ((tested, ~tested) if all_images else (tested,))
        for batch in batches(part.sum(), size)
    ]


class _Writer:
    """Writes results into drafts, which become the files of the cache at the end.

    Attributes:
        failed: (backbone, block) -> the first error; the block is `WHOLE` if all blocks of the backbone failed.
    """

    def __init__(self, directory: RunDirectory, missing: CachePlan, entry: np.ndarray, tested: np.ndarray) -> None:
        self._directory, self._entry = directory, entry
        # The file of each block, and the index in it of each view of each row.
        self._targets: dict[tuple[str, int], tuple[Path, np.ndarray]] = {}
        for name in missing.every:
            folder = directory.embeddings(name)
            self._targets |= {(name, block): (folder.block(block), entry) for block in missing.every[name]}
            self._targets |= {(name, block): (folder.test(block), tested) for block in missing.test[name]}
        self._drafts: dict[tuple[str, int], ArrayFile] = {}
        self.failed: dict[tuple[str, int], str] = {}

    def write(self, name: str, result: Row) -> int:
        """Write one block's values of one batch, or note its error; returns how many views were written."""
        key = name, int(result["block"])
        if result["error"]:
            self.failed.setdefault(key, str(result["error"]))
            return 0
        file, table = self._targets[key]
        if key not in self._drafts:
            shape = (int(table.max()) + 1, *result["shape"].tolist())
            self._drafts[key] = create_array(EmbeddingDirectory.draft(file), shape, result["values"].dtype)
        entries = table[result["rows"], result["views"]]
        self._drafts[key][entries] = result["values"].reshape(len(entries), *result["shape"])
        return len(entries)

    def finish(self) -> None:
        """Turn the drafts without an error into files."""
        for (name, block), draft in self._drafts.items():
            if {(name, WHOLE), (name, block)} & self.failed.keys():
                continue
            draft.flush()
            file, _ = self._targets[name, block]
            write_array(self._directory.embeddings(name).entry, self._entry)
            EmbeddingDirectory.draft(file).rename(file)


def _missing(run: Run, plan: CachePlan) -> CachePlan:
    """The part of the plan that is not on disk yet and that some trial will read."""
    trials = run.trials()
    waiting = [trial for trial in trials if not run.directory.trial(trial).is_explained]
    every, test = {}, {}
    for choice in run.study.backbones:
        folder, usable = run.directory.embeddings(choice.name), any(trial.backbone == choice for trial in trials)
        every[choice.name] = [
            block for block in plan.every[choice.name] if usable and not folder.block(block).is_file()
        ]
        test[choice.name] = [
            block
            for block in plan.test[choice.name]
            if any(trial.backbone == choice and explained_from(run.study, trial, [block]) for trial in waiting)
            and not (folder.block(block).is_file() or folder.test(block).is_file())
        ]
    return CachePlan(every, test)


def _say_what_is_left_out(run: Run, plan: CachePlan) -> None:
    beyond = f"not fit into embeddings.max_gib ({run.study.embeddings.max_gib:g}) and nine tenths of free disk space"
    for trial in run.trials():
        if trains_from_images(trial, plan):
            run.reporter.console.print(f"{escape(trial.name)} trains from images: its embeddings do {beyond}")
    for name in {trial.backbone.name: None for trial in run.trials()}:
        for block in set(explained_fronts(run.study, name)) - set(plan.blocks(name)):
            run.reporter.console.print(
                f"{escape(name)} is explained from images or an earlier block: the test images' input of its block "
                f"{block} does {beyond}"
            )


WHOLE = -1  # in place of a block: all blocks of the backbone failed


class EmbedWorker(Worker[tuple[VisionTransformer, Images]]):
    """Streaming step: a backbone, `rows` and `views` -> for each block its `values`, (views, -1) float16 or int16.

    `test_blocks` are kept for `test` units only. If one of them does not fit into the type, only that block fails,
    because without it explanations only take longer.
    """

    def __init__(
        self,
        study: Study,
        directory: RunDirectory,
        choices: list[BackboneChoice],
        blocks: list[list[int]],
        test_blocks: list[list[int]],
    ) -> None:
        self.study, self.directory = study, directory
        self.choices, self.blocks, self.test_blocks = choices, blocks, test_blocks
        self.images = open_array(directory.images)
        self.device = worker_device(study.resources)
        self.footprint = Footprint(forward_batch(self.device, study.resources.batch_size))

    def key(self, unit: Row) -> int:
        return int(unit["backbone"])

    def load(self, key: int) -> tuple[VisionTransformer, Images]:
        choice = self.choices[key]
        model = build_model(choice, self.directory).to(self.device)
        return model, Images(self.images, choice.open().normalise, self.study.training.view_seed, self.device)

    @torch.inference_mode()
    def work(self, loaded: tuple[VisionTransformer, Images], unit: Row) -> list[Row]:
        index = int(unit["backbone"])
        dtype = getattr(torch, self.study.embeddings.dtype)
        results = []
        blocks = [*self.blocks[index], *(self.test_blocks[index] if unit["test"] else ())]
        for block, values in self.footprint.run(self._reached, loaded, unit["rows"], unit["views"], blocks).items():
            stored, error = values.to(dtype).cpu(), ""
            if not torch.isfinite(stored).all():
                error = (
                    f"{self.choices[index].name}: the input of block {block} exceeds the range of "
                    f"{self.study.embeddings.dtype}; set embeddings.dtype to bfloat16"
                )
                if block in self.blocks[index]:
                    raise FloatingPointError(error)
            shape = np.array(stored.shape[1:])
            array = (stored.view(torch.int16) if dtype == torch.bfloat16 else stored).flatten(1).numpy()
            results.append(unit | {"block": block, "shape": shape, "values": array, "error": error})
        return results

    def failed(self, unit: Row) -> Row:
        return unit | {"block": WHOLE, "shape": np.zeros(1, int), "values": np.zeros((0, 0), np.float16)}

    def _reached(
        self, loaded: tuple[VisionTransformer, Images], rows: np.ndarray, views: np.ndarray, blocks: list[int]
    ) -> dict[int, torch.Tensor]:
        (model, inputs), size = loaded, self.footprint.micro_batch
        parts = []
        for piece in batches(len(rows), size):
            batch = inputs.batch(rows[piece], views[piece])
            with backbones.autocast(self.device):
                parts.append(backbones.encode_at(model, batch, blocks))
        return {block: torch.cat([part[block] for part in parts]) for block in blocks}
