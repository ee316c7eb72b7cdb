"""A model that is ready for training, and the block at which its inputs enter."""

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model that a strategy has prepared for training.

    Attributes:
        module: the module that `Strategy.apply` returned, with its trainable parameters marked.
        model: the transformer inside `module`, with its classifier.
        start: the block at which inputs enter. All blocks before it stay in eval mode.
    """

    module: nn.Module
    model: VisionTransformer
    start: int

    @classmethod
    def whole(cls, model: VisionTransformer) -> "Prepared":
        """A transformer without adapters, whose inputs are images."""
        return cls(model, model, 0)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.model.parameters()).device

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that train."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def train(self) -> None:
        """Sets training mode, except for the blocks before `start`."""
        self.module.train()
        self.model.blocks[: self.start].eval()
