"""Explanation methods by name, all used alike.

    method = open_method("layercam")
    inputs = encode_until(model, images, method.start(depth))
    maps = saliency_maps(method(model, inputs, target_class=1), size=224)

`gradcam`, `rollout` and `input_gradient` are this project's. The others are pytorch-grad-cam's formulas on the
activations and gradients that `gradcam` uses: no image passes through the model for them, the model keeps its gradients
and its mode, and their maps come back before the library's scaling, for `saliency_maps` to scale as those of every
method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones.spelling import did_you_mean
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
# Methods without a single block as their target layer, and what is explained instead.
WHOLE = {
    "rollout": (rollout, "attention of every block"),
    "input_gradient": (input_gradient, "pixels of the image"),
}
METHODS = ("gradcam", *LIBRARY, *WHOLE)
UNFIT = {
    "ablationcam": "it marks a channel as absent by -1e7, which no norm puts out, in a pass for every channel",
    "scorecam": "it masks the image by every channel in turn, which takes hundreds of passes for one map",
    "fullgrad": "it adds up the biases of convolutions, and a vision transformer has one, before its first block",
    "shapleycam": "pytorch-grad-cam's does not bring tokens to a grid, so it fails on vision transformers",
    "finercam": "it sets a class against those most like it, and a study has two",
    "randomcam": "its weights are unseeded noise",
}


@dataclass(frozen=True)
class Method:
    """One way to say where a model looks.

    Attributes:
        name: what users write, one of `METHODS`.
        explain: (model, inputs, target class) -> maps.
        block: whose `norm1` is the target layer, negative from the end; None where every block takes part.
        layer: the target layer, for the record.
    """

    name: str
    explain: Callable[[VisionTransformer, Tensor, int], Tensor]
    block: int | None
    layer: str

    def start(self, depth: int) -> int:
        """The block whose inputs the method takes, of a model of `depth`: images for 0, else tokens.

        Raises:
            ValueError: a model of that depth has no such block.
        """
        if self.block is None:
            return 0
        if not -depth <= self.block < depth:
            raise ValueError(
                f"{self.name}: block {self.block} of a model of {depth} blocks; from {-depth} to {depth - 1}"
            )
        return self.block % depth

    def __call__(self, model: VisionTransformer, inputs: Tensor, target_class: int = 1) -> Tensor:
        """Maps before any scaling; only positive values speak for the class.

        Args:
            model: with its classifier, in eval mode, LoRA-wrapped or not; its parameters may all be frozen.
            inputs: as `encode_until(model, images, self.start(depth))` returns them, or a cache of the same.

        Returns:
            (B, rows, columns) float32 on the model's device: on its patch grid, of `input_gradient` on the images'
            pixels. Pictures of a batch do not mix; the map of one whose inputs are not finite is NaN.

        Raises:
            ValueError: training mode, no such class, or a model that the method does not know.
        """
        return self.explain(model, inputs, target_class)


def open_method(name: str, block: int = -1) -> Method:
    """The method of that name.

    Args:
        block: whose `norm1` is the target layer; negative counts from the end.

    Raises:
        ValueError: unknown name, with the nearest known ones; a method of pytorch-grad-cam that is none for vision
            transformers, with the reason; or a block for a method of `WHOLE`, which takes all.
    """
    if name in WHOLE:
        if block != -1:
            raise ValueError(f"{name} goes through every block: leave out block {block}")
        explain, layer = WHOLE[name]
        return Method(name, explain, None, layer)
    layer = f"blocks[{block}].norm1"
    if name == "gradcam":
        return Method(name, partial(gradcam, block=block), block, layer)
    if name in LIBRARY:
        return Method(name, partial(_by_library, LIBRARY[name], block), block, layer)
    if name in UNFIT:
        raise ValueError(f"explanation method {name} is not offered: {UNFIT[name]}; known: {', '.join(METHODS)}")
    hint = did_you_mean(name.lower(), METHODS, f"known: {', '.join(METHODS)}")
    raise ValueError(f"explanation method {name!r} is unknown; {hint}")


def _by_library(kind: str, block: int, model: VisionTransformer, tokens: Tensor, target_class: int) -> Tensor:
    import pytorch_grad_cam  # brings matplotlib, which `gradcam` can do without

    # It wants a model to put hooks on and to switch to eval mode; ours it never sees.
    engine = getattr(pytorch_grad_cam, kind)(torch.nn.Linear(1, 1), target_layers=[])
    activations, gradients = (
        part.float().mT.unflatten(2, model.patch_embed.grid_size)
        for part in at_target_layer(model, tokens, target_class, block)
    )
    maps = activations.new_full((len(tokens), *model.patch_embed.grid_size), torch.nan)
    # The library takes NaN for 0, and one infinity ends its decompositions for the whole batch.
    whole = (activations.isfinite() & gradients.isfinite()).flatten(1).all(dim=1)
    if whole.any():
        found = engine.get_cam_image(
            None, None, None, activations[whole].cpu().numpy(), gradients[whole].cpu().numpy(), eigen_smooth=False
        )
        maps[whole] = torch.from_numpy(found).to(maps)
    return maps
