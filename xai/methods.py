"""Explanation methods by name, with the same interface.

    method = open_method("layercam")
    inputs = encode_until(model, images, method.start(depth))
    maps = saliency_maps(method(model, inputs, target_class=1), size=224)

This project implements `gradcam`, `rollout` and `input_gradient`. The others apply pytorch-grad-cam's formulas to the
activations and gradients that `gradcam` uses. They need no additional forward pass, do not change the model's gradients
or mode, and return maps before the library's scaling, so that `saliency_maps` scales the maps of all methods.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones.naming import Registry
from xai.gradcam import at_target_layer, gradcam
from xai.input_gradient import input_gradient
from xai.rollout import rollout

LIBRARY = {
    "hirescam": "HiResCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "gradcamelementwise": "GradCAMElementWise",
    "eigengradcam": "EigenGradCAM",
    "segeigencam": "SegEigenCAM",
    "eigencam": "EigenCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
}
# Methods without a single target layer, and what they explain instead.
WHOLE = {
    "rollout": (rollout, "attention of every block"),
    "input_gradient": (input_gradient, "pixels of the image"),
}
UNFIT = {
    "ablationcam": "it sets an ablated channel to -1e7, which no norm can output, and needs a pass per channel",
    "scorecam": "it masks the image by every channel in turn, which takes hundreds of passes for one map",
    "fullgrad": "it sums the biases of convolutions, but a vision transformer has only one, before its first block",
    "shapleycam": "pytorch-grad-cam's version does not reshape tokens to a grid, so it fails on vision transformers",
    "finercam": "it compares a class with the most similar ones, but a study has only two classes",
    "randomcam": "its weights are unseeded noise",
}


@dataclass(frozen=True)
class Method:
    """An explanation method.

    Attributes:
        name: one of `METHODS`, as written in a configuration.
        explain: returns maps for a model, its inputs and the target class.
        block: the block whose `norm1` is the target layer, negative from the end; None if all blocks are used.
        layer: name of the target layer, for reports.
    """

    name: str
    explain: Callable[[VisionTransformer, Tensor, int], Tensor]
    block: int | None
    layer: str

    def start(self, depth: int) -> int:
        """The block whose inputs the method needs: images for 0, otherwise tokens.

        Args:
            depth: number of blocks of the model.

        Raises:
            ValueError: a model of this depth has no such block.
        """
        if self.block is None:
            return 0
        if not -depth <= self.block < depth:
            raise ValueError(
                f"{self.name}: block {self.block} of a model of {depth} blocks; from {-depth} to {depth - 1}"
            )
        return self.block % depth

    def __call__(self, model: VisionTransformer, inputs: Tensor, target_class: int = 1) -> Tensor:
        """Maps before any scaling; positive values are evidence for the class.

        The images of a batch do not affect each other.

        Args:
            model: the network with its classifier, in eval mode, with or without LoRA. All parameters may be frozen.
            inputs: as from `encode_until(model, images, self.start(depth))`, or cached.
            target_class: the class whose logit is explained; 1 is the positive class.

        Returns:
            (B, rows, columns) float32 on the model's device, on its patch grid (for `input_gradient`, on the images'
            pixels). The map of an image whose inputs are not finite is NaN.

        Raises:
            ValueError: the model is in training mode, has no such class, or is not supported by the method.
        """
        return self.explain(model, inputs, target_class)


def open_method(name: str, block: int = -1) -> Method:
    """The method of a name.

    Args:
        name: one of `METHODS`.
        block: the block whose `norm1` is the target layer; negative numbers count from the end.

    Raises:
        ValueError: the name is unknown (the message names similar ones), the method is one of pytorch-grad-cam's that
            do not suit vision transformers (the message states the reason), or a block is given for a method of
            `WHOLE`, which uses all blocks.
    """
    if name in UNFIT:
        raise ValueError(f"explanation method {name} is not offered: {UNFIT[name]}; known: {', '.join(METHODS)}")
    return METHODS.find(name)(block)


def _at_block(name: str, explain: Callable[..., Tensor], block: int) -> Method:
    return Method(name, partial(explain, block=block), block, f"blocks[{block}].norm1")


def _over_all(name: str, explain: Callable[..., Tensor], layer: str, block: int) -> Method:
    if block != -1:
        raise ValueError(f"{name} uses every block: leave out block {block}")
    return Method(name, explain, None, layer)


def _by_library(kind: str, model: VisionTransformer, tokens: Tensor, target_class: int, block: int) -> Tensor:
    import pytorch_grad_cam  # imports matplotlib, which `gradcam` does not need

    # The library needs a model for its hooks and sets it to eval mode, so it gets a dummy.
    engine = getattr(pytorch_grad_cam, kind)(torch.nn.Linear(1, 1), target_layers=[])
    activations, gradients = (
        part.float().mT.unflatten(2, model.patch_embed.grid_size)
        for part in at_target_layer(model, tokens, target_class, block)
    )
    maps = activations.new_full((len(tokens), *model.patch_embed.grid_size), torch.nan)
    # The library replaces NaN by 0, and one infinite value makes its decompositions fail for the whole batch.
    whole = (activations.isfinite() & gradients.isfinite()).flatten(1).all(dim=1)
    if whole.any():
        found = engine.get_cam_image(
            None, None, None, activations[whole].cpu().numpy(), gradients[whole].cpu().numpy(), eigen_smooth=False
        )
        maps[whole] = torch.from_numpy(found).to(maps)
    return maps


# Name in a configuration -> opens the method for a block.
METHODS: Registry[Callable[[int], Method]] = Registry("explanation method")
METHODS.register("gradcam", partial(_at_block, "gradcam", gradcam))
for _name, _kind in LIBRARY.items():
    METHODS.register(_name, partial(_at_block, _name, partial(_by_library, _kind)))
for _name, (_explain, _layer) in WHOLE.items():
    METHODS.register(_name, partial(_over_all, _name, _explain, _layer))
