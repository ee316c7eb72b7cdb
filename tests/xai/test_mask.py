"""Mask files are read by the stated rules, or refused with one line that names the file and the fix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from xai.mask import MaskError, read_mask

HEIGHT, WIDTH = 90, 120


def lines(seed: int, scale: int = 1, colour: object = 255, mode: str = "L") -> Image.Image:
    """Some lines with the width of a vessel, enlarged by `scale`."""
    picture = Image.new(mode, (WIDTH * scale, HEIGHT * scale))
    points = np.random.default_rng(seed).integers(0, (WIDTH, HEIGHT), (8, 2, 2)) * scale
    for start, end in points.tolist():
        ImageDraw.Draw(picture).line([*start, *end], fill=colour, width=3 * scale)
    return picture


@pytest.fixture
def inside() -> np.ndarray:
    return np.asarray(lines(0)) > 0


@pytest.fixture
def other() -> np.ndarray:
    return np.asarray(lines(1)) > 0


def read(tmp_path, pixels, name="mask.png", column="artery_mask", **options):
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(tmp_path / name, **options)
    return read_mask(column, tmp_path / name)[0]


def refusal(tmp_path, pixels, name="mask.png", column="artery_mask", **options) -> str:
    with pytest.raises(MaskError) as caught:
        read(tmp_path, pixels, name, column, **options)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{column} {tmp_path / name}: ")
    return line


def dice(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


def palette(*colours):
    """A palette image from indices of 8 bits."""

    def paint(indices):
        picture = Image.fromarray(indices.astype(np.uint8), "P")
        picture.putpalette([part for colour in colours for part in colour])
        return picture

    return paint


def grey(value, kind=np.uint8):
    return lambda mask: mask.astype(kind) * kind(value)


def with_alpha(colour_inside, colour_outside, alpha_inside=255, alpha_outside=255):
    values = np.array([(*colour_outside, alpha_outside), (*colour_inside, alpha_inside)], np.uint8)
    return lambda mask: values[mask.astype(int)]


WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)
TWO_VALUED = {
    "1 bit": lambda mask: mask,
    "0 and 1": grey(1),
    "0 and 255": grey(255),
    "16 bits, 0 and 1": grey(1, np.uint16),
    "16 bits, 0 and 300": grey(300, np.uint16),
    "16 bits, full": grey(65535, np.uint16),
    "colour, faint": lambda mask: mask[..., None] * np.array([0, 0, 1], np.uint8),
    "red on black": lambda mask: mask[..., None] * np.array(RED, np.uint8),
    "palette, white": palette(BLACK, WHITE),
    "palette, VOC": palette(BLACK, (128, 0, 0)),
    "palette, colour map": palette((68, 1, 84), (253, 231, 37)),
    "palette, the other way": lambda mask: palette(WHITE, BLACK)(~mask),
    "opaque alpha": with_alpha(WHITE, BLACK),
    "alpha alone, black": with_alpha(BLACK, BLACK, 255, 0),
    "alpha alone, white": with_alpha(WHITE, WHITE, 255, 0),
    "alpha alone, translucent": with_alpha(RED, RED, 120, 0),
    "transparent white around red": with_alpha(RED, WHITE, 255, 0),
    "alpha the same everywhere": with_alpha(WHITE, BLACK, 128, 128),
}


@pytest.mark.parametrize("encode", TWO_VALUED.values(), ids=TWO_VALUED)
def test_of_two_values_the_brighter_or_the_visible_is_inside(tmp_path, inside, encode):
    """mantasu/glasses-detector#23: masks of 0 and 1; askerlee/segtran#44: of 0 and 255; alpha was dropped."""
    np.testing.assert_array_equal(read(tmp_path, encode(inside)), inside)


def test_floats_and_whole_numbers_of_32_bits(tmp_path, inside):
    np.testing.assert_array_equal(read(tmp_path, inside.astype(np.float32), "mask.tif"), inside)
    np.testing.assert_array_equal(read(tmp_path, inside.astype(np.int32) * 255, "mask.tif"), inside)


