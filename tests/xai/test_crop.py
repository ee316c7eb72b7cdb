import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xai.crop import Square, bounding_box, coverage, crop_image, square_around


def box_mask(shape, top, bottom, left, right):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def test_bounding_box_spans_the_mask():
    assert bounding_box(box_mask((50, 80), 5, 45, 10, 41)) == (slice(5, 45), slice(10, 41))


def test_an_empty_field_of_view_is_refused():
    with pytest.raises(ValueError, match="the field of view is empty"):
        square_around(np.zeros((10, 10), dtype=bool))


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((10, 40, 10, 40), Square(10, 10, 30)),
        ((0, 50, 0, 80), Square(-15, 0, 80)),
        ((0, 50, 30, 50), Square(0, 15, 50)),
    ],
)
def test_square_is_centred_on_the_field_of_view(box, square):
    assert square_around(box_mask((50, 80), *box)) == square


def test_crop_at_its_own_size_is_a_copy_padded_with_black():
    rgb = np.random.default_rng(0).integers(1, 255, (50, 80, 3), dtype=np.uint8)
    crop = crop_image(rgb, Square(-15, 0, 80), 80)
    np.testing.assert_array_equal(crop[15:65], rgb)
    assert not crop[:15].any()
    assert not crop[65:].any()


def test_crop_is_antialiased():
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    crop = crop_image(stripes, Square(0, 0, 400), 40)
    assert crop.dtype == np.uint8
    assert crop.shape == (40, 40, 3)
    assert abs(crop.astype(int) - 100).max() <= 4  # the edge pixels have fewer neighbours


def test_crop_enlarges_a_small_image():
    rgb = np.full((20, 20, 3), (200, 100, 50), dtype=np.uint8)
    np.testing.assert_array_equal(crop_image(rgb, Square(0, 0, 20), 64), np.broadcast_to(rgb[0, 0], (64, 64, 3)))


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    top=st.integers(-10, 10),
    left=st.integers(-10, 10),
    side=st.integers(1, 50),
    size=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_coverage_is_the_area_average(height, width, top, left, side, size, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    # Independent: `size` sub-pixels per source pixel and axis, so that every output pixel holds side x side whole ones.
    padded = np.zeros((side, side))
    for y in range(side):
        for x in range(side):
            if 0 <= y + top < height and 0 <= x + left < width:
                padded[y, x] = mask[y + top, x + left]
    fine = padded.repeat(size, axis=0).repeat(size, axis=1)
    expected = fine.reshape(size, side, size, side).mean(axis=(1, 3))
    found = coverage(mask, Square(top, left, side), size)
    assert found.dtype == np.uint8
    assert abs(found / 255 - expected).max() <= 0.5 / 255 + 1e-6


def test_no_thin_vessel_vanishes():
    mask = np.zeros((2336, 3504), dtype=bool)
    mask[:, 1000] = True  # one pixel of 15.6 to an output pixel
    mask[1500, :] = True
    square = Square(-584, 0, 3504)
    found = coverage(mask, square, 224)
    covered = coverage(np.ones_like(mask), square, 224) > 0
    assert (found.max(axis=1)[covered.any(axis=1)] > 0).all()
    assert (found.max(axis=0) > 0).all()
    assert found.sum() / 255 * (3504 / 224) ** 2 == pytest.approx(mask.sum(), rel=0.03)


def test_coverage_keeps_the_area_to_quantisation():
    mask = np.random.default_rng(0).random((700, 900)) < 0.1
    square = Square(-100, 0, 900)
    found = coverage(mask, square, 224).astype(float)
    assert abs(found.sum() / 255 * (900 / 224) ** 2 - mask.sum()) <= mask.sum() * 1e-3
