"""The training loop, the same for every strategy and every kind of input."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from backbones import autocast, finish_from
from finetune.footprint import Footprint
from finetune.inputs import Inputs, batches
from finetune.prepared import Prepared
from finetune.recipe import Recipe
from stats.metrics import auc


@dataclass(frozen=True)
class Epoch:
    """One row of a trial's history.

    Attributes:
        epoch: number of the epoch, from 1.
        train_loss: mean cross-entropy over the training images.
        val_loss: mean cross-entropy over the validation images.
        val_auc: AUC on the validation images.
        learning_rate: the classifier's learning rate at the epoch's end.
        micro_batch: images on the device at once at the epoch's end.
        checkpointing: whether gradient checkpointing was on at the epoch's end.
        seconds: duration of the epoch.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    micro_batch: int
    checkpointing: bool
    seconds: float


@dataclass(frozen=True)
class Split:
    """A training and a validation set.

    Attributes:
        train: (k,) int, row numbers of the training images.
        val: (m,) int, row numbers of the validation images.
        labels: (n,) of 0/1, the label of every row.

    Raises:
        ValueError: one of the two sets does not contain both classes.
    """

    train: np.ndarray
    val: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for part, rows in (("train", self.train), ("val", self.val)):
            present = np.unique(self.labels[rows]).tolist()
            if present != [0, 1]:
                raise ValueError(f"the {part} split needs images of both classes 0 and 1; its labels are {present}")


