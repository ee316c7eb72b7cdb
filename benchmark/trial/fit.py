"""Training of one trial, and reading of a trained one: plain functions that do not depend on scheduling."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import backbones
from benchmark.storage.disk import writing
from benchmark.storage.rundir import RunDirectory, open_array, write_csv, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_csv, read_parquet
from benchmark.trial.cache import explained_from
from benchmark.trial.device import forward_batch, worker_device
from benchmark.trial.weight_files import build_model, read_records
from finetune.footprint import Footprint
from finetune.inputs import Embeddings, FrozenFront, Images, Inputs, batches, plan_rows
from finetune.prepared import Prepared
from finetune.trained import load_trained, save_trained
from finetune.training import Epoch, Split, positive_score, predict_logits, train

# Rows of test images -> the input of the block where an explanation begins, on the model's device.
Entering = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class Fit:
    """A trained trial in memory."""

    prepared: Prepared
    inputs: Inputs
    history: list[Epoch]

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return max(self.history, key=lambda epoch: (epoch.val_auc, -epoch.val_loss))


def fit(
    study: Study, directory: RunDirectory, trial: Trial, learning_rate: float, on_epoch: Callable[[Epoch], None]
) -> Fit:
    """Train a trial; nothing is written."""
    device = worker_device(study.resources)
    strategy = trial.strategy.open()
    model = new_model(trial, directory)
    start = strategy.frozen_blocks(len(model.blocks))
    prepared = Prepared(strategy.apply(model, trial.seed).to(device), model, start)
    cohort = read_parquet(directory.cohort)
    rows = cohort["row"].to_numpy()
    labels = np.zeros(rows.max() + 1, dtype=np.int64)
    labels[rows] = cohort["label"].to_numpy()
    split = Split(train=_rows(cohort, "train"), val=_rows(cohort, "val"), labels=labels)
    inputs = _inputs(study, directory, trial, model, start)
    history = train(
        prepared, inputs, split, study.training, learning_rate, trial.seed,
        layer_decay=strategy.layer_decay, on_epoch=on_epoch,
    )  # fmt: skip
    return Fit(prepared, inputs, history)


def train_trial(study: Study, directory: RunDirectory, trial: Trial, on_epoch: Callable[[Epoch], None]) -> None:
    """Train a trial and write its weights, history and predictions into its directory."""
    folder = directory.trial(trial)
    folder.path.mkdir(parents=True, exist_ok=True)
    learning_rate = chosen_learning_rate(study, directory, trial)
    done = fit(study, directory, trial, learning_rate, on_epoch)

    with writing(folder.path):
        save_trained(done.prepared.module, folder.path, backbone=trial.backbone.name)
    write_csv(folder.history, pl.DataFrame([asdict(epoch) for epoch in done.history]))
    held_out = read_parquet(directory.cohort).filter(pl.col("split") != "train")
    logits = predict_logits(done.prepared, done.inputs, held_out["row"].to_numpy(), done.history[-1].micro_batch)
    scores = pl.Series("score", positive_score(logits))
    write_parquet(folder.predictions, held_out.select("image", "patient_id", "label", scores, "split"))
    strategy = trial.strategy.open()
    device = done.prepared.device
    write_json(
        folder.record,
        {
            "backbone": {"name": trial.backbone.name} | (read_records(directory)[trial.backbone.name] or {}),
            "strategy": {"name": strategy.name, **asdict(strategy)},  # type: ignore[call-overload]
            "seed": trial.seed,
            "learning_rate": learning_rate,
            "inputs": {Embeddings: "embeddings", FrozenFront: "images", Images: "images"}[type(done.inputs)],
            "epochs": len(done.history),
            "best_epoch": done.best.epoch,
            "trainable_parameters": sum(parameter.numel() for parameter in done.prepared.trainable),
            "seconds": sum(epoch.seconds for epoch in done.history),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "peak_memory": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        },
    )


def apply_trial(study: Study, directory: RunDirectory, trial: Trial) -> None:
    """Score the images of an external cohort with a trial of `directory.trained_in`; nothing is fitted.

    Its predictions are those of the validation images of that run, by which thresholds and recalibrations are carried
    over, and then those of the test images here.
    """
    folder, trained = directory.trial(trial), directory.trained_in.trial(trial)
    folder.path.mkdir(parents=True, exist_ok=True)
    model = trained_model(trial, directory).to(worker_device(study.resources))
    start = trial.strategy.open().frozen_blocks(len(model.blocks))
    inputs = _inputs(study, directory, trial, model, start)
    test = of_split(read_parquet(directory.cohort), "test")
    footprint = Footprint(forward_batch(next(model.parameters()).device, study.resources.batch_size))
    prepared, rows = Prepared(model, model, start), test["row"].to_numpy()
    logits = footprint.run(lambda: predict_logits(prepared, inputs, rows, footprint.micro_batch))
    scores = pl.Series("score", positive_score(logits))
    if not np.isfinite(scores.to_numpy()).all():
        image = test["image"][int(np.flatnonzero(~np.isfinite(scores.to_numpy()))[0])]
        raise FloatingPointError(f"the model's output is not finite, first for {image}")
    found = test.select("image", "patient_id", "label", scores, "split")
    validation = of_split(read_parquet(trained.predictions), "val")
    write_parquet(folder.predictions, pl.concat([validation, found]))
    write_json(folder.record, json.loads(trained.record.read_text(encoding="utf-8")))


def chosen_learning_rate(study: Study, directory: RunDirectory, trial: Trial) -> float:
    """The strategy's default; if the study searches, the candidate with the best epoch by validation AUC, then loss."""
    if study.search is None:
        return trial.strategy.open().learning_rate
    tried = read_csv(directory.search(trial)).drop_nulls("val_auc")
    tried = tried.sort("val_auc", "val_loss", "learning_rate", descending=[True, False, False])
    return float(tried["learning_rate"][0])


