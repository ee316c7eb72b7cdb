"""`openclip-tiny`: contrastive image-text pre-training (CLIP, Radford et al. 2021), with parts of open_clip.

Captions state what a photographer would note, including how wide and how winding the arteries are and how many spots
there are. This model has therefore read words about the features on which the study's label depends, but never the
label. `vessels=False` leaves the arteries out of the captions.

In the available time, the contrastive loss alone learned sides, colours and exposures, but no vessels. The patches
therefore also predict their fine structure, a second loss on the image encoder as in SLIP (Mu et al. 2022). Half of the
patches are left out of every step, which halves its time (FLIP, Li et al. 2023).
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones import Backbone
from benchmark.experiments.pretrain.captions import caption
from benchmark.experiments.pretrain.cohorts import DrawnImages
from benchmark.experiments.pretrain.schedule import Schedule, pixels, recoloured
from benchmark.experiments.pretrain.structure import FEATURES, Structure, by_patch, structure_loss

CONTEXT, SHARED = 48, 48  # tokens of a caption; width of the space that images and texts share
PATCH_LOSS = 2.0
HIDDEN = 0.5
TEXT = {"width": 64, "heads": 4, "layers": 2}
SCHEDULE = Schedule(steps=2000, batch=64, rate=2e-3)


class Pair(nn.Module):
    """Image encoder and text encoder, projected into one space."""

    def __init__(self, model: VisionTransformer, vocabulary: int) -> None:
        super().__init__()
        self.model = model
        self.project = nn.Sequential(_standard(model.embed_dim), nn.Linear(model.embed_dim, SHARED, bias=False))
        self.text = TextTransformer(context_length=CONTEXT, vocab_size=vocabulary, output_dim=SHARED, **TEXT)
        self.standard = _standard(SHARED)
        self.read = nn.Sequential(nn.LayerNorm(model.embed_dim), nn.Linear(model.embed_dim, FEATURES))
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, inputs: Tensor, seen: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Unit vectors of images and of texts (B, SHARED), the scale of their products, and the predicted structure
        (B, k, FEATURES) of the patches `seen` (B, k), int. The other patches are left out.
        """
        model = self.model
        tokens = model._pos_embed(model.patch_embed(inputs))
        prefix = model.num_prefix_tokens
        own = tokens[:, prefix:].gather(1, seen[..., None].expand(-1, -1, tokens.shape[-1]))
        tokens = model.norm(model.blocks(model.norm_pre(torch.cat([tokens[:, :prefix], own], 1))))
        images = F.normalize(self.project(model.forward_head(tokens, pre_logits=True)), dim=-1)
        words = F.normalize(self.standard(self.text(texts)), dim=-1)
        return images, words, self.log_scale.exp().clamp(max=100), self.read(tokens[:, prefix:])


def _standard(width: int) -> nn.BatchNorm1d:
    """Scale to mean 0 and variance 1 within a batch: a new model gives nearly the same vector for all images."""
    return nn.BatchNorm1d(width, affine=False)


def pretrain(
    backbone: Backbone, drawn: DrawnImages, seed: int, steps: int | None = None, vessels: bool = True
) -> tuple[VisionTransformer, list[float]]:
    """The image encoder after training, and the loss of every step."""
    schedule = replace(SCHEDULE, steps=steps or SCHEDULE.steps)
    torch.manual_seed(seed)
    tokenize = SimpleTokenizer(context_length=CONTEXT)
    model = Pair(backbone.build(seed=seed).train(), tokenize.vocab_size)
    structure = Structure.of(drawn.images, model.model.patch_embed.grid_size)
    contrast = ClipLoss()
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def loss(step: int, rows: np.ndarray) -> Tensor:
        batch = recoloured(pixels(drawn.images, rows), generator, strength=0.1)
        words = [caption(drawn.traits[row], drawn.sides[row], rng, vessels) for row in rows]
        patches = model.model.patch_embed.num_patches
        seen = torch.rand(len(batch), patches, generator=generator).argsort(1)[:, : round(patches * (1 - HIDDEN))]
        *matched, read = model(backbone.normalise(batch), seen, tokenize(words))
        target, count = structure.take(rows)
        here = seen[..., None].expand(-1, -1, FEATURES)
        there, weight = by_patch(target).gather(1, here), by_patch(count.expand_as(target)).gather(1, here)
        return contrast(*matched) + PATCH_LOSS * structure_loss(read, there, weight)

    losses = schedule.run(model, len(drawn), loss, seed)
    return model.model.eval(), losses
