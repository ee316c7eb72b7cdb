"""The training loop, the same for every strategy and every kind of input."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones import finish_from
from finetune.inputs import Inputs
from finetune.recipe import Recipe
from stats.metrics import auc


@dataclass(frozen=True)
class Epoch:
    """One row of a trial's history."""

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Split:
    """Row numbers of the images in each part, and every row's label; each part needs both classes."""

    train: np.ndarray
    val: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for part, rows in (("train", self.train), ("val", self.val)):
            present = np.unique(self.labels[rows]).tolist()
            if present != [0, 1]:
                raise ValueError(f"the {part} split needs images of both classes 0 and 1; its labels are {present}")


def train(
    module: nn.Module,
    tower: VisionTransformer,
    start: int,
    inputs: Inputs,
    split: Split,
    recipe: Recipe,
    learning_rate: float,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Train what `module` has marked as trainable; it ends with the weights of the best epoch.

    Best means the highest validation AUC, then the lowest validation loss. AdamW without weight decay on norms and
    biases, linear warm-up, cosine decay, cross-entropy weighted inversely to class frequency, bfloat16 autocast on GPU.

    Args:
        module: what `Strategy.apply` returned.
        tower: the transformer inside `module`, with its classifier.
        start: the block that `inputs` enter.
        seed: of the order of images, the choice of views, and dropout.
        on_epoch: called after each epoch.

    Returns:
        The history, one entry an epoch.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    torch.manual_seed(seed)
    device = next(tower.parameters()).device
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(_decay_groups(trainable, recipe.weight_decay), lr=learning_rate)
    steps_per_epoch = math.ceil(len(split.train) / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_cosine(recipe, steps_per_epoch))
    targets = torch.as_tensor(split.labels, dtype=torch.long, device=device)
    counts = torch.bincount(targets[torch.as_tensor(split.train, device=device)], minlength=2).float()
    class_weights = counts.sum() / (2 * counts)

    history: list[Epoch] = []
    best: tuple[float, float] = (-math.inf, -math.inf)
    best_epoch, best_weights = 0, [parameter.detach().clone() for parameter in trainable]
    for number in range(1, recipe.epochs + 1):
        began = time.perf_counter()
        generator = np.random.default_rng([seed, number])
        order = generator.permutation(split.train)
        views = generator.integers(0, recipe.views, size=len(order))
        module.train()
        total = 0.0
        for first in range(0, len(order), recipe.batch_size):
            rows = order[first : first + recipe.batch_size]
            with _autocast(device):
                outputs = finish_from(tower, inputs.batch(rows, views[first : first + recipe.batch_size]), start)
            loss = F.cross_entropy(outputs.float(), targets[rows], weight=class_weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainable, recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        logits = predict_logits(module, tower, start, inputs, split.val, recipe.batch_size)
        val_loss = F.cross_entropy(logits, targets[split.val].cpu(), weight=class_weights.cpu()).item()
        if not math.isfinite(total + val_loss):
            raise FloatingPointError(f"the loss is no longer finite in epoch {number}; lower the learning rate")
        val_auc = auc(split.labels[split.val], positive_score(logits))
        history.append(
            Epoch(
                epoch=number,
                train_loss=total / len(order),
                val_loss=val_loss,
                val_auc=val_auc,
                learning_rate=optimizer.param_groups[0]["lr"],
                seconds=time.perf_counter() - began,
            )
        )
        on_epoch(history[-1])
        if (val_auc, -val_loss) > best:
            best, best_epoch = (val_auc, -val_loss), number
            best_weights = [parameter.detach().clone() for parameter in trainable]
        elif number - best_epoch >= recipe.patience:
            break
    with torch.no_grad():
        for parameter, weights in zip(trainable, best_weights, strict=True):
            parameter.copy_(weights)
    module.eval()
    return history


@torch.inference_mode()
def predict_logits(
    module: nn.Module, tower: VisionTransformer, start: int, inputs: Inputs, rows: np.ndarray, batch_size: int
) -> Tensor:
    """Class logits (len(rows), 2), float32 on the CPU, of the photographs themselves (view 0)."""
    module.eval()
    device = next(tower.parameters()).device
    parts = []
    for first in range(0, len(rows), batch_size):
        part = rows[first : first + batch_size]
        with _autocast(device):
            parts.append(finish_from(tower, inputs.batch(part, np.zeros(len(part), dtype=np.int64)), start))
    return torch.cat(parts).float().cpu()


def positive_score(logits: Tensor) -> np.ndarray:
    """Probability of the positive class, (n,) float64, from class logits (n, 2)."""
    return logits.double().softmax(dim=1)[:, 1].numpy()


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _decay_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict]:
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _warmup_cosine(recipe: Recipe, steps_per_epoch: int) -> Callable[[int], float]:
    total = recipe.epochs * steps_per_epoch
    warmup = max(1, round(recipe.warmup * total))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return factor
