"""What a study would run, take and need: `--dry-run`. Nothing is decoded, trained, downloaded or started."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import timm
import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import backbones
from benchmark.cells import Cell, cells_of
from benchmark.cohort import read_cohort
from benchmark.config import BackboneChoice, Study
from benchmark.errors import UserError
from benchmark.manifest import SPLITS
from benchmark.splits import split_people
from benchmark.stages.embed import frozen_fronts
from benchmark.stages.segment import open_vessels
from benchmark.synthetic import plan as plan_synthetic

BACKWARD = 2  # a backward pass costs about two forward passes
ACTIVATION_BYTES = 34  # a token and channel of a block keep for the backward pass (Korthikanti et al. 2022, 16-bit)


@dataclass(frozen=True)
class Cost:
    """Rough: seconds on one device, bytes on it, trainable parameters."""

    seconds: float
    memory: float
    trainable: int


def print_plan(study: Study, out: Path, cluster: str | None, console: Console) -> None:
    """Print cells, images, devices, estimated time and memory, and what is missing.

    Raises:
        UserError: the manifest has faults.
    """
    sizes, images = _images(study)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cells = cells_of(study)
    costs = {cell: _cost(study, cell, sizes, device) for cell in cells}
    embedding, disk = _embedding(study, sizes, device)

    console.print(f"[bold]{escape(study.name)}[/]: {len(cells)} cells, run directory {escape(str(out))}")
    console.print(images)
    table = Table(box=box.SIMPLE_HEAD, caption="Rough: measured on one block of each backbone on this machine.")
    table.add_column("cell", overflow="fold")
    for heading in ("trains", "memory", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cell, cost in costs.items():
        table.add_row(cell.name, f"{cost.trainable:,}", _bytes(cost.memory), _duration(cost.seconds))
    console.print(table)
    devices = torch.cuda.device_count() or max(1, (os.cpu_count() or 1) // study.resources.cpus)
    total = (embedding + sum(cost.seconds for cost in costs.values())) / devices
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, no GPU found"
    console.print(
        f"Device: {devices} x {where}. Embeddings once for all cells: {_duration(embedding)}, {_bytes(disk)} on disk. "
        f"In all about {_duration(total)}, segmentation not counted."
    )
    if cluster:
        console.print("With --cluster the time divides by the cluster's devices; the estimate is for this machine's.")
    console.print(*(_weights(choice) for choice in study.backbones), sep="\n")
    console.print(_vessels(study))


def _images(study: Study) -> tuple[dict[str, int], str]:
    settings, absent = study.cohort, []
    if settings.synthetic is not None:
        drawn = pl.DataFrame(plan_synthetic(settings.synthetic)).with_columns(pl.lit(None, pl.String).alias("split"))
        rows = split_people(drawn, settings.shares)
    else:
        assert settings.manifest is not None
        rows = read_cohort(study, settings.manifest)
        absent = [path for path in rows["path"] if not Path(path).is_file()]
        if len(absent) > settings.max_rejected * len(rows):
            raise UserError(
                f"{len(absent)} of {len(rows)} image files are missing, the first: {absent[0]}; "
                "relative paths count from --image-dir, else from the manifest's folder"
            )
    parts = {split: rows.filter(pl.col("split") == split) for split in SPLITS}
    told = ", ".join(f"{split} {len(part)} ({part['label'].sum()} positive)" for split, part in parts.items())
    source = "synthetic cohort" if settings.synthetic else str(settings.manifest)
    lost = f"; [yellow]files missing: {len(absent)}[/], the first: {escape(absent[0])}" if absent else ""
    return (
        {split: len(part) for split, part in parts.items()},
        f"Images: {len(rows)} of {rows['patient_id'].n_unique()} people from {escape(source)}; {told}{lost}",
    )


def _cost(study: Study, cell: Cell, sizes: dict[str, int], device: torch.device) -> Cost:
    backbone, strategy, recipe = backbones.get(cell.backbone.name), cell.strategy.open(), study.training
    start = strategy.frozen_blocks(backbone.depth)
    with torch.device("meta"):
        tower = timm.create_model(backbone.architecture, img_size=224, num_classes=2, **dict(backbone.overrides))
        module = strategy.apply(tower)
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    block = _block_seconds(cell.backbone.name, device)
    trained = (backbone.depth - start) * block
    an_epoch = (1 + BACKWARD) * sizes["train"] * trained + sizes["val"] * trained
    explained = sizes["test"] * backbone.depth * block
    tokens = tower.patch_embed.num_patches + tower.num_prefix_tokens
    activations = recipe.batch_size * tokens * backbone.width * (backbone.depth - start) * ACTIVATION_BYTES
    weights = 4 * backbone.parameters + 12 * trainable  # float32; a gradient and two moments for what trains
    return Cost(recipe.epochs * an_epoch + explained, weights + activations, trainable)


def _embedding(study: Study, sizes: dict[str, int], device: torch.device) -> tuple[float, float]:
    views = sum(sizes.values()) + sizes["train"] * (study.training.views - 1)
    seconds = disk = 0.0
    for choice in study.backbones:
        backbone, fronts = backbones.get(choice.name), frozen_fronts(study, choice.name)
        if fronts:
            seconds += views * max(fronts) * _block_seconds(choice.name, device)
            disk += sum(2 * views * backbone.width * (1 if front == backbone.depth else 257) for front in fronts)
    return seconds, disk


_MEASURED: dict[str, float] = {}


@torch.inference_mode()
def _block_seconds(name: str, device: torch.device, batch: int = 8) -> float:
    """Seconds for one image through one block, the best of three batches."""
    if name not in _MEASURED:
        backbone = backbones.get(name)
        sizes = dict(backbone.overrides) | {"depth": 1}
        tower = timm.create_model(backbone.architecture, img_size=224, num_classes=0, **sizes).to(device).eval()
        tokens = torch.randn(batch, 257, backbone.width, device=device)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                tower.blocks[0](tokens)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append((time.perf_counter() - began) / batch)
        _MEASURED[name] = min(times)
    return _MEASURED[name]


def _weights(choice: BackboneChoice) -> str:
    backbone = backbones.get(choice.name)
    licence = f" Licence: {backbone.licence}." if "non-commercial" in backbone.licence else ""
    if choice.weights is not None:
        held = "found" if choice.weights.is_file() else "[red]missing: no such file[/]"
        return f"Weights of {choice.name}: {escape(str(choice.weights))} {held}.{licence}"
    if backbone.weights is None:
        return f"Weights of {choice.name}: untrained, none needed."
    if backbone.weights.cached():
        return f"Weights of {choice.name}: {backbone.weights} is in the hub's cache.{licence}"
    gate = ", gated: accept its terms there and set HF_TOKEN" if backbone.weights.gated else ""
    return (
        f"Weights of {choice.name}: [yellow]missing here[/], will be downloaded from huggingface.co/{backbone.weights}"
        f"{gate}; or name a local file as `weights:`.{licence}"
    )


def _vessels(study: Study) -> str:
    try:
        provenance = open_vessels(study).provenance
    except UserError as error:
        return f"[red]{escape(str(error))}[/]"
    details = ", ".join(f"{key} {value}" for key, value in provenance.items() if key != "name")
    return f"Vessels: {escape(provenance['name'] + (f' ({details})' if details else ''))}; ready."


def _bytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
