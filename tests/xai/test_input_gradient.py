"""Input gradients on functions whose gradient is known in closed form."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import backbones
from xai.input_gradient import input_gradient, smoothgrad


def pictures():
    return torch.rand(2, 3, 6, 5, generator=torch.manual_seed(0))


def test_of_one_sample_without_noise_it_is_the_largest_size_over_channels():
    weights = torch.randn(3, 6, 5, generator=torch.manual_seed(1))
    images = pictures()
    maps = smoothgrad(lambda x: (weights * x**2).sum(dim=(1, 2, 3)), images, samples=1, noise=0)
    torch.testing.assert_close(maps, (2 * weights * images).abs().amax(dim=1))


def test_averages_signed_gradients_over_noise_of_a_share_of_the_range():
    """The gradient of x cubed is 3 x^2, and its mean over noise with standard deviation s is 3 (x^2 + s^2)."""
    images = pictures()
    images[1] *= 10
    maps = smoothgrad(lambda x: (x**3).sum(dim=(1, 2, 3)), images, samples=4000, noise=0.2)
    spread = 0.2 * (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))).view(2, 1, 1, 1)
    expected = (3 * (images**2 + spread**2)).amax(dim=1)
    torch.testing.assert_close(maps, expected, rtol=0.15, atol=0)
    assert ((maps / expected).mean(dim=(1, 2)) - 1).abs().max() < 0.03


def test_gradients_that_change_sign_with_the_noise_cancel():
    """The gradient of |x - x0| is randomly 1 or -1 under symmetric noise; a mean of absolute values would be 1."""
    images = torch.rand(1, 3, 4, 4)
    start = images.clone()
    maps = smoothgrad(lambda x: (x - start).abs().sum(dim=(1, 2, 3)), images, samples=2000, noise=0.1)
    assert (maps < 0.1).all()


def test_the_seed_decides_and_inference_mode_does_not_matter():
    images = pictures()

    def cube(x):
        return (x**3).sum(dim=(1, 2, 3))

    first = smoothgrad(cube, images, samples=2)
    with torch.inference_mode():
        torch.testing.assert_close(smoothgrad(cube, images.clone(), samples=2), first, rtol=0, atol=0)
    assert not torch.equal(smoothgrad(cube, images, samples=2, seed=1), first)


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        smoothgrad(lambda x: x.sum(dim=(1, 2, 3)), pictures(), samples=0)


def test_a_models_map_is_the_slope_of_its_logit():
    """Compared with central differences in float64 at pixels of every patch."""
    torch.manual_seed(0)
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    backbones.attach_classifier(model, 2, seed=0)
    model, image = model.eval().double().requires_grad_(False), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    for target in (0, 1):
        (found,) = input_gradient(model, image, target)
        for y, x in ((0, 0), (3, 12), (9, 2), (15, 15)):
            slopes = []
            for channel in range(3):
                moved = image.repeat(2, 1, 1, 1)
                moved[:, channel, y, x] += torch.tensor([1e-4, -1e-4])
                higher, lower = model(moved)[:, target]
                slopes.append(abs(float(higher - lower)) / 2e-4)
            assert float(found[y, x]) == pytest.approx(max(slopes), rel=1e-4)
    with pytest.raises(ValueError, match="training mode"):
        input_gradient(model.train(), image)
