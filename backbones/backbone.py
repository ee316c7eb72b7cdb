"""A backbone: its architecture, the source of its weights, and the normalisation of its input images."""

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
    """The state dict without the keys of a classifier or final projection (`head.*`, `head_dist.*`)."""
    return {key: value for key, value in state.items() if not key.startswith(("head.", "head_dist."))}


@dataclass(frozen=True)
class Backbone:
    """One foundation model, always built as timm's `VisionTransformer` at 224x224.

    Attributes:
        name: the name that users write in a configuration, for example `dinov2-vit-g14`.
        family: name of the group of backbones with the same pre-training recipe (`openclip`, `dinov2`, `retfound`).
        architecture: timm's model name.
        mean: mean of each RGB channel, for pixels scaled to 0..1.
        std: standard deviation of each RGB channel, for pixels scaled to 0..1.
        parameters: number of parameters without a classifier.
        width: number of channels of each token.
        depth: number of transformer blocks.
        licence: licence of the weights.
        pretraining: method and data of the pre-training, in one line.
        weights: the file with the published weights on the Hugging Face hub; None if there is none.
        shipped: the file with the weights that this project ships. A backbone with neither `weights` nor `shipped` is
            untrained.
        overrides: arguments of timm's constructor that differ from those of `architecture`.
        convert: converts the published state dict to timm's key names.
        fresh: keys that the published file does not contain; they keep their random initialisation.
        resampling: options of timm's `checkpoint_filter_fn` for resampling position embeddings to the grid at 224
            pixels. Empty for timm's default (bicubic, antialiased).
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
        """True if there are no weights other than a file that the user names."""
        return self.weights is None and self.shipped is None

    def at(self, revision: str) -> "Backbone":
        """The same backbone with its weights on the hub taken from another revision.

        Args:
            revision: a branch, a tag or a commit.

        Raises:
            ValueError: the backbone has no weights on the hub.
        """
        if self.weights is None:
            raise ValueError(f"{self.name} has no weights on the hub; remove its `revision:`")
        return replace(self, weights=replace(self.weights, revision=revision))

    def locate(self, weights: Path | str | None = None) -> Path | None:
        """The checkpoint file that `build` loads.

        Args:
            weights: a file, or a folder. A folder must contain the file under its published name, or as
                `<repository>.safetensors`, `.pth` or `.bin`, or as its only checkpoint. None uses the file that this
                project ships, or else the hub's cache, or else downloads from the hub.

        Returns:
            Path of the file; None for an untrained backbone without `weights`.

        Raises:
            backbones.WeightsError: the file is not available, or the folder contains several checkpoints and none has
                an expected name.
        """
        if weights is None:
            return self.weights.fetch() if self.weights else self.shipped
        names: list[str] = []
        if self.weights:
            repository = self.weights.repository.rpartition("/")[2]
            names = [*self.weights.names, *(f"{repository}{suffix}" for suffix in (".safetensors", ".pth", ".bin"))]
        return find_checkpoint(Path(weights), list(dict.fromkeys(names)))

    def build(self, weights: Path | str | None = None, seed: int = 0, sha256: str | None = None) -> VisionTransformer:
        """Builds the model without a classifier and loads its weights.

        Args:
            weights: as in `locate`. Either `.safetensors`, or PyTorch's format; pickled code is never run.
            seed: seed of the initialisation of all parameters that the checkpoint does not contain.
            sha256: hex digest that the checkpoint must have; None to skip this check.

        Returns:
            The model in eval mode, on the CPU, in float32.

        Raises:
            backbones.WeightsError: the checkpoint is missing, gated or damaged, has another digest, or belongs to
                another architecture.
        """
        path = self.locate(weights)
        if sha256 is not None:
            if path is None:
                raise WeightsError(f"{self.name} is untrained and has no weights file; remove its `sha256:`")
            require_digest(path, sha256)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._create(classes=0)
        if path is not None:
            load_model(model, self.convert(read_state(path)), self.fresh, path, self.resampling)
        return model.eval()

    def skeleton(self, classes: int = 0) -> VisionTransformer:
        """The model on the meta device, without memory or weights, for counting parameters and modules.

        Args:
            classes: number of classes of the classifier; 0 for none.
        """
        with torch.device("meta"):
            return self._create(classes)

    def _create(self, classes: int) -> VisionTransformer:
        return timm.create_model(
            self.architecture, pretrained=False, img_size=224, num_classes=classes, **dict(self.overrides)
        )

    @cached_property
    def tokens(self) -> int:
        """Number of tokens in each block at 224x224: patches, class token and registers."""
        model = self.skeleton()
        return model.patch_embed.num_patches + model.num_prefix_tokens

    def normalise(self, images: Tensor) -> Tensor:
        """Normalises images with `mean` and `std`.

        Args:
            images: (B, 3, H, W) float in 0..1.

        Returns:
            (B, 3, H, W), the model's input, of the same dtype and device.
        """
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        return (images - mean) / std