def train(
    prepared: Prepared,
    inputs: Inputs,
    split: Split,
    recipe: Recipe,
    learning_rate: float,
    seed: int,
    layer_decay: float = 1.0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Trains the trainable parameters of a model, in place. The model ends with the weights of its best epoch.

    The best epoch has the highest validation AUC and, among equals, the lowest validation loss. Training uses
    cross-entropy, AdamW without weight decay on norms, biases and embeddings, linear warm-up, cosine decay, and
    bfloat16 autocast if the device supports it. The global random state is left unchanged.

    Args:
        prepared: the model.
        inputs: the inputs of the model's block `prepared.start`.
        split: the training and the validation set.
        recipe: the settings of training.
        learning_rate: the classifier's highest learning rate, reached after warm-up.
        seed: seed of the order of images, the choice of views, and dropout.
        layer_decay: learning rate of each block as a multiple of that of the block above it (Clark et al. 2020).
        on_epoch: called after each epoch.

    Returns:
        The history, one entry per epoch.

    Raises:
        FloatingPointError: the loss is no longer finite.
        torch.OutOfMemoryError: a single image does not fit into memory.
    """
    device, trainable = prepared.device, prepared.trainable
    optimizer = _adamw(prepared.model, learning_rate, layer_decay, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_cosine(recipe, len(split.train)))
    targets = torch.tensor(split.labels, dtype=torch.long, device=device)
    val_targets = torch.tensor(split.labels[split.val], dtype=torch.long)
    class_weights = _class_weights(split, recipe).to(device)
    footprint = Footprint(recipe.micro_batch or recipe.batch_size, recipe.checkpointing)

    def backward(rows: np.ndarray, views: np.ndarray) -> Tensor:
        """Accumulates the gradients of the effective batch over micro-batches; returns its mean loss."""
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        weight = class_weights[targets[rows]].sum()
        for part in batches(len(rows), footprint.micro_batch):
            with autocast(device):
                batch = inputs.batch(rows[part], views[part])
                logits = finish_from(prepared.model, batch, prepared.start, footprint.checkpointing)
            loss = F.cross_entropy(logits.float(), targets[rows[part]], class_weights, reduction="sum") / weight
            loss.backward()
            total += loss.detach()
        return total

    def validate() -> Tensor:
        return predict_logits(prepared, inputs, split.val, footprint.micro_batch)

    history: list[Epoch] = []
    best: tuple[float, float] = (-math.inf, -math.inf)
    best_epoch, best_weights = 0, _copies(trainable)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for number in range(1, recipe.epochs + 1):
            began = time.perf_counter()
            order, views = _draw(split, recipe, np.random.default_rng([seed, number]))
            prepared.train()
            total = torch.zeros((), device=device)
            for part in batches(len(order), recipe.batch_size):
                total += footprint.run(backward, order[part], views[part]) * len(order[part])
                nn.utils.clip_grad_norm_(trainable, recipe.max_grad_norm)
                optimizer.step()
                schedule.step()
            logits = footprint.run(validate)
            train_loss = total.item() / len(order)
            val_loss = F.cross_entropy(logits, val_targets, class_weights.cpu()).item()
            if not math.isfinite(train_loss + val_loss):
                raise FloatingPointError(f"the loss is no longer finite in epoch {number}; lower the learning rate")
            val_auc = auc(split.labels[split.val], positive_score(logits))
            history.append(
                Epoch(
                    epoch=number,
                    train_loss=train_loss,
                    val_loss=val_loss,
                    val_auc=val_auc,
                    learning_rate=max(float(rate) for rate in schedule.get_last_lr()),
                    micro_batch=footprint.micro_batch,
                    checkpointing=footprint.checkpointing,
                    seconds=time.perf_counter() - began,
                )
            )
            on_epoch(history[-1])
            if (val_auc, -val_loss) > best:
                best, best_epoch = (val_auc, -val_loss), number
                best_weights = _copies(trainable)
            elif number - best_epoch >= recipe.patience:
                break
    with torch.no_grad():
        for parameter, weights in zip(trainable, best_weights, strict=True):
            parameter.copy_(weights)
    prepared.module.eval()
    return history


@torch.inference_mode()
def predict_logits(prepared: Prepared, inputs: Inputs, rows: np.ndarray, batch_size: int) -> Tensor:
    """Class logits of images without augmentation (view 0).

    Args:
        prepared: the model, which is set to eval mode.
        inputs: the inputs of the model's block `prepared.start`.
        rows: (k,) int, row numbers of the images.
        batch_size: images on the device at once.

    Returns:
        (k, 2) float32 on the CPU.
    """
    prepared.module.eval()
    parts = []
    for piece in batches(len(rows), batch_size):
        with autocast(prepared.device):
            batch = inputs.batch(rows[piece], np.zeros(len(rows[piece]), dtype=np.int64))
            parts.append(finish_from(prepared.model, batch, prepared.start))
    return torch.cat(parts).float().cpu()


def positive_score(logits: Tensor) -> np.ndarray:
    """Probability of the positive class, (n,) float64, from class logits (n, 2)."""
    return logits.double().softmax(dim=1)[:, 1].numpy()


def _draw(split: Split, recipe: Recipe, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The order of the rows in an epoch, and the view of each."""
    if recipe.balance == "sampling":
        labels = split.labels[split.train]
        share = 0.5 / np.bincount(labels, minlength=2)[labels]
        order = generator.choice(split.train, size=len(split.train), p=share)
    else:
        order = generator.permutation(split.train)
    return order, generator.integers(0, recipe.views, size=len(order))


def _class_weights(split: Split, recipe: Recipe) -> Tensor:
    if recipe.balance != "weights":
        return torch.ones(2)
    counts = np.bincount(split.labels[split.train], minlength=2)
    return torch.tensor(counts.sum() / (2 * counts), dtype=torch.float32)


def _copies(parameters: list[nn.Parameter]) -> list[Tensor]:
    # On the CPU, because a fully trained giant and its optimizer leave no room for another copy on the GPU.
    return [parameter.detach().to("cpu", copy=True) for parameter in parameters]


def _adamw(model: VisionTransformer, learning_rate: float, layer_decay: float, recipe: Recipe) -> torch.optim.Optimizer:
    groups = param_groups_layer_decay(model, recipe.weight_decay, model.no_weight_decay(), layer_decay=layer_decay)
    for group in groups:
        group["lr"] = learning_rate * group.pop("lr_scale")
    return torch.optim.AdamW(groups, fused=True)


def _warmup_cosine(recipe: Recipe, images: int) -> Callable[[int], float]:
    total = recipe.epochs * math.ceil(images / recipe.batch_size)
    warmup = max(1, round(recipe.warmup * total))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return factor
