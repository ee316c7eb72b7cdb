"""embed: the frozen front of every backbone, run once over all images and their augmented views."""

import math
import shutil
from collections.abc import Mapping

import numpy as np
import polars as pl
import torch
from rich.markup import escape

import backbones
from benchmark.cells import Cell
from benchmark.config import BackboneChoice, Study
from benchmark.device import worker_device
from benchmark.run import Run
from benchmark.rundir import RunDirectory, create_array, open_array, write_array
from benchmark.streaming import Row, stream
from benchmark.weights import build_tower
from finetune.footprint import Footprint
from finetune.inputs import Images, plan_views


def frozen_fronts(study: Study, backbone: str) -> list[int]:
    """The blocks where this study's strategies begin to train, without those that train the tower from its start."""
    depth = backbones.get(backbone).depth
    return sorted({strategy.open().frozen_blocks(depth) for strategy in study.strategies} - {0})


def entry_shape(backbone: str, block: int) -> tuple[int, ...]:
    """Of what enters a block: (tokens, width), or at the depth of the tower the pooled features (width,)."""
    chosen = backbones.get(backbone)
    return (chosen.width,) if block == chosen.depth else (chosen.tokens, chosen.width)


def plan_cache(study: Study, images: int, train_images: int, free_bytes: float) -> dict[str, list[int]]:
    """By backbone, the blocks whose cache fits the budget: the least first, so that pooled features always come in.

    Args:
        free_bytes: on the disk of the run directory, what caches of this run hold already included.
    """
    entries = images + train_images * (study.training.views - 1)
    costs = sorted(
        (2 * entries * math.prod(entry_shape(choice.name, block)), choice.name, block)
        for choice in study.backbones
        for block in frozen_fronts(study, choice.name)
    )
    budget = min(study.embeddings.max_gib * 2**30, 0.9 * free_bytes)
    planned: dict[str, list[int]] = {choice.name: [] for choice in study.backbones}
    for cost, name, block in costs:
        if cost <= budget:
            budget -= cost
            planned[name].append(block)
    return planned


def trains_from_images(cell: Cell, cached: Mapping[str, list[int]]) -> bool:
    """Whether a cell runs its frozen blocks anew in every epoch, because `plan_cache` does not keep their output."""
    start = cell.strategy.open().frozen_blocks(cell.backbone.open().depth)
    return start > 0 and start not in cached[cell.backbone.name]


def embed(run: Run) -> None:
    """Fill `embeddings/`; blocks that are there already are kept, and those beyond the budget left out."""
    cohort = pl.read_parquet(run.directory.cohort)
    train = cohort.filter(pl.col("split") == "train")["row"].to_numpy()
    entry = plan_views(len(open_array(run.directory.images)), train, run.study.training.views)
    free = shutil.disk_usage(run.directory.path).free + run.directory.embedded_bytes
    planned = plan_cache(run.study, len(entry), len(train), free)
    usable = {cell.backbone.name for cell in run.cells()}
    missing = {
        name: [
            block for block in blocks if name in usable and not run.directory.embeddings(name).block(block).is_file()
        ]
        for name, blocks in planned.items()
    }
    _say_what_is_left_out(run, planned)
    wanted = [choice for choice in run.study.backbones if missing[choice.name]]
    if not wanted:
        run.reporter.skip("embed", "complete, or every strategy trains the whole tower")
        return
    rows, views = np.nonzero(entry >= 0)
    size = run.study.resources.batch_size
    # Backbone after backbone, so that an actor builds each tower once.
    units = [
        {"backbone": index, "rows": rows[i : i + size], "views": views[i : i + size]}
        for index in range(len(wanted))
        for i in range(0, len(rows), size)
    ]
    options = {
        "study": run.study,
        "directory": run.directory,
        "choices": wanted,
        "blocks": [missing[choice.name] for choice in wanted],
    }
    stores: dict[tuple[int, int], np.memmap] = {}
    failed: dict[int, str] = {}
    with run.reporter.stage("embed", len(rows) * len(wanted), "views") as stage:
        for result in stream(units, [run.batched(EmbedWorker, options)], batch_size=1):
            index, block, values = int(result["backbone"]), int(result["block"]), result["values"]
            if result["error"]:
                failed.setdefault(index, str(result["error"]))
                continue
            folder = run.directory.embeddings(wanted[index].name)
            if (index, block) not in stores:
                shape = (int(entry.max()) + 1, *result["shape"].tolist())
                stores[index, block] = create_array(folder.draft(block), shape, values.dtype)
            entries = entry[result["rows"], result["views"]]
            stores[index, block][entries] = values.reshape(len(entries), *result["shape"])
            stage.say(wanted[index].name)
            stage.advance(len(entries) / len(missing[wanted[index].name]))
    for cell in run.cells():
        reason = failed.get(wanted.index(cell.backbone)) if cell.backbone in wanted else None
        if reason is not None:
            run.fail(cell, f"embed: {reason}")
    for (index, block), store in stores.items():
        if index in failed:
            continue
        store.flush()
        folder = run.directory.embeddings(wanted[index].name)
        write_array(folder.entry, entry)
        folder.draft(block).rename(folder.block(block))