def trained_model(trial: Trial, directory: RunDirectory) -> VisionTransformer:
    """The trial's trained model, in eval mode, on the CPU."""
    folder = directory.trained_in.trial(trial).path
    return load_trained(new_model(trial, directory), folder, backbone=trial.backbone.name)


def new_model(trial: Trial, directory: RunDirectory) -> VisionTransformer:
    """The trial's model before training, with a classifier for two classes."""
    model = build_model(trial.backbone, directory)
    backbones.attach_classifier(model, classes=2, seed=trial.seed)
    return model


def explained_inputs(study: Study, directory: RunDirectory, trial: Trial, model: VisionTransformer) -> Entering:
    """From test images to the input of the block where the study's explanation begins.

    The computation starts at the block that `explained_from` chooses from those on disk, whose inputs are rounded to
    the cache's type, or else at the images. `model` is the trial's trained model; its blocks before a cached block are
    never run.
    """
    device = next(model.parameters()).device
    start = study.explain.open().start(len(model.blocks))
    begin = explained_block(study, directory, trial, start)
    inputs: Inputs
    if begin == 0:
        inputs = from_images(study, trial, model, open_array(directory.images), 0)
    else:
        cache = directory.embeddings(trial.backbone.name)
        file, entry = cache.block(begin), np.load(cache.entry)
        if not file.is_file():
            test = _rows(read_parquet(directory.shared.cohort), "test")
            file, entry = cache.test(begin), plan_rows(len(entry), test)
        inputs = Embeddings.open(file, entry, getattr(torch, study.embeddings.dtype), device, once=True)
    return continued(model, inputs, begin, start)


def pooled_features(study: Study, directory: RunDirectory, trial: Trial, rows: np.ndarray) -> np.ndarray:
    """What the classifier of a trained trial reads of each image without augmentation, (k, width) float32.

    Args:
        rows: (k,) int, rows of the images; training starts from the same inputs.
    """
    model = trained_model(trial, directory).requires_grad_(False).to(worker_device(study.resources))
    depth = len(model.blocks)
    start = trial.strategy.open().frozen_blocks(depth)
    entering = continued(model, _inputs(study, directory, trial, model, start), start, depth)
    pieces = batches(len(rows), study.resources.batch_size)
    return np.concatenate([entering(rows[piece]).float().cpu().numpy() for piece in pieces])


def explained_block(study: Study, directory: RunDirectory, trial: Trial, start: int) -> int:
    """The block whose cached input the run's explanation of a trial begins with; 0: the images.

    Args:
        start: the block where the method of explanation begins.
    """
    cache = directory.embeddings(trial.backbone.name)
    cached = [block for block in range(1, start + 1) if cache.block(block).is_file() or cache.test(block).is_file()]
    return explained_from(study, trial, cached)


def continued(model: VisionTransformer, inputs: Inputs, begin: int, start: int) -> Entering:
    """From rows of `inputs`, which enter block `begin`, to the input of block `start`; no image is augmented."""
    device = next(model.parameters()).device

    @torch.inference_mode()
    def entering(rows: np.ndarray) -> Tensor:
        size = len(rows) if begin == start else forward_batch(device, len(rows))
        parts = []
        for piece in batches(len(rows), size):
            part = rows[piece]
            with backbones.autocast(device):
                entering = inputs.batch(part, np.zeros_like(part))
                parts.append(backbones.encode_until(model, entering, start, begin))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    return entering


def from_images(study: Study, trial: Trial, model: VisionTransformer, images: np.ndarray, start: int) -> Inputs:
    """The input of block `start`, computed from images and rounded as the cache rounds it.

    Args:
        model: the trial's model, before or after training; the trial trains none of its blocks before `start`.
        images: (n, 224, 224, 3) uint8; may be memory-mapped.
    """
    device = next(model.parameters()).device
    plain = Images(images, trial.backbone.open().normalise, study.training.view_seed, device)
    return FrozenFront(plain, model, start, getattr(torch, study.embeddings.dtype)) if start else plain


def _inputs(study: Study, directory: RunDirectory, trial: Trial, model: VisionTransformer, start: int) -> Inputs:
    """Cached embeddings if the budget allowed them, or else images; both give the same numbers."""
    cache = directory.embeddings(trial.backbone.name)
    if start == 0 or not cache.block(start).is_file():
        return from_images(study, trial, model, open_array(directory.images), start)
    device = next(model.parameters()).device
    return Embeddings.open(cache.block(start), np.load(cache.entry), getattr(torch, study.embeddings.dtype), device)


def _rows(cohort: pl.DataFrame, split: str) -> np.ndarray:
    return of_split(cohort, split)["row"].to_numpy()
