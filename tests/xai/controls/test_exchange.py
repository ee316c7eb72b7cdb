"""The ratio of a map on the vessels of another image with another field of view."""

import numpy as np
import pytest

from tests.xai.controls.eyes import SIDE, by_hand, cohort
from xai.controls.exchange import Seen, shared_ratios
from xai.saliency import RATIOS, vessel_saliency


def nulls(maps, planes, ratio):
    region, flat = RATIOS.index(ratio) % 3, planes.reshape(len(planes), 4, -1).astype(np.float32) / 255
    masks = {("artery", "vein", "vessel")[region]: flat[:, region], "vessel": flat[:, 2]}
    seen = Seen(maps.reshape(len(maps), -1).astype(np.float32), flat[:, 3], masks, SIDE * SIDE)
    ((other, own),) = shared_ratios(seen, masks, flat[:, 3], [ratio])
    return vessel_saliency(maps, planes)[ratio][:, None] + other - own


@pytest.mark.parametrize("ratio", RATIOS)
def test_both_vessels_are_compared_where_both_were_seen(ratio):
    maps, planes, _ = cohort(3, images=1)
    for index, (rows, columns) in enumerate(
        ((slice(0, 0), slice(3, 9)), (slice(0, 6), slice(0, 2)), (slice(20, 24),) * 2)
    ):
        planes[index, :, rows, columns] = 0
    found = nulls(maps, planes, ratio)
    expected = [[by_hand(maps[i], planes[i], planes[j], ratio) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("ratio", RATIOS)
def test_ones_own_vessels_give_the_ordinary_ratio(ratio):
    """Also at a rim whose pixels are only partly inside the field of view."""
    maps, planes, _ = cohort(2, images=1)
    planes[:, :, 0] = np.minimum(planes[:, :, 0], 100)
    np.testing.assert_allclose(np.diag(nulls(maps, planes, ratio)), vessel_saliency(maps, planes)[ratio], rtol=1e-6)


def test_without_shared_vessels_there_is_no_null():
    maps, planes, _ = cohort(2, images=1)
    planes[0, :3], planes[1, :3] = 0, 0
    planes[0, [0, 2], 2], planes[1, [0, 2], 5] = 255, 255
    planes[0, 3, 4:], planes[1, 3, :4] = 0, 0
    found = nulls(maps, planes, "vessel_ratio_fov")
    assert np.isnan(found[0, 1])
    assert np.isfinite(np.diag(found)).all()
