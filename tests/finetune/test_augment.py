"""Augmented views are a pure function of seed, row and view; their effect on an image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.augment import BRIGHTNESS, CONTRAST, ROTATION, augment

PICTURES = torch.rand(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))
VIEWS = np.arange(1, 101)


def view_of(picture, row, view, seed=0):
    return augment(picture[None], np.array([row]), np.array([view]), seed)[0]


def dots():
    """The angle (degrees) and side (1 right, -1 left) of a bright dot right of the centre, in a hundred views."""
    picture = torch.zeros(1, 3, 65, 65)
    picture[..., 30:35, 52:57] = 1
    views = augment(picture.expand(len(VIEWS), -1, -1, -1), np.zeros_like(VIEWS), VIEWS, seed=0)
    # A change of contrast raises the black background uniformly; the dot is brighter than it.
    weight = (views[:, 0] - views[:, 0].flatten(1).median(dim=1).values[:, None, None]).clamp(min=0).double()
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    total = weight.sum(dim=(1, 2))
    x, y = ((weight * axis).sum(dim=(1, 2)) / total for axis in (x, y))
    assert torch.allclose(x.hypot(y), torch.tensor(22.0).double(), atol=0.5), "a rotation keeps the distance"
    return torch.rad2deg(torch.atan2(y, x.abs())).numpy(), np.sign(x.numpy())


def test_view_0_is_the_image_itself():
    rows = np.arange(6)
    assert torch.equal(augment(PICTURES, rows, np.zeros(6, int), seed=0), PICTURES)
    mixed = augment(PICTURES, rows, np.array([0, 1, 0, 2, 0, 3]), seed=0)
    assert torch.equal(mixed[::2], PICTURES[::2])
    assert not any(torch.equal(mixed[i], PICTURES[i]) for i in (1, 3, 5))


@given(
    data=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_view_depends_on_nothing_but_seed_row_and_view(data, seed):
    """It does not depend on the other images of the batch, the position in it, or the global random state."""
    rows, views = np.array(data).T
    before = torch.get_rng_state()
    together = augment(PICTURES[rows], rows, views, seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert together.shape == (len(rows), 3, 24, 24)
    assert together.min() >= 0
    assert together.max() <= 1
    for picture, row, view in zip(together, rows, views, strict=True):
        torch.testing.assert_close(picture, view_of(PICTURES[row], row, view, seed), atol=1e-6, rtol=0)


@pytest.mark.parametrize("other", [{"row": 4}, {"view": 3}, {"seed": 1}])
def test_another_row_view_or_seed_is_another_view(other):
    same = {"row": 3, "view": 2, "seed": 0}
    first = view_of(PICTURES[0], **same)
    assert torch.equal(first, view_of(PICTURES[0], **same))
    assert not torch.allclose(first, view_of(PICTURES[0], **same | other), atol=1e-3)


def test_about_half_of_the_views_are_flipped():
    _, side = dots()
    assert 35 <= (side < 0).sum() <= 65


def test_views_are_rotated_either_way_and_not_too_far():
    angle, _ = dots()
    assert abs(angle).max() <= ROTATION + 0.5
    assert angle.min() < -0.8 * ROTATION
    assert angle.max() > 0.8 * ROTATION
    assert abs(angle.mean()) < 3


def test_brightness_and_contrast_change_within_their_bounds():
    """The middle of an image that is dark on the left and bright on the right, without the corners."""
    picture = torch.full((3, 64, 64), 0.3)
    picture[..., 32:] = 0.5
    middle = torch.stack([view_of(picture, 0, view)[0, 28:36, 8:56] for view in VIEWS.tolist()])
    dark, bright = middle.amin(dim=(1, 2)).numpy(), middle.amax(dim=(1, 2)).numpy()
    stretch = (bright - dark) / 0.2  # both changes
    assert stretch.min() >= (1 - BRIGHTNESS) * (1 - CONTRAST) - 1e-4
    assert stretch.max() <= (1 + BRIGHTNESS) * (1 + CONTRAST) + 1e-4
    assert (bright + dark).std() > 0.04, "brightness"
    assert ((bright - dark) / (bright + dark)).std() > 0.015, "contrast, which brightness leaves as it is"


def test_precision_and_device_are_kept():
    half = augment(PICTURES.double(), np.arange(6), np.ones(6, int), seed=0)
    assert half.dtype == torch.float64
    torch.testing.assert_close(half.float(), augment(PICTURES, np.arange(6), np.ones(6, int), seed=0))
