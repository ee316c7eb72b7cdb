"""Fine structure is found in the right place and gathered by patch."""

import numpy as np
import torch

from benchmark.experiments.pretrain.structure import Structure, by_patch, fine_structure, inside


def test_a_line_is_fine_structure_where_it_lies_and_a_flat_picture_has_none():
    image = np.full((224, 224, 3), 120, np.uint8)
    assert np.allclose(fine_structure(image, 28), np.log(1e-4))
    image[:, 100:102] = 60
    found = fine_structure(image, 28)
    assert found.shape == (28, 28, 12)
    columns = (found > np.log(1e-4) + 1).any(axis=(0, 2))
    assert columns[100 // 8]
    assert not columns[np.abs(np.arange(28) - 100 // 8) > 2].any()
    assert np.allclose(fine_structure(image[:, ::-1].copy(), 28), found[:, ::-1], atol=1e-3)


def test_the_rim_of_the_field_of_view_does_not_count():
    distance = np.hypot(*np.meshgrid(np.arange(224) - 111.5, np.arange(224) - 111.5))
    image = np.where(distance[..., None] < 112, 120, 0).astype(np.uint8).repeat(3, axis=2)
    counted = inside(image, 28).repeat(8, axis=0).repeat(8, axis=1)
    assert counted[112, 112]
    assert distance[counted].max() < 112 - 4


def test_parts_are_gathered_by_patch():
    maps = torch.arange(2 * 3 * 28 * 28).view(2, 3, 28, 28)
    gathered = by_patch(maps)
    assert gathered.shape == (2, 196, 12)
    patch = maps[1, :, 2 * 5 : 2 * 5 + 2, 2 * 9 : 2 * 9 + 2]  # row 5, column 9
    assert torch.equal(gathered[1, 5 * 14 + 9], patch.permute(1, 2, 0).flatten())


def test_maps_are_standardised_over_the_parts_that_count():
    images = np.random.default_rng(0).integers(40, 200, (6, 224, 224, 3), np.uint8)
    images[:, :40] = 0  # outside the field of view
    structure = Structure.of(images, (14, 14))
    counted = structure.maps[structure.count].astype(float)
    assert np.allclose(counted.mean(0), 0, atol=0.01)
    assert np.allclose(counted.std(0), 1, atol=0.01)
    assert not structure.count[:, :6].any()
    maps, count = structure.take(np.array([3]))
    assert maps.shape == (1, 12, 28, 28)
    assert np.array_equal(count[0, 0].numpy() > 0, structure.count[3])
