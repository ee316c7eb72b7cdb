import numpy as np
import pytest
from PIL import Image

from xai.crop import square_around
from xai.vessels import VesselMasks, regions
from xai.vessels.alignment import CLEAR, Alignment
from xai.vessels.quality import (
    ARTERY_LIKE_VEIN,
    ARTERY_SHARE,
    FEW_VESSELS,
    FLAGS,
    MANY_VESSELS,
    NO_VESSELS,
    ON_VESSELS,
    SMALL_FOV,
    quality_flags,
)

SIDE = 100


def planes(vessel=0.08, artery=0.45, fov=0.785):
    """(4, 100, 100) coverage: `vessel` of the field of view, `artery` of the vessels, `fov` of the picture."""
    areas = np.array([vessel * artery, vessel * (1 - artery), vessel, 1]) * fov * SIDE**2
    result = np.zeros((4, SIDE**2), np.uint8)
    for plane, area in zip(result, areas, strict=True):
        whole = int(area)
        plane[:whole] = 255
        plane[whole] = round(255 * (area - whole))
    return result.reshape(4, SIDE, SIDE)


@pytest.mark.parametrize(
    ("case", "flags"),
    [
        (planes(), ()),
        (planes(vessel=0), ("no_vessels",)),
        (planes(vessel=NO_VESSELS * 0.9), ("no_vessels",)),
        (planes(vessel=NO_VESSELS * 1.1), ("few_vessels",)),
        (planes(vessel=FEW_VESSELS * 0.9), ("few_vessels",)),
        (planes(vessel=FEW_VESSELS * 1.1), ()),
        (planes(vessel=MANY_VESSELS * 0.98), ()),
        (planes(vessel=MANY_VESSELS * 1.02), ("many_vessels",)),
        (planes(vessel=1), ("many_vessels",)),
        (planes(artery=0), ("artery_vein_unbalanced",)),
        (planes(artery=ARTERY_SHARE[0] - 0.02), ("artery_vein_unbalanced",)),
        (planes(artery=ARTERY_SHARE[0] + 0.02), ()),
        (planes(artery=ARTERY_SHARE[1] - 0.02), ()),
        (planes(artery=ARTERY_SHARE[1] + 0.02), ("artery_vein_unbalanced",)),
        (planes(artery=1), ("artery_vein_unbalanced",)),
        (planes(fov=SMALL_FOV + 0.01), ()),
        (planes(fov=SMALL_FOV - 0.01), ("small_fov",)),
        (planes(vessel=0.01, artery=0.9, fov=0.3), ("few_vessels", "artery_vein_unbalanced", "small_fov")),
        (np.zeros((4, SIDE, SIDE), np.uint8), ("no_vessels", "small_fov")),
    ],
)
def test_flags(case, flags):
    assert quality_flags(case[None]) == [flags]
    assert set(flags) <= set(FLAGS)


def test_images_of_a_batch_do_not_mix():
    batch = np.stack([planes(), planes(vessel=0), planes(artery=0.9), planes()])
    assert quality_flags(batch) == [(), ("no_vessels",), ("artery_vein_unbalanced",), ()]
    assert quality_flags(batch[:0]) == []


def test_pixels_partly_vessel_count_by_their_share():
    case = planes()
    case[:3] = 0
    case[0, :10] = case[1, 10:20] = 13  # 5 % of 2,000 pixels: vessels cover 1.3 % of the field of view
    case[2, :20] = 13
    assert quality_flags(case[None]) == [("few_vessels",)]


@pytest.mark.parametrize("name", ["hrf_01_dr", "lesav_304", "lesav_12"])
def test_experts_masks_are_not_flagged(shared, name):
    """The images with the fewest vessels, the lowest and the highest share of arteries among 23."""
    folder = shared / "data" / "av_gt"
    artery, uncertain, vein = (np.asarray(Image.open(folder / "av" / f"{name}.png")) > 0).transpose(2, 0, 1)
    fov = np.asarray(Image.open(folder / "fov" / f"{name}.png")) > 0
    case = regions(VesselMasks(artery, vein, uncertain), fov, square_around(fov), 224)
    assert quality_flags(case[None]) == [()]
    assert quality_flags((case // [[[50]], [[50]], [[50]], [[1]]]).astype(np.uint8)[None]) == [("no_vessels",)]


@pytest.mark.parametrize(
    ("shared_pixels", "flags"),
    [
        (0, ()),
        (ARTERY_LIKE_VEIN - 0.02, ()),
        (ARTERY_LIKE_VEIN + 0.02, ("artery_like_vein",)),
        (1, ("artery_like_vein",)),
    ],
)
def test_arteries_that_are_nearly_the_veins(shared_pixels, flags):
    """Artery and vein have 400 pixels each, of which this share is in both."""
    case = planes(vessel=0)
    both = round(400 * shared_pixels)
    case[0, :4] = 255
    case[1].reshape(-1)[400 - both : 800 - both] = 255
    case[2].reshape(-1)[: 800 - both] = 255
    assert quality_flags(case[None]) == [flags]


@pytest.mark.parametrize(
    ("fit", "flags"),
    [
        (None, ()),
        (Alignment(np.nan, np.nan), ()),
        (Alignment(0.4, 0.0), ()),
        (Alignment(0.4, 0.4 + CLEAR / 2), ()),
        (Alignment(0.0, 0.4), ("masks_turned",)),
        (Alignment(0.4, 0.5 + CLEAR), ("masks_turned",)),
        (Alignment(ON_VESSELS + 0.01, 0.05), ()),
        (Alignment(ON_VESSELS - 0.01, 0.05), ("masks_misplaced",)),
        (Alignment(-0.3, -0.35), ("masks_misplaced",)),
    ],
)
def test_masks_that_do_not_lie_on_the_vessels(fit, flags):
    assert quality_flags(planes()[None], [fit]) == [flags]
    assert "masks_misplaced" not in quality_flags(planes(vessel=0)[None], [fit])[0]
