"""A model for larger images: the same weights on a finer grid of patches."""

import copy

from timm.models.vision_transformer import VisionTransformer


def larger(model: VisionTransformer, side: int) -> VisionTransformer:
    """A copy of the model for images of side x side pixels.

    Patches keep their size in pixels, so there are more of them. timm resamples the position embeddings to the new grid
    (`resample_abs_pos_embed`: bicubic, antialiased), as for fine-tuning at another resolution (Dosovitskiy et al.
    2021). The model was trained on smaller images, so structures appear magnified to it, and its predictions may be
    worse (Touvron et al. 2019).

    Args:
        model: the network, with or without LoRA; it is not changed.
        side: side of the images in pixels, a multiple of the patch size.

    Raises:
        ValueError: the side is not a multiple of the patch size.
    """
    patch = model.patch_embed.patch_size[0]
    if side < patch or side % patch:
        raise ValueError(f"images of {side} pixels: the side must be a multiple of the patch size ({patch} pixels)")
    grown = copy.deepcopy(model)
    grown.set_input_size(img_size=(side, side))
    return grown
