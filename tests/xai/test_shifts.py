"""Shifted averages of explanations with a known result, and of Grad-CAM without a shift."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

import backbones
from xai.gradcam import gradcam
from xai.shifts import offsets, shifted_average

PATCH = 8


def brightness(images):
    """The mean of the first channel in every patch: an explanation with a known answer at every pixel."""
    return F.avg_pool2d(images[:, 0], PATCH)


def test_without_a_shift_every_pixel_has_its_patchs_gradcam():
    torch.manual_seed(0)
    model = VisionTransformer(img_size=32, patch_size=PATCH, embed_dim=32, depth=2, num_heads=4, num_classes=0)
    backbones.attach_classifier(model.eval(), 2, seed=0)
    images = torch.rand(2, 3, 32, 32)

    def explain(pictures):
        return gradcam(model, backbones.encode_until(model, pictures, 1))

    maps = shifted_average(explain, images, PATCH, steps=1)
    expected = np.kron(explain(images).numpy(), np.ones((PATCH, PATCH)))
    assert expected.std() > 0
    np.testing.assert_array_equal(maps.numpy(), expected)


@pytest.mark.parametrize("steps", [2, 3, 4, 8])
def test_averages_the_values_that_cover_a_pixel(steps):
    """Compared with NumPy: for every shift, the patch's mean is computed from a padded image, pixel by pixel."""
    images = torch.rand(2, 3, 24, 32, generator=torch.manual_seed(0))
    maps = shifted_average(brightness, images, PATCH, steps)
    padded = np.pad(images[:, 0].numpy().astype(np.float64), ((0, 0), (PATCH, PATCH), (PATCH, PATCH)))
    by = offsets(PATCH, steps)
    for image, y, x in [(0, 0, 0), (1, 0, 31), (0, 23, 13), (1, 11, 20), (0, 12, 7), (1, 23, 31)]:
        values = []
        for down in by:
            for right in by:
                row, column = y + down, x + right  # of the pixel in the moved image
                if not (0 <= row < 24 and 0 <= column < 32):
                    continue
                top = row // PATCH * PATCH - down + PATCH
                left = column // PATCH * PATCH - right + PATCH
                # Pixels that are shifted into the frame are black.
                patch = padded[image, top : top + PATCH, left : left + PATCH]
                values.append(patch.mean())
        assert maps[image, y, x] == pytest.approx(np.mean(values), abs=1e-6)


def test_is_finer_than_a_patch():
    """A bright point: without shifts its whole patch has one value; with eight the maximum is at the point."""
    images = torch.zeros(1, 3, 32, 32)
    images[0, :, 13, 18] = 1
    coarse, fine = (shifted_average(brightness, images, PATCH, steps)[0] for steps in (1, 8))
    assert (coarse == coarse.max()).sum() == PATCH**2
    # Offsets are whole numbers, so only the point itself shares a patch with it in every shift.
    assert (fine == fine.max()).sum() == 1
    assert fine[13, 18] == fine.max()


def test_offsets_are_spread_over_one_patch():
    assert offsets(16, 4) == [-6, -2, 2, 6]
    assert offsets(14, 4) == [-5, -2, 2, 5]
    assert offsets(16, 1) == [0]
    assert len({offset % 16 for offset in offsets(16, 16)}) == 16


@pytest.mark.parametrize("steps", [0, 9])
def test_more_shifts_than_pixels_are_refused(steps):
    with pytest.raises(ValueError, match=f"{steps} shifts of a patch of 8 pixels; choose from 1 to 8"):
        shifted_average(brightness, torch.zeros(1, 3, 16, 16), PATCH, steps)
