"""Saliency by the gradient at the input pixels: a reference that does not depend on the patch grid."""

from collections.abc import Callable

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from backbones import finish_from
from xai.gradcam import require_explainable


def input_gradient(model: VisionTransformer, images: Tensor, target_class: int = 1) -> Tensor:
    """Absolute gradient of a class's logit with respect to each pixel (Simonyan et al. 2014).

    The map has no sign: evidence for and against the class count alike. The model is not changed.

    Args:
        model: the network with its classifier, in eval mode, with or without LoRA; all its parameters may be frozen.
        images: (B, 3, H, W) float, already normalised with the backbone's mean and standard deviation.
        target_class: the class whose logit is explained; 1 is the positive class.

    Returns:
        (B, H, W) float32, at least 0, the maximum over the colour channels. NaN for an image that is not finite.

    Raises:
        ValueError: the model is in training mode, or has no such class.
    """
    require_explainable(model, target_class)
    maps = smoothgrad(lambda x: finish_from(model, x, 0)[:, target_class], images, samples=1, noise=0)
    return maps.masked_fill(~images.isfinite().all(dim=(1, 2, 3))[:, None, None], torch.nan)


def smoothgrad(
    score: Callable[[Tensor], Tensor], images: Tensor, samples: int = 16, noise: float = 0.15, seed: int = 0
) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017): the gradient of a class's score, averaged over noisy copies of each image.

    The result is the maximum of the absolute mean gradient over the colour channels. With one sample and no noise, this
    is the saliency of Simonyan et al. 2014. It shows the importance of a pixel, not whether it is evidence for or
    against the class.

    Args:
        score: returns the score (B,) of the class, such as its logit, for images.
        images: (B, 3, H, W) float, on the scale that `score` needs.
        samples: number of noisy copies, at least 1.
        noise: standard deviation of the noise, relative to each image's range.
        seed: seed of the noise, which is the same on every device.

    Returns:
        (B, H, W) float32, at least 0.

    Raises:
        ValueError: `samples` is below 1.
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
