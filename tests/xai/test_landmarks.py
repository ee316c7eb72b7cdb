"""Field of view and optic disc from mask files, checked against the image that they belong to."""

import numpy as np
import pytest
from PIL import Image

from xai.landmarks import read_disc, read_fov, refuse_most
from xai.mask import MaskError
from xai.placement import turn

HEIGHT, WIDTH = 120, 150
Y, X = np.mgrid[:HEIGHT, :WIDTH]
FOV = (Y - 60) ** 2 + (X - 80) ** 2 < 55**2
DISC = (Y - 50) ** 2 + (X - 110) ** 2 < 9**2


@pytest.fixture
def rgb():
    """An orange retina with a bright disc at its right, on black."""
    return (FOV[..., None] * (140, 70, 30) + DISC[..., None] * (90, 110, 60)).astype(np.uint8)


def written(folder, mask, name="mask.png"):
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / name)
    return str(folder / name)


def stored(folder, rgb, orientation):
    """The image's file, whose pixels EXIF turns to `rgb`; and how masks are turned to its stored pixels."""
    back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.stack([turn(channel, back) for channel in np.moveaxis(rgb, 2, 0)], axis=2)
    Image.fromarray(pixels).save(folder / "eye.png", exif=exif)
    return folder / "eye.png", lambda mask: np.ascontiguousarray(turn(mask, back))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn_on", ["stored", "upright"])
def test_masks_lie_on_a_image_that_exif_turns(tmp_path, rgb, orientation, drawn_on):
    """ryouchinsa/Rectlabel-support#167: the image was turned, its masks were not."""
    image, back = stored(tmp_path, rgb, orientation)
    lie = back if drawn_on == "stored" else (lambda mask: mask)
    found = read_fov(written(tmp_path, lie(FOV), "fov.png"), rgb, image)
    np.testing.assert_array_equal(found, FOV)
    disc = read_disc(written(tmp_path, lie(DISC), "disc.png"), rgb, found, image)
    np.testing.assert_array_equal(disc, DISC)


def test_a_disc_that_could_lie_either_way_is_refused(tmp_path, rgb):
    image, _ = stored(tmp_path, rgb, 3)
    nowhere = (Y - 60) ** 2 + (X - 60) ** 2 < 9**2
    with pytest.raises(MaskError, match=r"disc_mask .* EXIF turns the image"):
        read_disc(written(tmp_path, nowhere), rgb, FOV, image)


def test_no_file_gives_the_field_of_view_that_is_found_and_no_disc(rgb):
    assert 2 * (read_fov("", rgb) & FOV).sum() / (read_fov("", rgb).sum() + FOV.sum()) > 0.98
    assert not read_disc("", rgb, FOV).any()


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (~FOV, "marks the surround, not the retina"),
        (np.ones_like(FOV), r"covers the whole frame, but \d+% of the frame is black surround"),
        (np.zeros_like(FOV), "is empty"),
    ],
)
def test_a_field_of_view_that_is_none_is_refused(tmp_path, rgb, mask, reason):
    with pytest.raises(MaskError, match=f"fov_mask .*mask.png {reason}"):
        read_fov(written(tmp_path, mask), rgb)


def test_a_image_without_surround_may_be_all_field_of_view(tmp_path, rgb):
    whole = np.maximum(rgb, 60)
    assert read_fov(written(tmp_path, np.ones_like(FOV)), whole).all()


def test_a_field_of_view_on_a_white_surround_is_read(tmp_path, rgb):
    white = np.where(FOV[..., None], rgb, 255).astype(np.uint8)
    np.testing.assert_array_equal(read_fov(written(tmp_path, FOV), white), FOV)


def test_an_inverted_disc_is_refused(tmp_path, rgb):
    with pytest.raises(MaskError, match=r"disc_mask .*mask\.png covers \d+% of the field of view: .* inverted"):
        read_disc(written(tmp_path, ~DISC), rgb, FOV)


def test_most_of_the_field_of_view_is_no_small_structure():
    half = FOV & (X < 80)
    refuse_most("artery_mask a.png", half, FOV)
    refuse_most("artery_mask a.png", FOV, np.zeros_like(FOV))
    with pytest.raises(MaskError, match=r"^artery_mask a\.png covers 100% of the field of view: .*white on black$"):
        refuse_most("artery_mask a.png", FOV, FOV)
