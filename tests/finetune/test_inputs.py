"""What a training step reads, from photographs and from a cache."""

import numpy as np
import pytest
import torch

from finetune.augment import augment
from finetune.inputs import Embeddings, Images, plan_views

CPU = torch.device("cpu")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def test_photographs_are_scaled_then_normalised(pixels):
    images = Images(pixels, lambda batch: (batch - 0.5) / 0.25, seed=0, device=CPU)
    batch = images.batch(np.array([4, 1]), np.array([0, 0]))
    assert batch.dtype == torch.float32
    expected = (pixels[[4, 1]].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-6)


def test_photographs_are_augmented_before_they_are_normalised(pixels):
    """Augmentation fills with black and clips to 0..1, which mean nothing after normalising."""
    rows, views = np.array([2, 3]), np.array([1, 4])
    batch = Images(pixels, lambda batch: batch * 2, seed=7, device=CPU).batch(rows, views)
    photographs = torch.from_numpy(pixels[rows].transpose(0, 3, 1, 2) / np.float32(255))
    torch.testing.assert_close(batch, augment(photographs, rows, views, seed=7) * 2)


def test_photographs_may_lie_in_a_read_only_file(pixels, tmp_path):
    np.save(tmp_path / "images.npy", pixels)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    views = np.array([0, 2])
    from_file, from_memory = (
        Images(store, torch.neg, seed=0, device=CPU).batch(np.array([3, 0]), views) for store in (stored, pixels)
    )
    assert torch.equal(from_file, from_memory)


def test_embeddings_are_found_through_their_table(tmp_path):
    store = np.arange(24, dtype=np.float16).reshape(6, 2, 2)
    np.save(tmp_path / "tokens.npy", store)
    entry = np.array([[0, 4, -1], [1, 5, 3], [2, -1, -1]])
    embeddings = Embeddings(np.load(tmp_path / "tokens.npy", mmap_mode="r"), entry, CPU)
    batch = embeddings.batch(np.array([1, 0, 1]), np.array([2, 1, 0]))
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch.numpy(), store[[3, 4, 1]])


def test_a_view_that_was_not_embedded():
    embeddings = Embeddings(np.zeros((2, 4), np.float16), np.array([[0, -1], [1, -1]]), CPU)
    with pytest.raises(IndexError, match="view 1 of row 0 was not embedded"):
        embeddings.batch(np.array([1, 0]), np.array([0, 1]))


def test_a_plan_has_every_photograph_and_the_views_of_some():
    expected = [[0, -1, -1], [1, 4, 5], [2, -1, -1], [3, 6, 7]]
    np.testing.assert_array_equal(plan_views(4, np.array([1, 3]), views=3), expected)


@pytest.mark.parametrize(("augmented", "views"), [([], 4), ([0, 2], 1), ([2, 0, 1], 3)])
def test_a_plan_leaves_no_gap_and_shares_no_place(augmented, views):
    entry = plan_views(3, np.array(augmented, dtype=int), views)
    planned = np.sort(entry[entry >= 0])
    np.testing.assert_array_equal(planned, np.arange(3 + len(augmented) * (views - 1)))
    np.testing.assert_array_equal(entry[:, 0], np.arange(3))