@pytest.mark.parametrize("quality", [60, 75, 90, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_read_as_what_it_was_made_of(tmp_path, inside, quality, mode):
    """arahusky/Tensorflow-Segmentation#11: JPEG rings around every edge, and any non-zero pixel was inside."""
    picture = Image.fromarray(grey(255)(inside)).convert(mode)
    found = read(tmp_path, picture, "mask.jpg", quality=quality)
    assert dice(found, inside) > 0.995
    assert abs(found.sum() / inside.sum() - 1) < 0.01


def test_a_lossy_picture_with_alpha(tmp_path, inside):
    found = read(tmp_path, Image.fromarray(with_alpha(WHITE, BLACK, 255, 0)(inside)), "mask.webp", quality=80)
    np.testing.assert_array_equal(found, inside)


@pytest.mark.parametrize("colour", ["white", "red"])
def test_antialiased_lines_keep_their_width(tmp_path, colour):
    large = lines(2, scale=4, colour=colour, mode="RGB")
    found = read(tmp_path, large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    area = (np.asarray(large).max(axis=2) > 0).mean()
    assert abs(found.mean() / area - 1) < 0.03


@pytest.mark.parametrize(
    ("top", "kind", "name"), [(255, np.uint8, "p.png"), (65535, np.uint16, "p.png"), (1, np.float32, "p.tif")]
)
def test_probabilities_are_cut_at_half(tmp_path, inside, top, kind, name):
    blurred = Image.fromarray(grey(255)(inside)).resize((40, 30)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    probability = np.asarray(blurred).astype(np.float64) / 255
    found = read(tmp_path, (probability * top).astype(kind), name)
    np.testing.assert_array_equal(found, (probability * top).astype(kind) > top / 2)
    assert 0.5 < found.sum() / inside.sum() < 1.5


def colour_map(artery, vein, both=(0, 255, 0)):
    colours = np.zeros((*artery.shape, 3), np.uint8)
    colours[artery], colours[vein], colours[artery & vein] = (255, 0, 0), (0, 0, 255), both
    return colours


@pytest.mark.parametrize("both", [(0, 255, 0), (255, 0, 255), (255, 255, 255)])
def test_one_map_of_arteries_and_veins_gives_either(tmp_path, inside, other, both):
    """Red arteries, blue veins, crossings in green (AutoMorph, LES-AV), magenta or white (RITE)."""
    picture = colour_map(inside, other, both)
    np.testing.assert_array_equal(read(tmp_path, picture, column="artery_mask"), inside)
    np.testing.assert_array_equal(read(tmp_path, picture, column="vein_mask"), other)
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(picture).quantize(8), column="vein_mask"), other)
    clear = np.dstack([picture, grey(255)(inside | other)])
    clear[~(inside | other), :3] = 255
    np.testing.assert_array_equal(read(tmp_path, clear, column="artery_mask"), inside)


def three(first, second, third=0):
    """An image with three values."""
    return lambda mask, other: np.where(mask, first, np.where(other, second, third)).astype(np.uint8)


def whole_image(mask, _):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (90 + 60 * np.sin(x / 9) + 40 * np.cos(y / 7) - 30 * mask).astype(np.uint8)


REFUSED = {
    "labels 0 1 2": (three(1, 2), "its values (0, 1, 2) look like labels of several classes"),
    "labels 0 128 255": (three(128, 255), "its grey levels (0, 128, 255) look like several classes"),
    "cup, disc, background": (three(0, 128, 255), "look like several classes"),
    "labels 1 and 2": (lambda mask, _: mask + np.uint8(1), "it is not clear which of its two values (1, 2) is inside"),
    "dim": (lambda mask, other: three(100, 60)(mask, other), "its brightest value, 100, is below half of the range"),
    "12 of 16 bits": (lambda mask, other: three(100, 60)(mask, other).astype(np.uint16) * 40, "0 to 65535"),
    "not a number": (lambda mask, _: np.where(mask, np.nan, 0).astype(np.float32), "its values are not grey levels"),
    "below zero": (lambda mask, _: np.where(mask, 3.5, -2).astype(np.float32), "its values are not grey levels"),
    "three colours": (lambda mask, other: colour_map(mask, other, (255, 255, 0)), "it has 4 colours"),
    "two dim colours": (palette((90, 0, 0), (0, 0, 90)), "which of its two colours (#00005a and #5a0000) is inside"),
    "transparent": (lambda mask, _: with_alpha(WHITE, BLACK, 0, 0)(mask), "all of it is transparent"),
    "an image": (whole_image, "more than half of it is neither black nor white"),
}


@pytest.mark.parametrize(("encode", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_clear_is_refused_with_the_fix(tmp_path, inside, other, encode, reason):
    pixels = encode(inside, other) if encode.__name__ != "paint" else encode(inside)
    name = "mask.tif" if isinstance(pixels, np.ndarray) and pixels.dtype == np.float32 else "mask.png"
    line = refusal(tmp_path, pixels, name)
    assert reason in line
    assert "save" in line or "scale" in line


@pytest.mark.parametrize("column", ["disc_mask", "fov_mask"])
def test_a_map_of_vessels_is_no_mask_of_anything_else(tmp_path, inside, other, column):
    assert "colours" in refusal(tmp_path, colour_map(inside, other), column=column)


def test_a_colour_map_that_jpeg_has_blurred_is_refused(tmp_path, inside, other):
    assert "as PNG" in refusal(tmp_path, colour_map(inside, other), "mask.jpg", quality=90)


def test_of_several_pages_none_is_taken_for_the_mask(tmp_path, inside, other):
    pages = {"save_all": True, "append_images": [Image.fromarray(other)]}
    assert "2 pages: save one mask per file" in refusal(tmp_path, inside, "mask.tif", **pages)


def damaged_second_chunk(data: bytes) -> bytes:
    first = data.index(b"IDAT")
    second = data.index(b"IDAT", first + 4)
    return data[:second] + b"\0" + data[second + 1 :]


def test_damaged_files_give_one_line(tmp_path, inside, monkeypatch):
    """python-pillow/Pillow#8348 (kind): a damaged second IDAT chunk raised a SyntaxError that nobody caught."""
    noise = np.random.default_rng(0).random((400, 400)) < 0.5
    Image.fromarray(grey(255)(noise)).save(tmp_path / "mask.png", compress_level=0)
    whole = (tmp_path / "mask.png").read_bytes()
    for name, data in {
        "chunk.png": damaged_second_chunk(whole),
        "half.png": whole[: len(whole) // 2],
        "text.png": b"no picture",
        "empty.png": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MaskError, match=rf"^vein_mask .*{name}: cannot be read as a mask \([^\n]*\)$"):
            read_mask("vein_mask", tmp_path / name)
    with pytest.raises(MaskError, match="no such file"):
        read_mask("vein_mask", tmp_path / "none.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MaskError, match="larger than"):
        read_mask("vein_mask", tmp_path / "mask.png")


def test_a_mask_with_an_orientation_of_its_own_is_turned_by_it(tmp_path, inside):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey(255)(inside)).save(tmp_path / "mask.png", exif=exif)
    found, own = read_mask("artery_mask", tmp_path / "mask.png")
    np.testing.assert_array_equal(found, np.rot90(inside, -1))
    assert own
    Image.fromarray(grey(255)(inside)).save(tmp_path / "plain.png")
    assert not read_mask("artery_mask", tmp_path / "plain.png")[1]


@given(
    seed=st.integers(0, 1000),
    low=st.integers(0, 20),
    high=st.integers(235, 255),
    kind=st.sampled_from(["noise", "edges"]),
)
def test_levels_near_black_and_white_do_not_move_a_pixel(tmp_path_factory, seed, low, high, kind):
    rng = np.random.default_rng(seed)
    inside = np.asarray(lines(seed)) > 0
    noise = rng.integers(0, low + 1, inside.shape)
    levels = np.where(inside, high - noise * (kind == "noise"), noise).astype(np.uint8)
    np.testing.assert_array_equal(read(tmp_path_factory.mktemp("mask"), levels), inside)
