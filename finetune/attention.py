"""Learned attention over a patient's images: one score per patient from the features of all images.

Gated attention pooling (Ilse, Tomczak & Welling 2018, "Attention-based Deep Multiple Instance Learning", ICML, equation
9). Each image h gets the weight a, the softmax over the images of its patient of w' (tanh(V h) * sigmoid(U h)); the
patient's features are the sum of a h, and a linear classifier reads them. The network is small and the features are
fixed, so it trains on a CPU within seconds, and always in the same order.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from finetune.inputs import batches
from stats.metrics import auc

_LEAST_SPREAD = 1e-6  # a feature that varies less is left as it is


@dataclass(frozen=True)
class AttentionRecipe:
    """The settings of training.

    Attributes:
        width: size of the hidden layer of the attention (V and U).
        epochs: maximum number of passes over the training patients.
        batch: patients per step.
        learning_rate: of AdamW, constant.
        weight_decay: of AdamW.
        patience: number of epochs without a better validation AUC after which training stops.
        balanced: whether the loss is weighted inversely to the frequency of the classes among training patients.
    """

    width: int = 64
    epochs: int = 100
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    patience: int = 20
    balanced: bool = True


@dataclass(frozen=True, eq=False)
class Bags:
    """The images of patients.

    Attributes:
        features: (n, C) float32, pooled features of the images.
        places: (patients, most) int64, the rows of each patient's images in `features`; -1 after the last one.
    """

    features: Tensor
    places: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, patient: np.ndarray) -> "Bags":
        """Groups images by patient.

        Args:
            features: (n, C) float.
            patient: (n,) int, number of each image's patient, from 0 without gaps.

        Raises:
            ValueError: a feature is not finite, or lengths differ.
        """
        if len(features) != len(patient):
            raise ValueError(f"features has {len(features)} images, patient has {len(patient)}")
        if not np.isfinite(features).all():
            raise ValueError(f"the features of image {int(np.argwhere(~np.isfinite(features))[0, 0])} are not finite")
        counts = np.bincount(patient)
        order = np.argsort(patient, kind="stable")
        places = np.full((len(counts), counts.max()), -1, dtype=np.int64)
        inside = np.arange(len(patient)) - np.repeat(np.cumsum(counts) - counts, counts)
        places[patient[order], inside] = order
        return cls(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)), places)

    def batch(self, patients: np.ndarray | slice) -> tuple[Tensor, Tensor]:
        """The features of some patients' images (B, K, C), 0 where there is none, and whether there is one (B, K)."""
        places = torch.from_numpy(self.places[patients])
        present = places >= 0
        return self.features[places.clamp(min=0)] * present[..., None], present


class GatedAttention(nn.Module):
    """The network. Before training, all images of a patient have the same weight.

    Args:
        features: number of features of an image, C.
        width: size of the hidden layer of the attention.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.value, self.gate = nn.Linear(features, width), nn.Linear(features, width)
        self.weight = nn.Linear(width, 1, bias=False)
        self.classifier = nn.Linear(features, 1)
        for layer in (self.weight, self.classifier):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of patients and weights of their images.

        Args:
            images: (B, K, C) float.
            present: (B, K) bool, at least one per patient.

        Returns:
            (B,) logits of the positive class; (B, K) weights, which add up to 1 over the images that are present.
        """
        scaled = (images - self.mean) / self.scale
        gated = torch.tanh(self.value(scaled)) * torch.sigmoid(self.gate(scaled))
        weights = self.weight(gated).squeeze(-1).masked_fill(~present, -math.inf).softmax(dim=1)
        pooled = (weights[..., None] * scaled).sum(dim=1)
        return self.classifier(pooled).squeeze(-1), weights


@dataclass(frozen=True, eq=False)
class Attention:
    """A trained network, with the epoch whose weights it has and that epoch's AUC on the validation patients."""

    network: GatedAttention
    best_epoch: int
    val_auc: float


