"""A model for larger images: the same weights on a finer grid of patches."""

import copy

from timm.models.vision_transformer import VisionTransformer


def larger(model: VisionTransformer, side: int) -> VisionTransformer:
    """A copy of the model that takes images of side x side pixels.

    Patches keep their size in pixels, so there are more of them; the position embeddings are resampled to the new grid
    by timm (`resample_abs_pos_embed`: bicubic, antialiased), as for fine-tuning at another resolution (Dosovitskiy et
    al. 2021). The model has learned from images of its own size: what it sees here is magnified, and it may predict
    worse (Touvron et al. 2019).

    Args:
        model: LoRA-wrapped or not; it stays as it is.
        side: a multiple of the patch's side.

    Raises:
        ValueError: another side.
    """
    patch = model.patch_embed.patch_size[0]
    if side < patch or side % patch:
        raise ValueError(f"images of {side} pixels are not a whole number of patches of {patch}")
    grown = copy.deepcopy(model)
    grown.set_input_size(img_size=(side, side))
    return grown