def _say_what_is_left_out(run: Run, planned: Mapping[str, list[int]]) -> None:
    for cell in run.cells():
        if trains_from_images(cell, planned):
            run.reporter.console.print(
                f"{escape(cell.name)} trains from images: its embeddings do not fit into embeddings.max_gib "
                f"({run.study.embeddings.max_gib:g}) and nine tenths of the free disk"
            )


_NOTHING = np.zeros((0, 0), np.float16)


class EmbedWorker:
    """Streaming step: a backbone, `rows` and `views` -> for each block its `values`, (views, -1) float16 or int16."""

    def __init__(
        self, study: Study, directory: RunDirectory, choices: list[BackboneChoice], blocks: list[list[int]]
    ) -> None:
        self.study, self.directory = study, directory
        self.choices, self.blocks = choices, blocks
        self.images = open_array(directory.images)
        self.device = worker_device(study.resources)
        self.footprint = Footprint(study.resources.batch_size)
        self.current: int | None = None

    @torch.inference_mode()
    def __call__(self, units: list[Row]) -> list[Row]:
        results = []
        for unit in units:
            try:
                results += self._embed(unit)
            except (RuntimeError, ArithmeticError, ValueError) as error:  # one backbone's trouble is not the others'
                reason = f"{type(error).__name__}: {error}"
                results.append(unit | {"block": -1, "shape": np.zeros(1, int), "values": _NOTHING, "error": reason})
        return results

    def _embed(self, unit: Row) -> list[Row]:
        index = int(unit["backbone"])
        choice = self.choices[index]
        if index != self.current:
            self.tower = build_tower(choice, self.directory).to(self.device)
            self.inputs = Images(self.images, choice.open().normalise, self.study.training.view_seed, self.device)
            self.current = index
        dtype = getattr(torch, self.study.embeddings.dtype)
        results = []
        for block, values in self.footprint.run(self._reached, unit["rows"], unit["views"]).items():
            stored = values.to(dtype).cpu()
            if not torch.isfinite(stored).all():
                raise FloatingPointError(
                    f"{choice.name}: what enters block {block} does not fit into {self.study.embeddings.dtype}; "
                    "set embeddings.dtype to bfloat16"
                )
            shape = np.array(stored.shape[1:])
            array = (stored.view(torch.int16) if dtype == torch.bfloat16 else stored).flatten(1).numpy()
            results.append(unit | {"block": block, "shape": shape, "values": array, "error": ""})
        return results

    def _reached(self, rows: np.ndarray, views: np.ndarray) -> dict[int, torch.Tensor]:
        assert self.current is not None
        size, blocks = self.footprint.micro_batch, self.blocks[self.current]
        parts = []
        for first in range(0, len(rows), size):
            batch = self.inputs.batch(rows[first : first + size], views[first : first + size])
            with backbones.autocast(self.device):
                parts.append(backbones.encode_at(self.tower, batch, blocks))
        return {block: torch.cat([part[block] for part in parts]) for block in blocks}
