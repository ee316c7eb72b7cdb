"""Masks of an image with an EXIF orientation: the size decides, then the image; otherwise the mask is refused."""

import numpy as np
import pytest
from PIL import Image

from xai.decoding import open_picture, upright
from xai.mask import MaskError
from xai.placement import TURNED, place, turn

STORED = np.random.default_rng(0).random((6, 9)) < 0.4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_plane_is_turned_as_its_image(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(STORED.astype(np.uint8) * 255).save(tmp_path / "eye.png", exif=exif)
    expected = np.asarray(upright(open_picture(tmp_path / "eye.png"))) > 0
    np.testing.assert_array_equal(turn(STORED, orientation), expected)


def settled(mask, shape, orientation, fit=lambda way: 0.0, own=False):
    (placed,), note = place("artery_mask a.png", [mask], own, shape, orientation, fit, 0.1)
    return placed, note


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_quarter_turn_shows_in_the_size(orientation):
    """wkentaro/labelme#1529: masks drawn on the stored pixels of an image that viewers turn."""
    placed, note = settled(STORED, (9, 6), orientation)
    np.testing.assert_array_equal(placed, turn(STORED, orientation))
    assert note == TURNED
    placed, note = settled(STORED.T, (9, 6), orientation)
    np.testing.assert_array_equal(placed, STORED.T)
    assert note == ""


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_of_one_size_the_better_fit_is_taken(orientation):
    right = turn(STORED, orientation)

    def fit(way):
        return float((way == right).mean())

    assert settled(STORED, (6, 9), orientation, fit)[1] == TURNED
    placed, note = settled(right, (6, 9), orientation, fit)
    np.testing.assert_array_equal(placed, right)
    assert note == ""


@pytest.mark.parametrize("says", [0.0, float("nan")])
def test_where_neither_fits_better_the_mask_is_refused(says):
    with pytest.raises(MaskError, match=r"^artery_mask a\.png: EXIF turns the image \(orientation 3\).* upright"):
        settled(STORED, (6, 9), 3, lambda way: says)


def test_a_mask_that_turning_does_not_change_lies_either_way():
    even = np.ones((6, 9), bool)
    assert settled(even, (6, 9), 3)[1] == ""
    assert settled(~even, (6, 9), 2)[1] == ""


def test_a_mask_with_an_orientation_of_its_own_lies_as_that_says():
    placed, note = settled(STORED, (6, 9), 3, own=True)
    np.testing.assert_array_equal(placed, STORED)
    assert note == ""
    with pytest.raises(MaskError, match="the mask is 9x6 pixels, its image 6x9"):
        settled(STORED, (9, 6), 6, own=True)


def test_another_size_is_reported_with_both_sizes_of_the_image():
    with pytest.raises(MaskError, match=r"a\.png: the mask is 9x6 pixels, its image 30x20: save the mask"):
        settled(STORED, (20, 30), 1)
    with pytest.raises(MaskError, match=r"its image 20x30 \(30x20 as stored, before EXIF turns it\): save the mask"):
        settled(STORED, (30, 20), 6)


def test_masks_that_were_drawn_together_are_turned_together():
    other = ~STORED
    placed, _ = place("a", [STORED, other], False, (9, 6), 8, lambda way: 0.0, 0.1)
    np.testing.assert_array_equal(placed, [turn(STORED, 8), turn(other, 8)])
