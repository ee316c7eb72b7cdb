"""Means inside regions for maps with a result known by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xai.saliency import (
    MEANS,
    RATIOS,
    mean_inside,
    mean_of_ratios,
    patient_means,
    ratio_of_means,
    share_outside,
    vessel_saliency,
)


def planes_of(artery, vein, fov=None):
    """Coverage planes (1, 4, H, W) uint8 from shares in 0..1."""
    union = np.clip(artery + vein, 0, 1)
    fov = np.ones_like(artery) if fov is None else fov
    return np.round(np.stack([artery, vein, union, fov])[None] * 255).astype(np.uint8)


def test_planted_ratio_is_exact():
    """A map of 2 in arteries, 0.5 in veins and 1 elsewhere."""
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


def test_black_corners_inflate_the_ratio_over_the_whole_image():
    """A map that is constant inside the field of view and 0 outside: inside, vessels equal the rest."""
    fov = np.zeros((8, 8))
    fov[2:6, 2:6] = 1
    artery = np.zeros((8, 8))
    artery[3, 2:6] = 1
    found = vessel_saliency(fov[None], planes_of(artery, np.zeros((8, 8)), fov))
    assert found["artery_ratio_fov"] == pytest.approx(1)
    assert found["artery_ratio"] == pytest.approx((64 - 4) / (16 - 4))


def test_the_share_outside_the_field_of_view():
    maps, fov = np.ones((3, 4, 4)), np.zeros((3, 4, 4), np.uint8)
    fov[:, :2] = 255
    fov[:, 2] = 51  # a fifth of each pixel
    maps[1, 2:] = 0
    maps[2] = 0
    assert share_outside(maps, fov) == pytest.approx([(0.8 * 4 + 4) / 16, 0, np.nan], nan_ok=True)


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


# 0, or large enough to be scaled without underflow.
grids = hnp.arrays(np.float64, (2, 6, 6), elements=st.just(0.0) | st.floats(1e-6, 10))
shares = hnp.arrays(np.float64, (2, 6, 6), elements=st.sampled_from([0.0, 0.25, 1.0]))


@given(grids, shares)
def test_mean_inside_is_a_weighted_average(maps, region):
    found = mean_inside(maps, region)
    for one, weights, value in zip(maps, region, found, strict=True):
        if weights.sum() == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(np.average(one, weights=weights))


@given(grids, shares, st.floats(0.1, 100))
def test_ratios_do_not_depend_on_the_maps_scale(maps, region, factor):
    planes = np.concatenate([planes_of(r / 2, r / 2) for r in region])
    one, scaled = vessel_saliency(maps, planes), vessel_saliency(maps * factor, planes)
    for name in RATIOS:
        np.testing.assert_allclose(one[name], scaled[name], rtol=1e-9)


@given(
    hnp.arrays(np.uint8, (6, 6), elements=st.sampled_from([0, 255])),
    hnp.arrays(np.bool_, (6, 6)),
    st.floats(0.01, 100),
    st.floats(0.01, 100),
)
def test_a_binary_region_gives_the_planted_ratio(vessel, artery, inside, outside):
    """Map = a in the vessels, b elsewhere: the ratio is a / b, in arteries and in veins alike."""
    planes = np.stack([vessel * artery, vessel * ~artery, vessel, np.full_like(vessel, 255)])[None]
    found = vessel_saliency(np.where(vessel > 0, inside, outside)[None], planes)
    for name, plane in zip(("artery", "vein", "vessel"), planes[0], strict=False):
        if plane.any() and not vessel.all():
            for suffix in ("", "_fov"):
                assert found[f"{name}_ratio{suffix}"][0] == pytest.approx(inside / outside, rel=1e-12)
        else:
            assert np.isnan(found[f"{name}_ratio"][0])


@given(hnp.arrays(np.uint8, (6, 6), elements=st.integers(0, 255)), st.floats(0.01, 100), st.floats(0.01, 100))
def test_shares_of_pixels_give_the_closed_form(vessel, inside, outside):
    """A pixel with vessel coverage s has the value s a + (1 - s) b; the result includes this known blur."""
    share = vessel / 255
    area, rest, square = share.sum(), (1 - share).sum(), (share**2).sum()
    planes = np.stack([vessel, np.zeros_like(vessel), vessel, np.full_like(vessel, 255)])[None]
    found = vessel_saliency((share * inside + (1 - share) * outside)[None], planes)["vessel_ratio"][0]
    if area == 0 or rest == 0:
        assert np.isnan(found)
    else:
        mean_inside_vessels = (inside * square + outside * (area - square)) / area
        mean_outside = (inside * (area - square) + outside * (rest - area + square)) / rest
        assert found == pytest.approx(mean_inside_vessels / mean_outside, rel=1e-5)


def test_two_averages_of_ratios():
    inside, outside = np.array([2.0, 3.0, np.nan, 5.0]), np.array([1.0, 0.1, 1.0, np.nan])
    assert mean_of_ratios(inside / outside) == pytest.approx((2 + 30) / 2)
    assert ratio_of_means(inside, outside) == pytest.approx(5 / 1.1), "the image with little outside counts for little"


def test_averages_of_nothing():
    nothing = np.full(3, np.nan)
    assert np.isnan(mean_of_ratios(nothing))
    assert np.isnan(ratio_of_means(nothing, np.ones(3)))
    assert np.isnan(ratio_of_means(np.ones(3), np.zeros(3)))


@given(hnp.arrays(np.float64, 5, elements=st.floats(0.1, 10)), st.floats(0.1, 100))
def test_the_ratio_of_means_is_the_mean_where_all_outside_are_alike(ratios, outside):
    assert ratio_of_means(ratios * outside, np.full(5, outside)) == pytest.approx(mean_of_ratios(ratios))


def test_each_patient_counts_once():
    patients = np.array(["b", "a", "b", "b", "c"])
    ids, means = patient_means(np.array([1.0, 5.0, 3.0, np.nan, np.nan]), patients)
    np.testing.assert_array_equal(ids, ["a", "b", "c"])
    np.testing.assert_array_equal(means, [5, 2, np.nan])
