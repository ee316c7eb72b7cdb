"""The methods for making maps that `benchmark.experiments.cam_resolution` compares: one record each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import backbones
from benchmark.study.images import IMAGE_SIZE
from xai.attention_rollout import attention_rollout
from xai.gradcam import saliency_maps
from xai.input_gradient import smoothgrad
from xai.larger import larger
from xai.methods import open_method
from xai.shifts import shifted_average

LARGE = 448  # pixels: twice the study's side, a multiple of patches of 14 and of 16
STEPS = 4  # shifts along each axis


@dataclass(frozen=True)
class TrainedModel:
    """A trained trial's model and the normalisation of its images, which are (B, 3, side, side) float in 0..1."""

    model: VisionTransformer
    normalise: Callable[[Tensor], Tensor]
    target_class: int

    @cached_property
    def large(self) -> "TrainedModel":
        """The same for images of `LARGE` pixels."""
        return replace(self, model=larger(self.model, LARGE))

    def logits(self, images: Tensor) -> Tensor:
        """(B, classes)."""
        return self.model(self.normalise(images))

    def explained(self, method: str, images: Tensor, depth: float = 1.0) -> Tensor:
        """Signed maps (B, rows, columns) of a method of `xai.methods`.

        Args:
            depth: depth of the target block, from 0 (the first) to 1 (the last).
        """
        blocks = len(self.model.blocks)
        block = -1 if depth == 1 else int(depth * blocks)
        opened = open_method(method, block)
        inputs = backbones.encode_until(self.model, self.normalise(images), opened.start(blocks))
        return opened(self.model, inputs, self.target_class)


@dataclass(frozen=True)
class Images:
    """The same images at both sizes, (B, 3, side, side) float in 0..1: `large` has the image's own detail."""

    small: Tensor
    large: Tensor


@dataclass(frozen=True)
class MapMethod:
    """One way to make a map.

    Attributes:
        name: in tables and after --methods.
        maps: (model, images) -> (B, IMAGE_SIZE, IMAGE_SIZE) float, at least 0.
        cost: its computation per image, in passes through the model.
    """

    name: str
    maps: Callable[[TrainedModel, Images], Tensor]
    cost: str


def _enlarged(signed: Tensor) -> Tensor:
    return saliency_maps(signed, IMAGE_SIZE, "raw")


def _of_block(method: str, depth: float) -> Callable[[TrainedModel, Images], Tensor]:
    return lambda trained, images: _enlarged(trained.explained(method, images.small, depth))


def _of_other_class(trained: TrainedModel, images: Images) -> Tensor:
    return _enlarged(replace(trained, target_class=1 - trained.target_class).explained("gradcam", images.small))


def _of_either_sign(trained: TrainedModel, images: Images) -> Tensor:
    return _enlarged(trained.explained("gradcam", images.small).abs())


def _magnified(method: str, depth: float) -> Callable[[TrainedModel, Images], Tensor]:
    return lambda trained, images: _enlarged(trained.large.explained(method, images.large, depth))


def _shifted(method: str, depth: float) -> Callable[[TrainedModel, Images], Tensor]:
    def maps(trained: TrainedModel, images: Images) -> Tensor:
        patch = trained.model.patch_embed.patch_size[0]
        explain = lambda moved: trained.explained(method, moved, depth)  # noqa: E731
        return shifted_average(explain, images.small, patch, STEPS).clamp(min=0)

    return maps


def _gradient(samples: int, noise: float) -> Callable[[TrainedModel, Images], Tensor]:
    def maps(trained: TrainedModel, images: Images) -> Tensor:
        return smoothgrad(lambda noisy: trained.logits(noisy)[:, trained.target_class], images.small, samples, noise)

    return maps


BASELINE = "Grad-CAM"  # of the last block: the published study's method
MAPS = (
    MapMethod(BASELINE, _of_block("gradcam", 1), "1 forward, 1 backward of the last block"),
    MapMethod(f"Grad-CAM, {LARGE} pixels", _magnified("gradcam", 1), "the same with 4 times the patches"),
    MapMethod(f"Grad-CAM, {STEPS}x{STEPS} shifts", _shifted("gradcam", 1), f"{STEPS**2} times the same"),
    MapMethod("Grad-CAM of the other class", _of_other_class, "1 forward, 1 backward of the last block"),
    MapMethod("Grad-CAM, either sign", _of_either_sign, "1 forward, 1 backward of the last block"),
    MapMethod("LayerCAM, last block", _of_block("layercam", 1), "1 forward, 1 backward of the last block"),
    MapMethod("LayerCAM, half depth", _of_block("layercam", 1 / 2), "1 forward, 1 backward of half the model"),
    MapMethod("LayerCAM, quarter depth", _of_block("layercam", 1 / 4), "1 forward, 1 backward of 3 quarters"),
    MapMethod("LayerCAM, first block", _of_block("layercam", 0), "1 forward, 1 backward"),
    MapMethod(
        f"LayerCAM, half depth, {STEPS}x{STEPS} shifts",
        _shifted("layercam", 1 / 2),
        f"{STEPS**2} forward, {STEPS**2} backward of half the model",
    ),
    MapMethod(
        "attention rollout",
        lambda trained, images: _enlarged(attention_rollout(trained.model, trained.normalise(images.small))),
        "2 forward, attention not fused",
    ),
    MapMethod("gradient-weighted rollout", _of_block("rollout", 1), "2 forward, 1 backward, attention not fused"),
    MapMethod("input gradient", _gradient(samples=1, noise=0), "1 forward, 1 backward"),
    MapMethod("SmoothGrad, 16 samples", _gradient(samples=16, noise=0.15), "16 forward, 16 backward"),
)
