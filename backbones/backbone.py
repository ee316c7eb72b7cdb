"""What a backbone is: an architecture, where its weights come from, and how its pictures are normalised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones.checkpoint import find_checkpoint, read_state, require_digest
from backbones.hub import HubFile
from backbones.loading import State, WeightsError, load_model


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
        parameters: of the model without a classifier.
        width: of the tokens.
        depth: number of transformer blocks.
        licence: of the weights.
        pretraining: method and data, one line.
        weights: where published weights are on the hub, if they are.
        shipped: file with the weights of a model that comes with this project; without this and `weights` the backbone
            is untrained.
        overrides: constructor arguments that differ from `architecture`.
        convert: published state dict -> timm's key names.
        fresh: keys that the published file does not hold and that start from initialisation.
        resampling: how position embeddings of another grid are brought to 224, where it is not timm's usual way
            (bicubic, antialiased); options of its `checkpoint_filter_fn`.
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
    shipped: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    convert: Callable[[State], State] = without_classifier
    fresh: tuple[str, ...] = ()
    resampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def untrained(self) -> bool:
        """Whether it has no weights but those of a file that the user names."""
        return self.weights is None and self.shipped is None

    def at(self, revision: str) -> "Backbone":
        """The same with the hub's files at another revision: a branch, a tag or a commit.

        Raises:
            ValueError: no weights on the hub.
        """
        if self.weights is None:
            raise ValueError(f"{self.name} has no weights on the hub, so no `revision:` either")
        return replace(self, weights=replace(self.weights, revision=revision))

    def locate(self, weights: Path | str | None = None) -> Path | None:
        """The checkpoint file that `build` loads; None for an untrained backbone.

        Args:
            weights: a file, or a folder that holds it under its published name, as `<repository>.safetensors`,
                `.pth` or `.bin`, or as the only checkpoint. None takes what this project ships, else the hub's cache,
                else the hub.

        Raises:
            backbones.WeightsError: not to be had, or not to be told from others in the folder.
        """
        if weights is None:
            return self.weights.fetch() if self.weights else self.shipped
        names: list[str] = []
        if self.weights:
            repository = self.weights.repository.rpartition("/")[2]
            names = [*self.weights.names, *(f"{repository}{suffix}" for suffix in (".safetensors", ".pth", ".bin"))]
        return find_checkpoint(Path(weights), list(dict.fromkeys(names)))

    def build(self, weights: Path | str | None = None, seed: int = 0, sha256: str | None = None) -> VisionTransformer:
        """The model without a classifier, in eval mode, on the CPU, float32.

        Args:
            weights: as in `locate`; `.safetensors`, or PyTorch's format without pickled code.
            seed: of the initialisation of everything the checkpoint does not hold.
            sha256: hex digest that the checkpoint must have.

        Raises:
            backbones.WeightsError: missing, gated, damaged, of another digest, or of another architecture.
        """
        path = self.locate(weights)
        if sha256 is not None:
            if path is None:
                raise WeightsError(f"{self.name} is untrained: there is no file that `sha256:` could belong to")
            require_digest(path, sha256)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._create(classes=0)
        if path is not None:
            load_model(model, self.convert(read_state(path)), self.fresh, path, self.resampling)
        return model.eval()

    def skeleton(self, classes: int = 0) -> VisionTransformer:
        """The model without memory or weights (on the meta device), for counting; with a classifier for `classes`."""
        with torch.device("meta"):
            return self._create(classes)

    def _create(self, classes: int) -> VisionTransformer:
        return timm.create_model(
            self.architecture, pretrained=False, img_size=224, num_classes=classes, **dict(self.overrides)
        )

    @cached_property
    def tokens(self) -> int:
        """How many tokens travel through the blocks at 224x224: patches, class token and registers."""
        model = self.skeleton()
        return model.patch_embed.num_patches + model.num_prefix_tokens

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> the model's input."""
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        return (images - mean) / std
