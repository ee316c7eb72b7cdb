"""Photographs from files of every kind, usable or not."""

import numpy as np
import pytest
from PIL import Image

from benchmark.photos import PhotoError, crop_row, read_photo
from xai.landmarks import read_fov

HEIGHT, WIDTH, RADIUS = 120, 150, 55


@pytest.fixture(scope="module")
def fov() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (y - HEIGHT / 2) ** 2 + (x - WIDTH / 2) ** 2 < RADIUS**2


@pytest.fixture(scope="module")
def rgb(fov) -> np.ndarray:
    """An orange disc, brighter to the right, on black."""
    ramp = np.linspace(0.5, 1, WIDTH)[None, :, None]
    return (fov[..., None] * ramp * (220, 110, 50)).astype(np.uint8)


def row(path, fov_mask="") -> dict:
    return {"row": 3, "path": str(path), "fov_mask": str(fov_mask)}


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "jpg", "webp"])
def test_colour_photographs(tmp_path, rgb, suffix):
    path = tmp_path / f"eye.{suffix}"
    Image.fromarray(rgb).save(path, **({} if suffix in ("png", "tif", "bmp") else {"quality": 95}))
    read = read_photo(path)
    assert (read.shape, read.dtype) == (rgb.shape, np.uint8)
    assert np.abs(read.astype(int) - rgb).mean() < (0.1 if suffix in ("png", "tif", "bmp") else 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path, rgb, mode):
    picture = Image.fromarray(rgb).convert(mode)
    picture.save(tmp_path / "eye.tif")
    np.testing.assert_array_equal(read_photo(tmp_path / "eye.tif"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [16, 12])
def test_grey_levels_of_more_than_eight_bits_keep_their_contrast(tmp_path, rgb, suffix, bits):
    grey = rgb[..., 0].astype(np.float64) / rgb[..., 0].max()
    Image.fromarray((grey * (2**bits - 1)).astype(np.uint16)).save(tmp_path / f"eye.{suffix}")
    read = read_photo(tmp_path / f"eye.{suffix}")
    np.testing.assert_allclose(read, np.repeat(255 * grey[..., None], 3, axis=2), atol=1)


def test_a_dark_sixteen_bit_mask_is_still_a_mask(tmp_path, rgb, fov):
    Image.fromarray(fov.astype(np.uint16)).save(tmp_path / "fov.png")
    np.testing.assert_array_equal(read_fov(str(tmp_path / "fov.png"), rgb), fov)


def test_a_photograph_is_turned_as_its_exif_block_says(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    Image.fromarray(rgb).save(tmp_path / "eye.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "eye.png"), np.rot90(rgb, -1))


def _damaged(folder, rgb):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, rgb.shape, dtype=np.uint8)).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("image,label\n")
    (folder / "empty.png").touch()
    (folder / "folder.jpg").mkdir()
    Image.fromarray(rgb[..., 0].astype(np.float32)).save(folder / "float.tif")
    Image.fromarray(np.zeros_like(rgb)).save(folder / "black.png")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("none.jpg", "no such file"),
        ("half.jpg", "not a readable picture (image file is truncated"),
        ("text.jpg", "not a readable picture (cannot identify image file"),
        ("empty.png", "not a readable picture (cannot identify image file"),
        ("folder.jpg", "not a readable picture ("),
        ("float.tif", "not a readable picture (32 bits a pixel: save it with 8 or 16)"),
        ("black.png", "the photograph is black"),
    ],
)
def test_what_cannot_be_used_comes_back_with_the_reason(tmp_path, rgb, file, reason):
    _damaged(tmp_path, rgb)
    result = crop_row(row(tmp_path / file))
    assert result["error"].startswith(reason)
    assert len(result["error"].splitlines()) == 1
    good = crop_row(row(tmp_path / "whole.jpg"))
    assert good["error"] == ""
    assert result.keys() == good.keys()
    assert result["row"] == 3
    assert not result["crop"].any()
    assert result["crop"].shape == good["crop"].shape == (224, 224, 3)


def test_a_picture_of_absurd_size_is_not_decoded(tmp_path, rgb, monkeypatch):
    Image.fromarray(rgb).save(tmp_path / "eye.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PhotoError, match="larger than"):
        read_photo(tmp_path / "eye.png")


def test_the_field_of_view_is_the_masks_where_there_is_one(tmp_path, rgb, fov):
    half = fov & (np.arange(WIDTH) < WIDTH / 2)
    Image.fromarray((half * 255).astype(np.uint8)).save(tmp_path / "fov.png")
    np.testing.assert_array_equal(read_fov(str(tmp_path / "fov.png"), rgb), half)
    found = read_fov("", rgb)
    assert 2 * (found & fov).sum() / (found.sum() + fov.sum()) > 0.98


def test_an_unusable_mask_is_named(tmp_path, rgb, fov):
    Image.fromarray(rgb).save(tmp_path / "eye.png")
    Image.new("L", (10, 20), 255).save(tmp_path / "small.png")
    Image.new("L", (WIDTH, HEIGHT), 0).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("hello")
    told = {
        "small.png": "is 10x20 pixels, its photograph 150x120",
        "black.png": "is empty",
        "none.png": "no such file",
        "text.png": "not a readable picture",
    }
    for name, reason in told.items():
        error = crop_row(row(tmp_path / "eye.png", tmp_path / name))["error"]
        assert error.startswith(f"fov_mask {tmp_path / name}")
        assert reason in error


def test_the_crop_is_the_square_around_the_field_of_view(tmp_path, rgb, fov):
    Image.fromarray(rgb).save(tmp_path / "eye.png")
    Image.fromarray((fov * 255).astype(np.uint8)).save(tmp_path / "fov.png")
    result = crop_row(row(tmp_path / "eye.png", tmp_path / "fov.png"))
    assert (result["height"], result["width"]) == (HEIGHT, WIDTH)
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    assert result["side"] == len(columns) == len(rows)
    assert (result["top"], result["left"]) == (rows[0], columns[0])
    inside = result["crop"][112, 112]
    np.testing.assert_allclose(inside, rgb[HEIGHT // 2, WIDTH // 2], atol=3)
