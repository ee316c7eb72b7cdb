import io
import time

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from xai.fov import find_fov, has_light_surround


def disc(shape, centre, radii):
    """(H, W) bool: an ellipse, independent of the finder's own drawing."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1


def image(fov, brightness=120.0, surround=2.0, seed=0):
    """A noisy, reddish image of that field of view."""
    noise = np.random.default_rng(seed).normal(0, 2, (*fov.shape, 3))
    colour = np.where(fov[..., None], brightness * np.array([1.0, 0.6, 0.3]), surround)
    return np.clip(ndimage.gaussian_filter(colour, (1, 1, 0)) + noise, 0, 255).astype(np.uint8)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("name", ["hrf_02_g", "hrf_03_dr", "lesav_111", "lesav_304", "lesav_34"])
def test_agrees_with_the_masks_of_real_images(shared, name):
    folder = shared / "data" / "av_gt"
    rgb = np.asarray(Image.open(folder / "images" / f"{name}.jpg"))
    expected = np.asarray(Image.open(folder / "fov" / f"{name}.png")) > 0
    assert dice(find_fov(rgb), expected) >= 0.995


@pytest.mark.slow
def test_agrees_with_all_masks_of_real_images(shared):
    folder = shared / "data" / "av_gt"
    scores = [
        dice(find_fov(np.asarray(Image.open(image))), np.asarray(Image.open(folder / "fov" / f"{image.stem}.png")) > 0)
        for image in sorted((folder / "images").glob("*.jpg"))
    ]
    assert len(scores) == 23
    assert np.mean(scores) >= 0.995
    assert min(scores) >= 0.99


@pytest.mark.parametrize(
    ("centre", "radii"),
    [
        pytest.param((150, 200), (140, 140), id="whole"),
        pytest.param((150, 200), (190, 190), id="cut above and below"),
        pytest.param((100, 90), (180, 180), id="cut at a corner"),
        pytest.param((150, 200), (140, 190), id="stretched"),
    ],
)
@pytest.mark.parametrize("brightness", [25, 120, 250])
def test_finds_a_disc_however_the_frame_cuts_it(centre, radii, brightness):
    fov = disc((300, 400), centre, radii)
    assert dice(find_fov(image(fov, brightness)), fov) >= 0.985


def test_dark_retina_at_the_rim_belongs_to_the_field_of_view():
    fov = disc((300, 400), (150, 200), (140, 140))
    rgb = image(fov)
    rgb[disc(fov.shape, (40, 150), (45, 45))] = 0
    assert dice(find_fov(rgb), fov) >= 0.985


def test_a_notch_and_a_label_outside_the_disc_do_not():
    fov = disc((300, 400), (150, 200), (140, 140))
    rgb = image(fov)
    rgb[45:60, 290:310] = 200
    rgb[5:15, 350:390] = 255
    assert dice(find_fov(rgb), fov) >= 0.985


def test_a_straight_cut_inside_the_frame_is_kept():
    fov = disc((300, 400), (150, 200), (140, 140))
    fov[:30] = False
    found = find_fov(image(fov))
    assert dice(found, fov) >= 0.985
    assert not found[:28].any()


def test_the_outline_scales_with_the_image():
    small = disc((300, 400), (150, 200), (140, 140))
    large = disc((1200, 1600), (600, 800), (560, 560))
    found = find_fov(image(large))
    assert dice(found, large) >= 0.99
    assert dice(found[2::4, 2::4], find_fov(image(small))) >= 0.985


def test_without_a_surround_the_whole_image_is_field_of_view():
    assert find_fov(image(np.ones((300, 400), dtype=bool))).all()


def test_a_region_that_is_no_disc_is_returned_as_found():
    montage = disc((300, 400), (115, 120), (105, 105)) | disc((300, 400), (185, 280), (105, 105))
    bars = np.zeros((300, 400), dtype=bool)
    bars[40:260] = True
    for fov in (montage, bars):
        assert dice(find_fov(image(fov)), fov) >= 0.985


def test_is_deterministic():
    rgb = image(disc((300, 400), (150, 200), (140, 140)))
    np.testing.assert_array_equal(find_fov(rgb), find_fov(rgb.copy()))


def test_a_black_image_is_refused():
    with pytest.raises(ValueError, match="the image is black"):
        find_fov(np.full((300, 400, 3), 3, dtype=np.uint8))


def test_a_large_image_is_quick():
    rgb = np.zeros((2336, 3504, 3), dtype=np.uint8)
    rgb[disc(rgb.shape[:2], (1168, 1752), (1600, 1600))] = (200, 90, 40)
    start = time.process_time()
    find_fov(rgb)
    assert time.process_time() - start < 1.5  # a fifth of a second of one core; the rest is for slow machines


WHITE, GREY, BLUE = (255, 255, 255), (128, 128, 128), (90, 120, 200)


@pytest.mark.parametrize("colour", [WHITE, GREY, BLUE])
@pytest.mark.parametrize("centre", [(150, 200), (100, 250)])
def test_a_surround_of_one_light_colour_is_outside(colour, centre):
    """kohya-ss/sd-scripts#1269: transparent pixels became white, and the whole frame field of view."""
    fov = disc((300, 400), centre, (140, 140))
    rgb = np.where(fov[..., None], image(fov), np.array(colour, np.uint8)).astype(np.uint8)
    assert has_light_surround(rgb)
    assert dice(find_fov(rgb), fov) >= 0.985


def test_a_image_on_a_white_page():
    fov = np.zeros((400, 500), dtype=bool)
    fov[50:350, 50:450] = disc((300, 400), (150, 200), (140, 140))
    rgb = np.full((400, 500, 3), 255, np.uint8)
    rgb[50:350, 50:450] = image(fov[50:350, 50:450])
    assert dice(find_fov(rgb), fov) >= 0.985


def test_retina_that_fills_the_frame_is_no_surround():
    """Even if it is uniform: out of focus, overexposed, or grey."""
    y, x = np.mgrid[:300, :400]
    vignette = (1 - ((y - 150) ** 2 + (x - 200) ** 2) / 250000)[..., None]
    for colour in ((180, 110, 60), (250, 190, 120), (140, 140, 140)):
        rgb = (vignette * np.array(colour)).astype(np.uint8)
        rgb[140:170, 180:230] = 255
        assert not has_light_surround(rgb)
        assert find_fov(rgb).all()
    assert not has_light_surround(image(disc((300, 400), (150, 200), (140, 140))))
    assert not has_light_surround(image(disc((300, 400), (150, 200), (140, 140)), surround=40.0))


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("colour", [WHITE, GREY])
@pytest.mark.parametrize("name", ["hrf_02_g", "lesav_304"])
def test_real_images_on_a_light_surround(shared, name, colour, quality):
    folder = shared / "data" / "av_gt"
    fov = np.asarray(Image.open(folder / "fov" / f"{name}.png")) > 0
    rgb = np.where(fov[..., None], np.asarray(Image.open(folder / "images" / f"{name}.jpg")), np.uint8(colour))
    file = io.BytesIO()
    Image.fromarray(rgb.astype(np.uint8)).save(file, "JPEG", quality=quality)
    assert dice(find_fov(np.asarray(Image.open(file))), fov) >= 0.99
