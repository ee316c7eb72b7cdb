"""Saliency by the gradient at the input, pixel by pixel: a reference that knows no grid of patches."""

from collections.abc import Callable

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones import finish_from
from xai.gradcam import require_explainable


def input_gradient(model: VisionTransformer, images: Tensor, target_class: int = 1) -> Tensor:
    """How much each pixel matters for a class's logit: the size of its gradient (Simonyan et al. 2014).

    It has no sign: a pixel that speaks against the class counts as one that speaks for it. Nothing of the model
    changes.

    Args:
        model: with its classifier, in eval mode, LoRA-wrapped or not; its parameters may all be frozen.
        images: (B, 3, H, W) float, already normalised with the backbone's mean and standard deviation.
        target_class: the class whose logit is explained; 1 is the positive class.

    Returns:
        (B, H, W) float32, at least 0: of the colour channels the largest. NaN for an image that is not finite.

    Raises:
        ValueError: training mode, or no such class.
    """
    require_explainable(model, target_class)
    maps = smoothgrad(lambda x: finish_from(model, x, 0)[:, target_class], images, samples=1, noise=0)
    return maps.masked_fill(~images.isfinite().all(dim=(1, 2, 3))[:, None, None], torch.nan)


def smoothgrad(
    score: Callable[[Tensor], Tensor], images: Tensor, samples: int = 16, noise: float = 0.15, seed: int = 0
) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017): the gradient of a class's score, averaged over noisy copies of each image.

    Of the colour channels the largest size counts (Simonyan et al. 2014), which is that saliency itself for one sample
    without noise. It shows where a pixel matters, not whether it speaks for the class or against it.

    Args:
        score: images -> (B,) the score of the class, such as its logit.
        images: (B, 3, H, W) float, on any scale that `score` takes.
        noise: standard deviation of the noise, as a share of each image's range.
        seed: of the noise; the same on every device.

    Returns:
        (B, H, W) float32, at least 0.

    Raises:
        ValueError: fewer samples than 1.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    rng = torch.Generator().manual_seed(seed)
    spread = noise * (images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True))
    with torch.inference_mode(False), torch.enable_grad():
        total = torch.zeros(images.shape, device=images.device)
        for _ in range(samples):
            grain = torch.randn(images.shape, generator=rng).to(images)
            inputs = (images + spread * grain).detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(score(inputs).sum(), inputs)
            total += gradient.float()
    return (total / samples).abs().amax(dim=1)
