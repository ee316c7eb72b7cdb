"""Parameter randomisation test: the change of a map when trained weights are replaced by random ones, head first.

This is the cascading sanity check of Adebayo et al. (2018). A map that stays the same while its layers become random
depends on the image or the architecture, not on what the model has learned.
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
    """Re-initialises a model step by step, head first.

    Step 1 re-initialises only the classifier, as `backbones.attach_classifier` does. Step 2 adds the last block and the
    layers between it and the classifier (norm, pooling), and each further step one block. Step `depth + 2` adds the
    patch embedding and the tokens, after which no trained weights are left. Blocks get timm's initialisation of this
    model.

    `model` is not changed. All steps change the same copy, so use each result before the next step. LoRA adapters are
    merged into the copy's weights, which does not change its output except for rounding, and are re-initialised with
    their block.

    Args:
        model: the network with its classifier, with or without LoRA.
        seed: seed of the random weights, which are the same on all devices.

    Yields:
        The number of re-initialised parts, 1 to depth + 2, and the model, in eval mode on the device of `model`.
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
    """Re-initialises a module or token on the CPU, whose random numbers do not depend on the device."""
    part = attrgetter(name)(model)
    if part is None:
        return
    if isinstance(part, nn.Parameter):  # as in timm: positions like linear weights, other tokens close to zero
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
        part.reset_parameters()  # some of timm's initialisations set a classifier to 0, which gives no gradient
    else:
        initialise = get_init_weights_vit(model.weight_init_mode, needs_reset=True)
        named_apply(initialise, part, name, include_root=True)
    part.to(device)


def _without_adapters(model: VisionTransformer) -> VisionTransformer:
    """The model with PEFT's layers replaced by the layers that they wrap, after merging the adapters."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
        elif hasattr(module, "modules_to_save"):
            model.set_submodule(name, module.modules_to_save[module.active_adapter])
    return model


def others(patients: np.ndarray, most: int = 16) -> np.ndarray:
    """Pairs of images of different patients, as a reference for the similarity of unrelated maps.

    Maps of different images share only properties of all maps of a model, such as smoothness. If the map of
    re-initialised weights is only as similar to the trained map as these pairs, nothing of the trained map is left.

    Args:
        patients: (n,), patient of each image.
        most: maximum number of other images for each image.

    Returns:
        (pairs, 2) int.
    """
    n, steps = len(patients), np.arange(1, max(2, len(patients) // 2 + 1))
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, max(1, most // 2)).round().astype(int))]
    one = np.tile(np.arange(n), len(steps))
    pairs = np.stack([one, (one + np.repeat(steps, n)) % n], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return pairs[patients[pairs[:, 0]] != patients[pairs[:, 1]]]


def rank_correlation(maps: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (with mid-ranks for ties) of two maps of each image over the patch grid.

    A random classifier reverses the sign of a map with a probability of 1/2, so -1 is as similar as 1. Interpret the
    absolute value.

    Args:
        maps: (B, rows, columns) float, such as signed maps.
        trained: (B, rows, columns) float, the maps to compare with.

    Returns:
        (B,) float64 in -1..1; NaN if one of the maps is constant.
    """
    ranks = [rankdata(each.reshape(len(each), -1), axis=1) for each in (maps, trained)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return divide_or_nan((a * b).sum(axis=1), spread)


def structural_similarity(maps: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """SSIM of two maps of each image (Wang et al. 2004: Gaussian window of 11 pixels and sigma 1.5, range 1).

    Args:
        maps: (B, H, W) float in 0..1, at least 11 pixels per side, from `saliency_maps` with `minmax` scaling.
        trained: (B, H, W) float, the maps to compare with.

    Returns:
        (B,) float64, 1 for equal maps; NaN if one of the maps is all zeros.
    """
    return np.array([_ssim(x, y) if x.any() and y.any() else np.nan for x, y in zip(maps, trained, strict=True)])


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    # Windows that extend beyond the image are left out.
    local = (cv2.GaussianBlur(each, (11, 11), 1.5)[5:-5, 5:-5] for each in (x, y, x * x, y * y, x * y))
    mean_x, mean_y, square_x, square_y, product = local
    means, squared_means = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * means + 0.01**2) / (squared_means + 0.01**2)
    structure = (2 * (product - means) + 0.03**2) / (square_x + square_y - squared_means + 0.03**2)
    return float((luminance * structure).mean())


def mean_sd(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (ddof 1) over images.

    Args:
        values: (B,) float; NaN is left out.

    Returns:
        The mean, NaN without a value, and the standard deviation, NaN with fewer than two values.
    """
    known = values[~np.isnan(values)]
    return (
        float(known.mean()) if len(known) else float("nan"),
        float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
    )
