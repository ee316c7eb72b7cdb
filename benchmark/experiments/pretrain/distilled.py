"""`dinov2-tiny`: self-distillation without labels (DINO, Caron et al. 2021; DINOv2, Oquab et al. 2024).

A student sees large and small crops; a teacher, the moving average of the student, sees only the large ones. For every
crop, the student's class token predicts the teacher's output for the other crops, as a distribution over prototypes
that Sinkhorn's iterations keep in even use. In the large crops, some of the student's patches are hidden, as in iBOT
(Zhou et al. 2022). In iBOT the patches predict the teacher's patches; here they predict their own fine structure,
whether seen or hidden. With a teacher that had not learned vessels yet, no student learned them in the available time.

Two choices are specific to fundus images. First, a crop is a window of whole patches and is never enlarged, because
eyes differ in the calibre of their vessels, and a small window contains only a few vessels. Second, the two large crops
are from the two eyes of one patient, which share calibre and disease but neither layout nor exposure.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones import Backbone
from benchmark.experiments.pretrain.cohorts import DrawnImages
from benchmark.experiments.pretrain.schedule import Schedule, flipped, pixels, recoloured
from benchmark.experiments.pretrain.structure import FEATURES, Structure, by_patch, structure_loss

LARGE, SMALL, SMALL_CROPS = 10, 5, 3  # patches along a side; small crops of each eye
PROTOTYPES, BOTTLENECK, HIDDEN_WIDTH = 256, 48, 192
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.05
MOMENTUM = (0.99, 1.0)  # of the moving average, at the first and the last step
HIDDEN = 0.3  # share of a large crop's patches
PATCH_LOSS = 2.0
SCHEDULE = Schedule(steps=1400, batch=32, rate=2e-3)


class Head(nn.Module):
    """From a token to the logits of the prototypes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, HIDDEN_WIDTH), nn.GELU(), nn.Linear(HIDDEN_WIDTH, BOTTLENECK))
        self.prototypes = nn.utils.parametrizations.weight_norm(nn.Linear(BOTTLENECK, PROTOTYPES, bias=False))
        self.prototypes.parametrizations.weight.original0.data.fill_(1.0)
        self.prototypes.parametrizations.weight.original0.requires_grad = False

    def forward(self, tokens: Tensor) -> Tensor:
        return self.prototypes(F.normalize(self.layers(tokens), dim=-1))


class Network(nn.Module):
    """A model with a head for its class token, a reader for its patches, and a token for hidden patches."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.model = model
        self.head = Head(model.embed_dim)
        self.read = nn.Sequential(nn.LayerNorm(model.embed_dim), nn.Linear(model.embed_dim, FEATURES))
        self.hidden = nn.Parameter(0.02 * torch.randn(model.embed_dim))

    def forward(self, patches: Tensor, positions: Tensor, hide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens after the last norm: the class token (B, C) and the patches (B, N, C).

        Args:
            patches, positions: (B, N, C), of the crop's patches.
            hide: (B, N) bool, patches that the network does not see.
        """
        model = self.model
        if hide is not None:
            patches = torch.where(hide[..., None], self.hidden, patches)
        prefix = model.cls_token + (model.pos_embed[:, :1] if not model.no_embed_class else 0)
        tokens = torch.cat([prefix.expand(len(patches), -1, -1), patches + positions], 1)
        tokens = model.norm(model.blocks(model.norm_pre(tokens)))
        return tokens[:, 0], tokens[:, 1:]


