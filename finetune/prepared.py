"""What is trained: a network with its head, and where its inputs enter it."""

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network as a strategy made it ready.

    module: what `Strategy.apply` returned; its trainable parameters are marked; model: the transformer inside it, with
    its classifier; start: the block that inputs enter, everything before which stays in eval mode.
    """

    module: nn.Module
    model: VisionTransformer
    start: int

    @classmethod
    def whole(cls, model: VisionTransformer) -> "Prepared":
        """A transformer by itself, whose inputs are images."""
        return cls(model, model, 0)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def train(self) -> None:
        """What is trained into training mode, what comes before it not."""
        self.module.train()
        self.model.blocks[: self.start].eval()
