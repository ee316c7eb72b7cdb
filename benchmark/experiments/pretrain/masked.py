"""`retfound-tiny`: masked auto-encoding (He et al. 2022) of fine structure.

Three quarters of the patches are hidden, and the encoder sees the rest. From its output, a light decoder, which is
discarded afterwards, predicts the fine structure of all patches, including those that were seen.
"""

from dataclasses import replace

import numpy as np
import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from backbones import Backbone
from benchmark.experiments.pretrain.cohorts import DrawnImages
from benchmark.experiments.pretrain.schedule import Schedule, flipped, pixels, recoloured
from benchmark.experiments.pretrain.structure import FEATURES, Structure, by_patch, structure_loss

HIDDEN = 0.75
DECODER_WIDTH, DECODER_DEPTH = 64, 2
SCHEDULE = Schedule(steps=1600, batch=64, rate=2e-3)


class Autoencoder(nn.Module):
    """The model as encoder, and the decoder that is discarded afterwards."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        self.model = model
        patches = model.patch_embed.num_patches
        self.embed = nn.Sequential(nn.LayerNorm(model.embed_dim), nn.Linear(model.embed_dim, DECODER_WIDTH))
        self.hidden = nn.Parameter(0.02 * torch.randn(1, 1, DECODER_WIDTH))
        self.position = nn.Parameter(0.02 * torch.randn(1, patches, DECODER_WIDTH))
        self.blocks = nn.Sequential(*(Block(DECODER_WIDTH, num_heads=4, qkv_bias=True) for _ in range(DECODER_DEPTH)))
        self.predict = nn.Sequential(nn.LayerNorm(DECODER_WIDTH), nn.Linear(DECODER_WIDTH, FEATURES))

    def forward(self, inputs: Tensor, seen: Tensor) -> Tensor:
        """Predicted structure (B, patches, FEATURES) from only the patches `seen` (B, k), int."""
        model = self.model
        prefix = model.num_prefix_tokens
        tokens = model.norm_pre(model._pos_embed(model.patch_embed(inputs)))
        own = tokens[:, prefix:].gather(1, seen[..., None].expand(-1, -1, tokens.shape[-1]))
        own = model.norm(model.blocks(torch.cat([tokens[:, :prefix], own], 1)))
        own = self.embed(own[:, prefix:])
        everything = self.hidden.expand(len(own), self.position.shape[1], -1)
        everything = everything.scatter(1, seen[..., None].expand(-1, -1, own.shape[-1]), own)
        return self.predict(self.blocks(everything + self.position))


def pretrain(
    backbone: Backbone, drawn: DrawnImages, seed: int, steps: int | None = None
) -> tuple[VisionTransformer, list[float]]:
    """The encoder after training, and the loss of every step."""
    schedule = replace(SCHEDULE, steps=steps or SCHEDULE.steps)
    torch.manual_seed(seed)
    model = backbone.build(seed=seed).train()
    patches = model.patch_embed.num_patches
    structure = Structure.of(drawn.images, model.patch_embed.grid_size)
    autoencoder = Autoencoder(model)
    generator = torch.Generator().manual_seed(seed)

    def loss(step: int, rows: np.ndarray) -> Tensor:
        batch, target, count = flipped(generator, pixels(drawn.images, rows), *structure.take(rows))
        seen = torch.rand(len(batch), patches, generator=generator).argsort(1)[:, : round(patches * (1 - HIDDEN))]
        predicted = autoencoder(backbone.normalise(recoloured(batch, generator, strength=0.2)), seen)
        return structure_loss(predicted, by_patch(target), by_patch(count.expand_as(target)))

    losses = schedule.run(autoencoder, len(drawn), loss, seed)
    return model.eval(), losses