def evenly_assigned(logits: Tensor, iterations: int = 3) -> Tensor:
    """Softmax (n, prototypes) at the teacher's temperature, balanced so that all prototypes get the same share.

    Sinkhorn and Knopp (1967), as in SwAV (Caron et al. 2020): columns and rows are scaled to their sums in turn.
    """
    scores = ((logits - logits.max()) / TEACHER_TEMPERATURE).exp()
    for _ in range(iterations):
        scores = scores / scores.sum(0, keepdim=True).clamp(min=1e-12) / scores.shape[1]
        scores = scores / scores.sum(1, keepdim=True).clamp(min=1e-12) / scores.shape[0]
    return scores * scores.shape[0]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over rows of the student's cross-entropy (n, prototypes) against the teacher's assignment."""
    return -(target * F.log_softmax(logits / STUDENT_TEMPERATURE, -1)).sum(-1).mean()


class Windows:
    """One window of whole patches per image: selects its patches and their positions."""

    def __init__(self, grid: Sequence[int], side: int, count: int, generator: torch.Generator) -> None:
        top = torch.randint(grid[0] - side + 1, (count, 1, 1), generator=generator)
        left = torch.randint(grid[1] - side + 1, (count, 1, 1), generator=generator)
        step = torch.arange(side)
        self.rows = ((top + step.view(1, -1, 1)) * grid[1] + left + step).flatten(1)  # (count, side * side)

    def of(self, values: Tensor) -> Tensor:
        """(B, N, C) -> (B, side * side, C)."""
        return values.gather(1, self.rows[..., None].expand(-1, -1, values.shape[-1]))


def pairs(drawn: DrawnImages) -> np.ndarray:
    """(patients, 2): rows of a patient's two eyes."""
    return np.arange(len(drawn)).reshape(-1, 2)


def pretrain(
    backbone: Backbone, drawn: DrawnImages, seed: int, steps: int | None = None
) -> tuple[VisionTransformer, list[float]]:
    """The teacher's model after training, and the loss of every step."""
    schedule = replace(SCHEDULE, steps=steps or SCHEDULE.steps)
    torch.manual_seed(seed)
    student = Network(backbone.build(seed=seed).train())
    teacher = copy.deepcopy(student).requires_grad_(False)
    grid = student.model.patch_embed.grid_size
    eyes = pairs(drawn)
    generator = torch.Generator().manual_seed(seed)

    structure = Structure.of(drawn.images, grid)

    def view(rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """The model's input, the structure of its patches, and the mask of what counts (B, patches, FEATURES)."""
        batch, target, count = flipped(generator, pixels(drawn.images, rows), *structure.take(rows))
        grain = 0.03 * torch.rand(len(batch), 1, 1, 1, generator=generator)
        noisy = recoloured(batch, generator, strength=0.4) + grain * torch.randn(batch.shape, generator=generator)
        return backbone.normalise(noisy.clamp(0, 1)), by_patch(target), by_patch(count.expand_as(target))

    def loss(step: int, patients: np.ndarray) -> Tensor:
        views = [view(eyes[patients, eye]) for eye in (0, 1)]
        large = [Windows(grid, LARGE, len(patients), generator) for _ in views]
        own_position, position = (
            network.model.pos_embed[:, -grid[0] * grid[1] :].expand(len(patients), -1, -1)
            for network in (student, teacher)
        )
        with torch.no_grad():
            targets = [
                evenly_assigned(teacher.head(teacher(w.of(teacher.model.patch_embed(v)), w.of(position))[0]))
                for (v, _, _), w in zip(views, large, strict=True)
            ]
        embedded = [student.model.patch_embed(v) for v, _, _ in views]
        logits, patch_losses = [], []
        for (_, target, weight), patches, windows in zip(views, embedded, large, strict=True):
            hide = torch.rand(windows.rows.shape, generator=generator) < HIDDEN
            token, tokens = student(windows.of(patches), windows.of(own_position), hide)
            logits.append(student.head(token))
            patch_losses.append(structure_loss(student.read(tokens), windows.of(target), windows.of(weight)))
        across = (cross_entropy(logits[0], targets[1]) + cross_entropy(logits[1], targets[0])) / 2
        crops = [(patches, Windows(grid, SMALL, len(patients), generator)) for patches in embedded * SMALL_CROPS]
        token, _ = student(
            torch.cat([windows.of(patches) for patches, windows in crops]),
            torch.cat([windows.of(own_position) for _, windows in crops]),
        )
        small = student.head(token).chunk(len(crops))
        local = torch.stack([cross_entropy(one, target) for one in small for target in targets]).mean()
        return (across + local) / 2 + PATCH_LOSS * sum(patch_losses) / 2

    def follow(step: int) -> None:
        low, high = MOMENTUM
        momentum = high - (high - low) * (1 + math.cos(math.pi * step / schedule.steps)) / 2
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.lerp_(fast, 1 - momentum)

    losses = schedule.run(student, len(eyes), loss, seed, after=follow)
    return teacher.model.eval(), losses
