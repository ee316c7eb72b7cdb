"""Means inside regions on maps whose answer is known by construction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xai.saliency import MEANS, RATIOS, mean_inside, vessel_saliency


def planes_of(artery, vein, fov=None):
    """Coverage planes (1, 4, H, W) uint8 from shares in 0..1."""
    union = np.clip(artery + vein, 0, 1)
    fov = np.ones_like(artery) if fov is None else fov
    return np.round(np.stack([artery, vein, union, fov])[None] * 255).astype(np.uint8)


def test_planted_ratio_is_exact():
    """Twice the saliency in arteries, half in veins, one elsewhere."""
    artery, vein = np.zeros((8, 8)), np.zeros((8, 8))
    artery[2], vein[5] = 1, 1
    maps = np.ones((1, 8, 8))
    maps[0, 2], maps[0, 5] = 2, 0.5
    found = vessel_saliency(maps, planes_of(artery, vein))
    assert found["artery"] == pytest.approx(2)
    assert found["vein"] == pytest.approx(0.5)
    assert found["vessel"] == pytest.approx(1.25)
    assert found["artery_ratio"] == pytest.approx(2)
    assert found["vein_ratio"] == pytest.approx(0.5)
    assert found["vessel_ratio"] == pytest.approx(1.25)


def test_black_corners_flatter_the_whole_picture_convention():
    """Saliency is even inside the field of view and nothing outside it: inside, vessels are like the rest."""
    fov = np.zeros((8, 8))
    fov[2:6, 2:6] = 1
    artery = np.zeros((8, 8))
    artery[3, 2:6] = 1
    found = vessel_saliency(fov[None], planes_of(artery, np.zeros((8, 8)), fov))
    assert found["artery_ratio_fov"] == pytest.approx(1)
    assert found["artery_ratio"] == pytest.approx((64 - 4) / (16 - 4))


def test_no_answer_is_nan():
    nothing = np.zeros((8, 8))
    vein = nothing.copy()
    vein[1] = 1
    without_artery = vessel_saliency(np.ones((1, 8, 8)), planes_of(nothing, vein))
    assert np.isnan(without_artery["artery_ratio"]).all()
    assert np.isfinite(without_artery["vein_ratio"]).all()
    blank = vessel_saliency(np.zeros((1, 8, 8)), planes_of(vein, vein))
    assert all(np.isnan(blank[name]).all() for name in (*MEANS, *RATIOS))


def test_saliency_only_inside_vessels_has_no_ratio():
    vein = np.zeros((8, 8))
    vein[1] = 1
    found = vessel_saliency(vein[None], planes_of(np.zeros((8, 8)), vein))
    assert np.isnan(found["vein_ratio"]).all(), "nothing to divide by is null, not infinity"


grids = hnp.arrays(np.float64, (2, 6, 6), elements=st.floats(0, 10))
shares = hnp.arrays(np.float64, (2, 6, 6), elements=st.sampled_from([0.0, 0.25, 1.0]))


@settings(max_examples=40, deadline=None)
@given(grids, shares)
def test_mean_inside_is_a_weighted_average(maps, region):
    found = mean_inside(maps, region)
    for one, weights, value in zip(maps, region, found, strict=True):
        if weights.sum() == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(np.average(one, weights=weights))


@settings(max_examples=40, deadline=None)
@given(grids, shares, st.floats(0.1, 100))
def test_ratios_do_not_depend_on_the_maps_scale(maps, region, factor):
    planes = np.concatenate([planes_of(r / 2, r / 2) for r in region])
    one, scaled = vessel_saliency(maps, planes), vessel_saliency(maps * factor, planes)
    for name in RATIOS:
        np.testing.assert_allclose(one[name], scaled[name], rtol=1e-9)
