"""embed: the frozen blocks of every backbone, run once over all images and their augmented views.

The same pass keeps the block inputs from which explanations of the test images start."""

import shutil

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
    cohort = read_parquet(run.directory.cohort)
    train, test = (of_split(cohort, split)["row"].to_numpy() for split in ("train", "test"))
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
    # The file of each block, and the index in it of each view of each row.
    targets = {
        (choice.name, block): (run.directory.embeddings(choice.name).block(block), entry)
        for choice in wanted
        for block in missing.every[choice.name]
    } | {
        (choice.name, block): (run.directory.embeddings(choice.name).test(block), plan_rows(images, test))
        for choice in wanted
        for block in missing.test[choice.name]
    }
    rows, views = np.nonzero(entry >= 0)
    tested = np.isin(rows, test)
    size = run.study.resources.batch_size
    # One backbone after another, so that an actor builds each model once; test images separately, because they may
    # pass through more blocks.
    units: list[Row] = [
        {"backbone": index, "test": part is tested, "rows": rows[part][batch], "views": views[part][batch]}
        for index, choice in enumerate(wanted)
        for part in ((tested, ~tested) if missing.every[choice.name] else (tested,))
        for batch in batches(part.sum(), size)
    ]
    options = {
        "study": run.study,
        "directory": run.directory,
        "choices": wanted,
        "blocks": [missing.every[choice.name] for choice in wanted],
        "test_blocks": [missing.test[choice.name] for choice in wanted],
    }
    stores: dict[tuple[str, int], ArrayFile] = {}
    failed: dict[tuple[str, int], str] = {}
    with run.reporter.stage("embed", sum(len(unit["rows"]) for unit in units), "views") as stage:
        for result in stream(units, [run.batched(EmbedWorker, options)], batch_size=1, on_wait=stage.note):
            name, block, values = wanted[int(result["backbone"])].name, int(result["block"]), result["values"]
            if result["error"]:
                failed.setdefault((name, block), str(result["error"]))
                continue
            file, table = targets[name, block]
            if (name, block) not in stores:
                shape = (int(table.max()) + 1, *result["shape"].tolist())
                stores[name, block] = create_array(EmbeddingDirectory.draft(file), shape, values.dtype)
            entries = table[result["rows"], result["views"]]
            stores[name, block][entries] = values.reshape(len(entries), *result["shape"])
            stage.say(name)
            stage.advance(len(entries) / len(missing.blocks(name) if result["test"] else missing.every[name]))
    for trial in run.trials():
        reason = failed.get((trial.backbone.name, WHOLE))
        if reason is not None:
            run.fail(trial, f"embed: {reason}")
    for (name, block), store in stores.items():
        if {(name, WHOLE), (name, block)} & failed.keys():
            continue
        store.flush()
        file, _ = targets[name, block]
        write_array(run.directory.embeddings(name).entry, entry)
        EmbeddingDirectory.draft(file).rename(file)
    for (name, block), reason in failed.items():
        if block != WHOLE:
            run.reporter.console.print(f"{escape(name)} is explained from images or an earlier block: {escape(reason)}")


def _missing(run: Run, plan: CachePlan) -> CachePlan:
    """The part of the plan that is not on disk yet and that some trial will read."""
    trials = run.trials()
    waiting = [trial for trial in trials if not run.directory.trial(trial).saliency.is_file()]
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
