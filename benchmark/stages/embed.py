"""embed: the frozen front of every backbone, run once over all images and their augmented views."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import backbones
from benchmark.config import Resources, Study
from benchmark.device import worker_device
from benchmark.run import Run
from benchmark.rundir import create_array, open_array, write_array
from benchmark.streaming import Batched, Row, stream
from finetune.inputs import Images, plan_views


def frozen_fronts(study: Study, backbone: str) -> list[int]:
    """The blocks where this study's strategies begin to train, without those that train the tower from its start."""
    depth = backbones.get(backbone).depth
    return sorted({strategy.open().frozen_blocks(depth) for strategy in study.strategies} - {0})


def embed(run: Run) -> None:
    """Fill `embeddings/`; blocks that are there already are kept."""
    missing = {
        choice.name: [block for block in frozen_fronts(run.study, choice.name) if not folder.block(block).is_file()]
        for choice in run.study.backbones
        for folder in [run.directory.embeddings(choice.name)]
    }
    wanted = [choice for choice in run.study.backbones if missing[choice.name]]
    if not wanted:
        run.reporter.skip("embed", "complete, or every strategy trains the whole tower")
        return
    cohort = pl.read_parquet(run.directory.cohort)
    train = cohort.filter(pl.col("split") == "train")["row"].to_numpy()
    entry = plan_views(len(open_array(run.directory.images)), train, run.study.training.views)
    rows, views = np.nonzero(entry >= 0)
    size = run.study.resources.batch_size
    # Backbone after backbone, so that an actor builds each tower once.
    units = [
        {"backbone": index, "rows": rows[i : i + size], "views": views[i : i + size]}
        for index in range(len(wanted))
        for i in range(0, len(rows), size)
    ]
    options = {
        "choices": [choice.model_dump() for choice in wanted],
        "blocks": [missing[choice.name] for choice in wanted],
        "images": run.directory.images,
        "seed": run.study.training.view_seed,
        "resources": run.study.resources,
    }
    actors = Batched(EmbedWorker, options, run.actors(), run.study.resources.cpus, run.study.resources.gpus)
    stores: dict[tuple[int, int], np.memmap] = {}
    failed: dict[int, str] = {}
    with run.reporter.stage("embed", len(rows) * len(wanted), "views") as stage:
        for result in stream(units, [actors], batch_size=1):
            index, block = int(result["backbone"]), int(result["block"])
            if result["error"]:
                failed.setdefault(index, str(result["error"]))
                continue
            folder = run.directory.embeddings(wanted[index].name)
            if (index, block) not in stores:
                shape = (int(entry.max()) + 1, *result["shape"].tolist())
                stores[index, block] = create_array(folder.draft(block), shape, np.float16)
            entries = entry[result["rows"], result["views"]]
            stores[index, block][entries] = result["values"].reshape(len(entries), *result["shape"])
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


_NOTHING = np.zeros((0, 0), np.float16)


class EmbedWorker:
    """Streaming step: a backbone, `rows` and `views` -> for each block its `values`, (views, -1) float16."""

    def __init__(
        self, choices: list[dict[str, Any]], blocks: list[list[int]], images: Path, seed: int, resources: Resources
    ) -> None:
        self.choices, self.blocks = choices, blocks
        self.images, self.seed = open_array(images), seed
        self.device = worker_device(resources)
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
        backbone = backbones.get(self.choices[index]["name"])
        if index != self.current:
            self.tower = backbone.build(self.choices[index]["weights"]).to(self.device)
            self.inputs = Images(self.images, backbone.normalise, self.seed, self.device)
            self.current = index
        batch = self.inputs.batch(unit["rows"], unit["views"])
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            reached = backbones.encode_at(self.tower, batch, self.blocks[index])
        results = []
        for block, values in reached.items():
            half = values.half().cpu()
            if not torch.isfinite(half).all():
                raise FloatingPointError(f"{backbone.name}: what enters block {block} does not fit into float16")
            shape = np.array(half.shape[1:])
            results.append(unit | {"block": block, "shape": shape, "values": half.flatten(1).numpy(), "error": ""})
        return results
