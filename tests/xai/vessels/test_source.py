import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.naming import Registry
from xai.crop import Square
from xai.vessels import REGIONS, VesselMasks, binary, open_source, regions, source_names, vessel_source


def test_the_shipped_sources_are_registered():
    assert {"automorph_results", "bfnet", "masks", "wnet"} <= set(source_names())


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"vessel source 'wnett' is unknown; did you mean wnet"):
        open_source("wnett")


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(ValueError, match=r"vessel source '!' is unknown; known: .*masks.*wnet"):
        open_source("!")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="'masks' is registered twice"):
        vessel_source("masks")(lambda weights, size, device: None)


def test_a_registered_factory_gets_what_the_user_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("xai.vessels.source.SOURCES", Registry("vessel source"))
    vessel_source("echo")(lambda weights, size, device: (weights, size, device))
    assert open_source("echo", tmp_path, 512, "cuda") == (tmp_path, 512, "cuda")
    assert open_source("echo") == (None, None, "cpu")
    assert source_names() == ["echo"]


def test_uncertain_counts_as_artery_and_vein_and_once_in_the_union():
    plane = np.zeros((4, 4), dtype=bool)
    artery, vein, uncertain, fov = plane.copy(), plane.copy(), plane.copy(), ~plane
    artery[0, 0] = vein[1, 1] = uncertain[2, 2] = artery[3, 3] = vein[3, 3] = True
    fov[0, 3] = False
    found = dict(zip(REGIONS, regions(VesselMasks(artery, vein, uncertain), fov, Square(0, 0, 4), 4), strict=True))
    np.testing.assert_array_equal(found["artery"].diagonal(), [255, 0, 255, 255])
    np.testing.assert_array_equal(found["vein"].diagonal(), [0, 255, 255, 255])
    np.testing.assert_array_equal(found["vessel"].diagonal(), [255, 255, 255, 255])
    assert found["vessel"].sum() == 4 * 255
    assert found["fov"].sum() == 15 * 255


@given(seed=st.integers(0, 999), size=st.integers(1, 40))
def test_regions_are_nested(seed, size):
    artery, vein, uncertain, fov = np.random.default_rng(seed).random((4, 30, 50)) < [
        [[0.2]],
        [[0.2]],
        [[0.1]],
        [[0.8]],
    ]
    planes = regions(VesselMasks(artery, vein, uncertain), fov, Square(-10, 0, 50), size)
    assert planes.dtype == np.uint8
    assert planes.shape == (4, size, size)
    in_artery, in_vein, in_vessel, in_fov = planes
    assert (np.maximum(in_artery, in_vein) <= in_vessel).all()
    assert (in_vessel <= in_fov).all()


def test_binary_takes_a_pixel_of_which_half_is_vessel_and_loses_a_thin_one():
    """A vessel one pixel wide covers half of output pixels that are 2 pixels wide, and a quarter of those with 4."""
    fov = np.ones((16, 16), dtype=bool)
    artery = np.zeros_like(fov)
    artery[:, 4] = True
    masks = VesselMasks(artery, np.zeros_like(fov), np.zeros_like(fov))
    halved, quartered = (regions(masks, fov, Square(0, 0, 16), size) for size in (8, 4))
    np.testing.assert_array_equal(binary(halved)[0], np.where(halved[0] > 0, 255, 0))
    assert binary(halved)[0].any()
    assert quartered[0].any()
    assert not binary(quartered)[0].any()
    assert binary(quartered).dtype == np.uint8
    assert (binary(quartered)[3] == 255).all()
