"""One cell trained, and one trained cell read back: plain functions that know nothing of scheduling."""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import polars as pl
import torch
from timm.models.vision_transformer import VisionTransformer

import backbones
from benchmark.cells import Cell
from benchmark.config import Study
from benchmark.device import worker_device
from benchmark.rundir import RunDirectory, TrialDirectory, open_array, write_json, write_parquet
from finetune.checkpoint import load_trained, save_trained
from finetune.inputs import Embeddings, Images, Inputs
from finetune.training import Epoch, Split, positive_score, predict_logits, train


def train_cell(study: Study, directory: RunDirectory, cell: Cell, on_epoch: Callable[[Epoch], None]) -> None:
    """Train a cell and write its weights, history and predictions into its trial directory."""
    folder = directory.trial(cell)
    folder.path.mkdir(parents=True, exist_ok=True)
    device = worker_device(study.resources)
    backbone, strategy = backbones.get(cell.backbone.name), cell.strategy.open()
    start = strategy.frozen_blocks(backbone.depth)
    tower = new_tower(cell)
    module = strategy.apply(tower, cell.seed).to(device)

    cohort = pl.read_parquet(directory.cohort)
    inputs = _inputs(study, directory, backbone, start, device)
    rows = cohort["row"].to_numpy()
    labels = np.zeros(rows.max() + 1, dtype=np.int64)
    labels[rows] = cohort["label"].to_numpy()
    split = Split(train=_rows(cohort, "train"), val=_rows(cohort, "val"), labels=labels)
    history = train(module, tower, start, inputs, split, study.training, strategy.learning_rate, cell.seed, on_epoch)

    save_trained(module, folder.path)
    pl.DataFrame([asdict(epoch) for epoch in history]).write_csv(folder.history)
    held_out = cohort.filter(pl.col("split") != "train")
    logits = predict_logits(module, tower, start, inputs, held_out["row"].to_numpy(), study.training.batch_size)
    scores = pl.Series("score", positive_score(logits))
    write_parquet(folder.predictions, held_out.select("image", "patient_id", "label", scores, "split"))
    weights = cell.backbone.weights
    write_json(
        folder.trial,
        {
            "backbone": {"name": backbone.name, "weights": weights, "sha256": weights and backbones.sha256(weights)},
            "strategy": {"name": strategy.name, **asdict(strategy)},  # type: ignore[call-overload]
            "seed": cell.seed,
            "epochs": len(history),
            "best_epoch": max(history, key=lambda epoch: (epoch.val_auc, -epoch.val_loss)).epoch,
            "trainable_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
            "seconds": sum(epoch.seconds for epoch in history),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        },
    )


def trained_tower(cell: Cell, folder: TrialDirectory) -> VisionTransformer:
    """The cell's tower with what it learned, in eval mode, on the CPU."""
    return load_trained(new_tower(cell), folder.path)


def new_tower(cell: Cell) -> VisionTransformer:
    """The cell's tower before training, with a classifier for two classes."""
    tower = backbones.get(cell.backbone.name).build(cell.backbone.weights)
    backbones.attach_classifier(tower, classes=2, seed=cell.seed)
    return tower


def _inputs(
    study: Study, directory: RunDirectory, backbone: backbones.Backbone, start: int, device: torch.device
) -> Inputs:
    if start == 0:
        return Images(open_array(directory.images), backbone.normalise, study.training.view_seed, device)
    cache = directory.embeddings(backbone.name)
    return Embeddings(open_array(cache.block(start)), np.load(cache.entry), device)


def _rows(cohort: pl.DataFrame, split: str) -> np.ndarray:
    return cohort.filter(pl.col("split") == split)["row"].to_numpy()
