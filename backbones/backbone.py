"""What a backbone is: an architecture, where its weights come from, and how its pictures are normalised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor

from backbones.weights import HubFile, load_strictly, read_state

State = dict[str, Tensor]


def without_classifier(state: State) -> State:
    """Drop the classifier or projection that a published file ends in."""
    return {key: value for key, value in state.items() if not key.startswith(("head.", "head_dist."))}


@dataclass(frozen=True)
class Backbone:
    """One foundation model, always built as timm's `VisionTransformer` at 224x224.

    Attributes:
        name: what users write, for example `dinov2-vit-g14`.
        family: models that share a pre-training recipe (`openclip`, `dinov2`, `retfound`).
        architecture: timm's model name.
        mean, std: per RGB channel, of pixels scaled to 0..1.
        parameters: of the tower without a classifier.
        width: of the tokens.
        depth: number of transformer blocks.
        licence: of the weights.
        pretraining: method and data, one line.
        weights: where published weights are; None means untrained (the demo's towers).
        overrides: constructor arguments that differ from `architecture`.
        convert: published state dict -> timm's key names.
        fresh: keys that the published file does not hold and that start from initialisation.
    """

    name: str
    family: str
    architecture: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    parameters: int
    width: int
    depth: int
    licence: str
    pretraining: str
    weights: HubFile | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    convert: Callable[[State], State] = without_classifier
    fresh: tuple[str, ...] = ()

    def build(self, weights: Path | None = None, seed: int = 0) -> VisionTransformer:
        """The tower without a classifier, in eval mode, on the CPU, float32.

        Args:
            weights: a checkpoint file (`.safetensors`, or `.pth` without pickled code). None takes the published
                weights from the hub's cache, or the hub itself; an untrained backbone takes none.
            seed: of the initialisation of everything the checkpoint does not hold.

        Raises:
            backbones.weights.WeightsError: missing, gated, damaged, or of another architecture.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tower = timm.create_model(
                self.architecture, pretrained=False, img_size=224, num_classes=0, **dict(self.overrides)
            )
        if weights is None and self.weights is not None:
            weights = self.weights.fetch()
        if weights is not None:
            state = checkpoint_filter_fn(self.convert(read_state(weights)), tower)
            load_strictly(tower, state, fresh=self.fresh, source=weights)
        return tower.eval()

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> the tower's input."""
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        return (images - mean) / std