def train_attention(
    train: Bags, labels: np.ndarray, val: Bags, val_labels: np.ndarray, recipe: AttentionRecipe, seed: int
) -> Attention:
    """Trains the network on the CPU; it ends with the weights of the epoch with the highest validation AUC.

    Among epochs with equal AUC, the one with the lowest validation loss. The global random state is left unchanged.

    Args:
        train: the images of the training patients.
        labels: (patients,) of 0/1, of the training patients.
        val: the images of the validation patients.
        val_labels: (patients,) of 0/1, of the validation patients.
        recipe: the settings of training.
        seed: seed of the first weights and of the order of patients.

    Raises:
        ValueError: one of the two sets of patients does not contain both classes.
        FloatingPointError: the loss is no longer finite.
    """
    for name, of_part in (("training", labels), ("validation", val_labels)):
        if np.unique(of_part).tolist() != [0, 1]:
            raise ValueError(f"attention needs {name} patients of both classes 0 and 1")
    targets, val_targets = (torch.from_numpy(of_part.astype(np.float32)) for of_part in (labels, val_labels))
    positive_weight = torch.tensor((labels == 0).sum() / labels.sum() if recipe.balanced else 1.0, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GatedAttention(train.features.shape[1], recipe.width)
    network.mean.copy_(train.features.mean(dim=0))
    spread = train.features.std(dim=0, correction=0)
    network.scale.copy_(torch.where(spread > _LEAST_SPREAD, spread, 1.0))
    optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)

    best: tuple[float, float] = (-math.inf, -math.inf)
    best_epoch, best_state = 0, {name: value.clone() for name, value in network.state_dict().items()}
    for epoch in range(1, recipe.epochs + 1):
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        for part in batches(len(order), recipe.batch):
            logits, _ = network(*train.batch(order[part]))
            loss = F.binary_cross_entropy_with_logits(logits, targets[order[part]], pos_weight=positive_weight)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        val_logits = _logits(network, val, recipe.batch)[0]
        val_loss = F.binary_cross_entropy_with_logits(val_logits, val_targets, pos_weight=positive_weight).item()
        if not math.isfinite(val_loss):
            raise FloatingPointError(f"the loss of the attention is no longer finite in epoch {epoch}")
        val_auc = auc(val_labels, val_logits.numpy())
        if (val_auc, -val_loss) > best:
            best, best_epoch = (val_auc, -val_loss), epoch
            best_state = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= recipe.patience:
            break
    network.load_state_dict(best_state)
    return Attention(network.eval(), best_epoch, best[0])


def attend(network: GatedAttention, bags: Bags, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Applies a trained network.

    Args:
        network: the network.
        bags: the images of patients.
        batch: patients at once.

    Returns:
        (patients,) float64, probability of the positive class; (n,) float64, the weight of each image among those of
        its patient.
    """
    logits, weights = _logits(network, bags, batch)
    of_image = np.zeros(len(bags.features))
    present = bags.places >= 0
    of_image[bags.places[present]] = weights.double().numpy()[present]
    return logits.double().sigmoid().numpy(), of_image


@torch.inference_mode()
def _logits(network: GatedAttention, bags: Bags, batch: int) -> tuple[Tensor, Tensor]:
    """Logits (patients,) and weights (patients, most)."""
    parts = [network(*bags.batch(part)) for part in batches(len(bags.places), batch)]
    return torch.cat([logits for logits, _ in parts]), torch.cat([weights for _, weights in parts])


def save_attention(trained: Attention, file: Path, backbone: str) -> None:
    """Writes the network as safetensors, with the backbone, the epoch and its validation AUC in the metadata."""
    noted = {"backbone": backbone, "best_epoch": str(trained.best_epoch), "val_auc": repr(trained.val_auc)}
    save_file({name: value.contiguous() for name, value in trained.network.state_dict().items()}, file, metadata=noted)


def load_attention(file: Path, backbone: str) -> Attention:
    """Reads what `save_attention` wrote.

    Raises:
        ValueError: the file belongs to another backbone.
    """
    with safe_open(file, framework="pt") as opened:
        noted = opened.metadata() or {}
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    if noted.get("backbone") != backbone:
        raise ValueError(f"{file}: trained on backbone {noted.get('backbone')}, not on {backbone}")
    width, features = state["value.weight"].shape
    network = GatedAttention(features, width)
    network.load_state_dict(state)
    return Attention(network.eval(), int(noted["best_epoch"]), float(noted["val_auc"]))
