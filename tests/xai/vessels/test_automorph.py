import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file

from xai.vessels.automorph import (
    ARTERY,
    BACKGROUND,
    UNCERTAIN,
    VEIN,
    Crop,
    clean,
    enlarge,
    find_crop,
    network_input,
    to_masks,
    without_specks,
)


@pytest.fixture
def fixtures(shared):
    return shared / "fixtures" / "bfnet_tiny"


def picture(path):
    return np.asarray(Image.open(path))


def colours(labels):
    """AutoMorph's colour map of the four classes."""
    return np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 255, 0]], np.uint8)[labels]


@pytest.mark.parametrize("case", ["0", "1"])
def test_the_crop_is_upstreams_also_where_the_frame_cuts_the_disc(fixtures, case):
    rgb = picture(fixtures / f"crop_input{case}.png")
    expected = json.loads((fixtures / "manifest.json").read_text())["crop"][case]
    crop = find_crop(rgb)
    assert (crop.row, crop.column, crop.radius) == (expected["centre_row"], expected["centre_col"], expected["radius"])
    rows, columns = crop.box
    assert [rows.start, rows.stop, columns.start, columns.stop, *crop.shape] == expected["remove_border"]
    rows, columns = crop.inset
    assert [rows.start, rows.stop, columns.start, columns.stop, crop.side] == expected["pad_border"]
    np.testing.assert_array_equal(crop.apply(rgb), picture(fixtures / f"crop_output{case}.png"))


def test_the_crop_of_a_real_image_is_upstreams(shared):
    example = shared / "data" / "automorph_example"
    rgb = picture(example / "images" / "1.png")
    crop = find_crop(rgb)
    assert (crop.row, crop.column, crop.radius) == (807, 1227, 802)  # of its crop_info.csv
    np.testing.assert_array_equal(crop.apply(rgb), picture(example / "Results" / "M0" / "images" / "1.png"))


@given(
    shape=st.tuples(st.integers(5, 60), st.integers(5, 60)),
    place=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    radius=st.integers(1, 50),
)
def test_what_the_crop_takes_goes_back_to_its_pixel(shape, place, radius):
    crop = Crop(int(place[0] * shape[0]), int(place[1] * shape[1]), radius, shape)
    names = np.arange(1, shape[0] * shape[1] + 1).reshape(shape)
    rgb = np.stack([names % 251, names // 251, np.full(shape, 255)], axis=2).astype(np.uint8)
    square = crop.apply(rgb)
    assert square.shape == (crop.side, crop.side, 3)
    back = np.stack([crop.restore(plane) for plane in square.transpose(2, 0, 1)], axis=2)
    taken = back[..., 2] > 0
    np.testing.assert_array_equal(back[taken], rgb[taken])
    assert taken.sum() == (square[..., 2] > 0).sum()
    assert taken[crop.row, crop.column]
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(y - crop.row, x - crop.column)
    assert not taken[distance > radius + 1].any()


@pytest.mark.parametrize(("row", "column", "radius"), [(-1, 5, 3), (20, 5, 3), (5, 30, 3), (5, 5, 0)])
def test_a_circle_outside_the_image_is_refused(row, column, radius):
    with pytest.raises(ValueError, match=f"radius {radius} at row {row}, column {column} .* 30x20 pixels"):
        Crop(row, column, radius, (20, 30))


@pytest.mark.parametrize("level", [0, 200])
def test_a_image_without_surround_has_no_crop(level):
    with pytest.raises(ValueError, match="shows no rim"):
        find_crop(np.full((90, 120, 3), level, np.uint8))


def test_the_networks_input_is_upstreams(fixtures):
    expected = load_file(fixtures / "preprocess.safetensors")
    found = network_input(picture(fixtures / "preprocess_input.png"), 96)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected["network_input"], rtol=1e-6)


def test_a_image_without_red_is_refused():
    square = np.zeros((40, 40, 3), np.uint8)
    square[..., 1] = 90
    with pytest.raises(ValueError, match="no red"):
        network_input(square, 32)


def test_the_map_is_upstreams_at_both_sizes(fixtures):
    labels = clean(load_file(fixtures / "postprocess.safetensors")["argmax"])
    np.testing.assert_array_equal(colours(labels), picture(fixtures / "postprocess_small_rgb.png"))
    np.testing.assert_array_equal(colours(enlarge(labels, 168, 240)), picture(fixtures / "postprocess_raw_rgb.png"))


@pytest.mark.parametrize(("name", "label"), [("artery", ARTERY), ("vein", VEIN)])
def test_upstreams_final_masks_follow_from_the_map(fixtures, name, label):
    labels = enlarge(clean(load_file(fixtures / "postprocess.safetensors")["argmax"]), 912, 912)
    found = without_specks((labels == label) | (labels == UNCERTAIN))
    np.testing.assert_array_equal(found, picture(fixtures / f"postprocess_{name}_912.png") == 255)


def test_enlarging_a_real_map_is_upstreams(shared):
    results = shared / "data" / "automorph_example" / "Results" / "M2" / "artery_vein"
    small, large = picture(results / "resized" / "1.png"), picture(results / "raw" / "1.png")
    np.testing.assert_array_equal(enlarge(small, *large.shape[:2]), large)


def test_pieces_of_30_pixels_stay_and_corners_connect():
    mask = np.zeros((40, 40), dtype=bool)
    mask[0, :29] = True
    mask[10, :30] = True
    mask[20, :15] = mask[21, 15:30] = True
    expected = mask.copy()
    expected[0] = False
    np.testing.assert_array_equal(without_specks(mask), expected)


def test_artery_and_vein_are_cleaned_apart_and_uncertain_is_not():
    labels = np.zeros((40, 40), np.uint8)
    labels[0, :20] = ARTERY
    labels[0, 20:] = VEIN
    labels[5, :40] = VEIN
    labels[9, :3] = UNCERTAIN
    labels[5, 7] = ARTERY
    cleaned = clean(labels)
    assert (cleaned[0] == BACKGROUND).all()
    assert cleaned[5].tolist() == [BACKGROUND] * 8 + [VEIN] * 32
    np.testing.assert_array_equal(cleaned[9], labels[9])


def test_masks_lie_on_the_image():
    crop = Crop(3, 20, 8, (12, 30))  # cut off above and below
    labels = np.zeros((crop.side, crop.side), np.uint8)
    labels[crop.inset[0].start, 0] = ARTERY
    labels[crop.inset[0].start + 1, 5] = VEIN
    labels[crop.inset[0].stop - 1, -1] = UNCERTAIN
    labels[0, 0] = ARTERY  # outside the frame
    masks = to_masks(labels, crop, 0.25)
    assert np.argwhere(masks.artery).tolist() == [[0, 12]]
    assert np.argwhere(masks.vein).tolist() == [[1, 17]]
    assert np.argwhere(masks.uncertain).tolist() == [[11, 27]]
    assert masks.disagreement == 0.25
