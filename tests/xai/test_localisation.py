"""Pixel-wise AUC and precision compared with scikit-learn with weights, and on maps with a known result."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from stats.metrics import auc
from xai.localisation import localised


def random_case(seed, levels=7, binary=False):
    """Maps with ties (2, 9, 9), regions (2, 3, 9, 9) and fields of view (2, 9, 9)."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(levels, size=(2, 9, 9)) / 10
    shares = rng.integers(256, size=(2, 4, 9, 9))
    if binary:
        shares = np.where(shares >= 128, 255, 0)
    fov, regions = shares[:, 3].astype(np.uint8), shares[:, :3].astype(np.uint8)
    return maps, np.minimum(regions, fov[:, None]), fov


@given(st.integers(0, 10_000), st.integers(1, 80))
def test_auc_is_scikit_learns_of_every_point_inside_and_outside(seed, levels):
    """Each pixel enters twice: as positive weighted by its coverage, and as negative weighted by the rest."""
    maps, regions, fov = random_case(seed, levels)
    found, _ = localised(maps, regions, fov)
    for image in range(2):
        for region in range(3):
            inside = regions[image, region].ravel().astype(float)
            weights = np.concatenate([inside, fov[image].ravel() - inside])
            labels = np.repeat([1, 0], inside.size)
            expected = roc_auc_score(labels, np.tile(maps[image].ravel(), 2), sample_weight=weights)
            assert found[image, region] == pytest.approx(expected, abs=1e-9)


def test_of_whole_pixels_it_is_the_studys_own_auc():
    maps, regions, fov = random_case(0, binary=True)
    found, _ = localised(maps, regions, fov)
    seen = fov[0] > 0
    assert found[0, 1] == pytest.approx(auc(regions[0, 1][seen] > 0, maps[0][seen]))


def test_precision_is_the_share_inside_of_the_highest_values():
    """Of the three highest of ten pixels, two are inside and one is half inside; then a tie at the limit."""
    maps = np.arange(10.0).reshape(1, 2, 5)
    regions = np.zeros((1, 1, 2, 5), np.uint8)
    regions.flat[[9, 8]] = 254
    regions.flat[7] = 127
    fov = np.full((1, 2, 5), 254, np.uint8)
    assert localised(maps, regions, fov, top=0.3)[1][0, 0] == pytest.approx(2.5 / 3)
    tied = maps.clip(max=5)  # five pixels share the highest value, 2.5 of them inside: so is half of any part
    assert localised(tied, regions, fov, top=0.3)[1][0, 0] == pytest.approx(0.5)
    assert localised(maps, regions, fov, top=1)[1][0, 0] == pytest.approx(0.25)


def test_what_is_outside_the_field_of_view_does_not_count():
    maps, regions, fov = random_case(1)
    fov[:, :3] = 0
    inside = np.minimum(regions, fov[:, None])
    expected = localised(maps, inside, fov)
    loud = maps.copy()
    loud[:, :3] = np.nan
    for found, wanted in zip(localised(loud, regions, fov), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_map_without_a_difference_is_chance():
    _, regions, fov = random_case(2)
    found, precision = localised(np.zeros((2, 9, 9)), regions, fov)
    np.testing.assert_allclose(found, 0.5)
    area = fov.sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose(precision, regions.sum(axis=(2, 3), dtype=float) / area[:, None])


def test_no_answer_is_nan():
    maps, regions, fov = random_case(3)
    regions[0, 0], regions[0, 1] = 0, fov[0]
    maps[1, 4, 4], fov[1, 4, 4] = np.nan, 255
    for found in localised(maps, regions, fov):
        assert np.isnan(found[0]).tolist() == [True, True, False]
        assert np.isnan(found[1]).all()


def test_only_the_order_of_values_matters():
    maps, regions, fov = random_case(4)
    for found, wanted in zip(localised(np.exp(3 * maps), regions, fov), localised(maps, regions, fov), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("top", [0, -0.1, 1.1])
def test_an_impossible_share_is_refused(top):
    with pytest.raises(ValueError, match="top must be above 0 and at most 1"):
        localised(*random_case(5), top=top)
