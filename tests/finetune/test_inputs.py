"""The inputs of a training step, from images and from a cache."""

import numpy as np
import pytest
import torch

import backbones
from finetune.augment import augment
from finetune.inputs import Embeddings, FrozenFront, Images, batches, plan_rows, plan_views

CPU = torch.device("cpu")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def test_images_are_scaled_then_normalised(pixels):
    images = Images(pixels, lambda batch: (batch - 0.5) / 0.25, seed=0, device=CPU)
    batch = images.batch(np.array([4, 1]), np.array([0, 0]))
    assert batch.dtype == torch.float32
    expected = (pixels[[4, 1]].transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-6)


def test_images_are_augmented_before_they_are_normalised(pixels):
    """Augmentation fills with black and clips to 0..1, which would be wrong after normalisation."""
    rows, views = np.array([2, 3]), np.array([1, 4])
    batch = Images(pixels, lambda batch: batch * 2, seed=7, device=CPU).batch(rows, views)
    images = torch.from_numpy(pixels[rows].transpose(0, 3, 1, 2) / np.float32(255))
    torch.testing.assert_close(batch, augment(images, rows, views, seed=7) * 2)


def test_images_may_lie_in_a_read_only_file(pixels, tmp_path):
    np.save(tmp_path / "images.npy", pixels)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    views = np.array([0, 2])
    from_file, from_memory = (
        Images(store, torch.neg, seed=0, device=CPU).batch(np.array([3, 0]), views) for store in (stored, pixels)
    )
    assert torch.equal(from_file, from_memory)


@pytest.mark.parametrize("resident", [0, 2**30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_embeddings_are_found_through_their_table(tmp_path, monkeypatch, dtype, resident):
    """Both for a cache that stays in the file and for one that is copied to the device."""
    monkeypatch.setattr("finetune.inputs.RESIDENT", resident)
    store = torch.arange(24).reshape(6, 2, 2).to(dtype)
    np.save(tmp_path / "tokens.npy", (store.view(torch.int16) if dtype == torch.bfloat16 else store).numpy())
    entry = np.array([[0, 4, -1], [1, 5, 3], [2, -1, -1]])
    embeddings = Embeddings.open(tmp_path / "tokens.npy", entry, dtype, CPU)
    batch = embeddings.batch(np.array([1, 0, 1]), np.array([2, 1, 0]))
    assert batch.dtype == torch.float32
    assert torch.equal(batch, store[[3, 4, 1]].float())


def test_embeddings_that_are_read_once_stay_in_the_file(tmp_path):
    store = np.arange(8, dtype=np.float16).reshape(4, 2)
    np.save(tmp_path / "tokens.npy", store)
    entry = plan_rows(6, np.array([5, 0, 2, 1]))
    often, once = (Embeddings.open(tmp_path / "tokens.npy", entry, torch.float16, CPU, once) for once in (False, True))
    rows = np.array([2, 5])
    for embeddings in (often, once):
        assert embeddings.batch(rows, np.zeros_like(rows)).tolist() == [[4, 5], [0, 1]]
    np.save(tmp_path / "other.npy", -store)
    (tmp_path / "tokens.npy").write_bytes((tmp_path / "other.npy").read_bytes())
    assert often.batch(rows, np.zeros_like(rows))[0].tolist() == [4, 5]
    assert once.batch(rows, np.zeros_like(rows))[0].tolist() == [-4, -5]


def test_a_view_that_was_not_embedded():
    embeddings = Embeddings(torch.zeros(2, 4), np.array([[0, -1], [1, -1]]), CPU)
    with pytest.raises(IndexError, match="view 1 of row 0 was not embedded"):
        embeddings.batch(np.array([1, 0]), np.array([0, 1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_front_gives_what_the_cache_would(new_model, dtype):
    model = new_model().eval()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    images = Images(pixels, lambda batch: (batch - 0.5) / 0.25, seed=0, device=CPU)
    rows, views = np.array([4, 1, 1]), np.array([0, 2, 0])
    batch = FrozenFront(images, model, 2, dtype).batch(rows, views)
    expected = backbones.encode_until(model, images.batch(rows, views), 2).detach()
    assert torch.equal(batch, expected.to(dtype).float())
    assert not batch.requires_grad
    batch.requires_grad_(True)  # fails for an inference tensor, as the backward pass would


def test_a_plan_of_some_rows_has_them_in_their_order():
    np.testing.assert_array_equal(plan_rows(5, np.array([3, 0, 4])), [[1], [-1], [-1], [0], [2]])


def test_a_plan_has_every_image_and_the_views_of_some():
    expected = [[0, -1, -1], [1, 4, 5], [2, -1, -1], [3, 6, 7]]
    np.testing.assert_array_equal(plan_views(4, np.array([1, 3]), views=3), expected)


@pytest.mark.parametrize(("augmented", "views"), [([], 4), ([0, 2], 1), ([2, 0, 1], 3)])
def test_a_plan_leaves_no_gap_and_shares_no_place(augmented, views):
    entry = plan_views(3, np.array(augmented, dtype=int), views)
    planned = np.sort(entry[entry >= 0])
    np.testing.assert_array_equal(planned, np.arange(3 + len(augmented) * (views - 1)))
    np.testing.assert_array_equal(entry[:, 0], np.arange(3))


def test_batches_cover_a_sequence_once_in_order():
    assert list(batches(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(batches(6, 3)) == [slice(0, 3), slice(3, 6)]
    assert list(batches(0, 3)) == []
