"""Regions divide the field of view, and the saliency inside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xai.regions import CENTRE, QUADRANTS, RING, SIDED_QUADRANTS, other_regions, region_names, region_saliency

SIDE = 64


def disc(y, x, radius, side=SIDE):
    """(side, side) uint8: an antialiased disc."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.rint(255 * np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)).astype(np.uint8)


def planes_of(fov, vessel):
    """(1, 4, H, W) with all vessels arteries, clipped to the field of view."""
    vessel = np.minimum(vessel, fov)
    return np.stack([vessel, np.zeros_like(vessel), vessel, fov])[None]


ROUND = disc(32, 32, 31)
LINE = np.zeros((SIDE, SIDE), np.uint8)
LINE[32, :] = 128


@given(
    st.floats(20, 44),
    st.floats(20, 44),
    st.floats(8, 40),
    st.sampled_from([None, ["left"], ["right"]]),
)
def test_quadrants_and_centre_cover_the_field_of_view_once(y, x, radius, eyes):
    fov = disc(y, x, radius)
    found = other_regions(planes_of(fov, LINE), eyes)
    parts = [found[name].astype(int) for name in ("centre", *(QUADRANTS if eyes is None else SIDED_QUADRANTS))]
    np.testing.assert_array_equal(sum(parts)[0], fov)
    assert (sum(part > 0 for part in parts) <= 1).all()


def test_the_five_parts_of_a_round_field_of_view_are_about_equal():
    found = other_regions(planes_of(disc(112, 112, 111.5, 224), np.zeros((224, 224), np.uint8)))
    areas = np.array([found[name].sum() for name in ("centre", *QUADRANTS)], float)
    np.testing.assert_allclose(areas / areas.sum(), 0.2, atol=0.003)


def test_the_quadrants_lie_where_their_names_say():
    found = other_regions(planes_of(ROUND, LINE))
    for name, (y, x) in {
        "upper_left": (12, 12),
        "upper_right": (12, 51),
        "lower_left": (51, 12),
        "lower_right": (51, 51),
    }.items():
        assert found[name][0, y, x] == 255


def test_the_nose_is_on_the_right_of_a_right_eye():
    planes = planes_of(ROUND, LINE).repeat(3, axis=0)
    found = other_regions(planes, ["right", "left", None])
    assert found["superior_nasal"][0, 12, 51] == found["inferior_nasal"][0, 51, 51] == 255
    assert found["superior_temporal"][1, 12, 51] == found["inferior_nasal"][1, 51, 12] == 255
    assert not any(found[name][2].any() for name in SIDED_QUADRANTS), "the side of the third eye is unknown"
    assert found["centre"][2].any()


def test_the_ring_is_the_band_beside_the_vessels():
    side = 200
    fov, vessel = disc(100, 100, 99.5, side), np.zeros((side, side), np.uint8)
    vessel[100, 50:150] = 200
    ring = other_regions(planes_of(fov, vessel))["ring"][0]
    reach = int(200 * RING)
    column = ring[:, 100]
    assert column[100] == 55, "what is not vessel in a vessel's pixel"
    assert (column[100 - reach : 100] == 255).all()
    assert (column[101 : 101 + reach] == 255).all()
    assert not column[: 100 - reach].any()
    assert not column[101 + reach :].any()


def test_ring_and_vessels_never_exceed_the_field_of_view():
    generator = np.random.default_rng(0)
    vessel = np.where(generator.random((SIDE, SIDE)) < 0.05, generator.integers(1, 256, (SIDE, SIDE)), 0)
    planes = planes_of(ROUND, vessel.astype(np.uint8))
    assert (other_regions(planes)["ring"].astype(int) + planes[:, 2] <= planes[:, 3]).all()


def test_planted_saliency_is_found_where_it_is():
    """A map of 3 in the centre and 1 elsewhere: the mean over the field of view follows from the areas."""
    planes = planes_of(ROUND, LINE)
    centre = other_regions(planes)["centre"][0] > 0
    found = region_saliency(np.where(centre, 3.0, 1.0)[None], planes)
    share = ROUND[centre].sum() / ROUND.sum()
    assert share == pytest.approx(CENTRE**2, abs=0.02)
    assert found["centre"] == pytest.approx(3)
    assert found["upper_left"] == pytest.approx(1)
    assert found["fov"] == pytest.approx(3 * share + 1 - share)
    assert found["centre_ratio"] == pytest.approx(3 / (3 * share + 1 - share))
    assert found["lower_right_ratio"] == pytest.approx(1 / (3 * share + 1 - share))


def test_the_optic_disc_counts_inside_the_field_of_view():
    mask = disc(32, 60, 8)[None]
    planes = planes_of(ROUND, LINE)
    found = other_regions(planes, ["right"], mask)
    assert tuple(found) == region_names(sided=True, disc=True)
    assert (found["disc"] <= planes[:, 3]).all()
    inside = region_saliency(mask / 255, planes, ["right"], mask)
    assert inside["disc_ratio"] > 5


def test_no_answer_is_nan():
    blank = region_saliency(np.zeros((1, SIDE, SIDE)), planes_of(ROUND, LINE))
    assert all(np.isnan(values).all() for values in blank.values())
    without_vessels = region_saliency(np.ones((1, SIDE, SIDE)), planes_of(ROUND, np.zeros_like(ROUND)))
    assert np.isnan(without_vessels["ring_ratio"]).all()
    assert without_vessels["centre_ratio"] == pytest.approx(1)
    unseen = region_saliency(np.ones((1, SIDE, SIDE)), np.zeros((1, 4, SIDE, SIDE), np.uint8))
    assert all(np.isnan(values).all() for values in unseen.values())
