"""Parameter randomisation test: how far a map moves when the trained weights are taken away, from the head down.

The cascading sanity check of Adebayo et al. (2018): a map that stays as it was while the layers under it turn random
shows the picture or the architecture, not what the model learned.
"""

import copy
from collections.abc import Iterator
from operator import attrgetter

import cv2
import numpy as np
import torch
from scipy.stats import rankdata
from timm.models import named_apply
from timm.models.vision_transformer import VisionTransformer, get_init_weights_vit
from torch import nn

from xai.division import divide_or_nan


def cascade(model: VisionTransformer, seed: int = 0) -> Iterator[tuple[int, VisionTransformer]]:
    """The model with ever more of it re-initialised, head first.

    Step 1 is the classifier alone, as `backbones.attach_classifier` makes it; step 2 adds the last block and what lies
    between it and the classifier (norm, pooling); every further step one block; step `depth + 2` the patch embedding
    and the tokens, after which nothing trained is left. Blocks take timm's own initialisation of that model.

    `model` is not touched: one copy of it is changed step by step, so use each before taking the next. LoRA adapters
    are merged into the copy's weights, which leaves its function as it was up to rounding, and go with their block.

    Yields:
        Number of parts re-initialised, 1 to depth + 2, and the model, in eval mode on the device of the given one. The
        same seed gives the same weights on any device.
    """
    changed = _without_adapters(copy.deepcopy(model)).eval()
    for step, names in enumerate(_parts(changed), start=1):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
            for name in names:
                _reinitialise(changed, name)
        yield step, changed


def _parts(model: VisionTransformer) -> list[list[str]]:
    """The names of the modules and tokens that each step adds."""
    blocks = [[f"blocks.{index}"] for index in reversed(range(len(model.blocks)))]
    blocks[0] += ["norm", "attn_pool", "fc_norm"]
    return [["head"], *blocks, ["norm_pre", "patch_embed", "pos_embed", "cls_token", "reg_token"]]


def _reinitialise(model: VisionTransformer, name: str) -> None:
    """Modules on the CPU, whose random numbers are the same everywhere; then back."""
    part = attrgetter(name)(model)
    if part is None:
        return
    if isinstance(part, nn.Parameter):  # as timm: positions spread like linear weights, other tokens next to zero
        fresh = torch.empty(part.shape)
        if name == "pos_embed":
            nn.init.trunc_normal_(fresh, std=0.02)
        else:
            nn.init.normal_(fresh, std=1e-6)
        part.copy_(fresh)
        return
    device = next(model.parameters()).device
    part.to("cpu")
    if name == "head":
        part.reset_parameters()  # some of timm's initialisations set a classifier to zero, which has no gradient
    else:
        initialise = get_init_weights_vit(model.weight_init_mode, needs_reset=True)
        named_apply(initialise, part, name, include_root=True)
    part.to(device)


def _without_adapters(model: VisionTransformer) -> VisionTransformer:
    """PEFT's layers replaced by the ordinary ones they wrap, with the adapters' share added."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
        elif hasattr(module, "modules_to_save"):
            model.set_submodule(name, module.modules_to_save[module.active_adapter])
    return model


def others(patients: np.ndarray, most: int = 16) -> np.ndarray:
    """Pairs of images of different patients, (pairs, 2) int: each image with `most` others at most.

    Maps of different images have nothing of each other but what all maps of a model share, smoothness above all. As
    alike as they are, a map of re-initialised weights has nothing left of the trained one.
    """
    n, steps = len(patients), np.arange(1, max(2, len(patients) // 2 + 1))
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, max(1, most // 2)).round().astype(int))]
    one = np.tile(np.arange(n), len(steps))
    pairs = np.stack([one, (one + np.repeat(steps, n)) % n], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return pairs[patients[pairs[:, 0]] != patients[pairs[:, 1]]]


def rank_correlation(maps: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each image over the patch grid, mid-ranks for ties.

    A random classifier is as likely to turn a map round as not: -1 is as much the same picture as 1, and its size is
    what counts.

    Args:
        maps: (B, rows, columns) float, signed maps for example.
        trained: (B, rows, columns) float, those to compare with.

    Returns:
        (B,) float64 in -1..1; NaN where a map is the same everywhere.
    """
    ranks = [rankdata(each.reshape(len(each), -1), axis=1) for each in (maps, trained)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return divide_or_nan((a * b).sum(axis=1), spread)


def structural_similarity(maps: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """SSIM of two maps of each image (Wang et al. 2004: Gaussian window of 11 pixels and sigma 1.5, range 1).

    Args:
        maps: (B, H, W) float in 0..1, at least 11 pixels a side: from `saliency_maps`, scaled by `minmax`.
        trained: (B, H, W) float, those to compare with.

    Returns:
        (B,) float64, 1 for equal maps; NaN where a map is zero everywhere.
    """
    return np.array([_ssim(x, y) if x.any() and y.any() else np.nan for x, y in zip(maps, trained, strict=True)])


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    # Windows that reach beyond the picture are left out.
    local = (cv2.GaussianBlur(each, (11, 11), 1.5)[5:-5, 5:-5] for each in (x, y, x * x, y * y, x * y))
    mean_x, mean_y, square_x, square_y, product = local
    means, squared_means = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * means + 0.01**2) / (squared_means + 0.01**2)
    structure = (2 * (product - means) + 0.03**2) / (square_x + square_y - squared_means + 0.03**2)
    return float((luminance * structure).mean())


def mean_sd(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over images (B,), NaN left out; NaN where fewer than one, or two, remain."""
    known = values[~np.isnan(values)]
    return (
        float(known.mean()) if len(known) else float("nan"),
        float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
    )
