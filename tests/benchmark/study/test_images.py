"""Images read from files of every kind, usable or not."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmark.study.images import IMAGE_SUFFIXES, ImageError, crop_row, load_image, one_line, read_image
from xai.fov import has_light_surround
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
def test_colour_images(tmp_path, rgb, suffix):
    path = tmp_path / f"eye.{suffix}"
    Image.fromarray(rgb).save(path, **({} if suffix in ("png", "tif", "bmp") else {"quality": 95}))
    read = read_image(path)
    assert (read.shape, read.dtype) == (rgb.shape, np.uint8)
    assert np.abs(read.astype(int) - rgb).mean() < (0.1 if suffix in ("png", "tif", "bmp") else 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path, rgb, mode):
    picture = Image.fromarray(rgb).convert(mode)
    picture.save(tmp_path / "eye.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "eye.tif"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [16, 12])
def test_grey_levels_of_more_than_eight_bits_keep_their_contrast(tmp_path, rgb, suffix, bits):
    grey = rgb[..., 0].astype(np.float64) / rgb[..., 0].max()
    Image.fromarray((grey * (2**bits - 1)).astype(np.uint16)).save(tmp_path / f"eye.{suffix}")
    read = read_image(tmp_path / f"eye.{suffix}")
    np.testing.assert_allclose(read, np.repeat(255 * grey[..., None], 3, axis=2), atol=1)


def test_a_dark_sixteen_bit_mask_is_still_a_mask(tmp_path, rgb, fov):
    Image.fromarray(fov.astype(np.uint16)).save(tmp_path / "fov.png")
    np.testing.assert_array_equal(read_fov(str(tmp_path / "fov.png"), rgb), fov)


def test_an_image_is_oriented_by_its_exif_block(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    Image.fromarray(rgb).save(tmp_path / "eye.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "eye.png"), np.rot90(rgb, -1))


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
        ("black.png", "the image is black"),
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


def test_an_image_of_absurd_size_is_not_decoded(tmp_path, rgb, monkeypatch):
    Image.fromarray(rgb).save(tmp_path / "eye.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="larger than"):
        read_image(tmp_path / "eye.png")


def test_a_mask_defines_the_field_of_view(tmp_path, rgb, fov):
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
    reasons = {
        "small.png": "is 10x20 pixels, its image 150x120",
        "black.png": "is empty",
        "none.png": "no such file",
        "text.png": "not a readable picture",
    }
    for name, reason in reasons.items():
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


def accepted(path) -> dict:
    result = crop_row(row(path))
    assert result["error"] == ""
    return result


def test_an_odd_tag_of_a_camera_does_not_lose_the_image(tmp_path, rgb):
    """python-pillow/Pillow#4665, #7340, #4037: Pillow rewrites the EXIF block to rotate, and fails on such tags."""
    for tag in (struct.pack("<HHI4s", 282, 2, 4, b"72"), struct.pack("<HHII", 256, 5, 1, 26)):
        orientation = struct.pack("<HHII", 274, 3, 1, 6)
        block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(sorted([orientation, tag])) + bytes(12)
        Image.fromarray(rgb).save(tmp_path / "plain.jpg", quality=95)
        plain = (tmp_path / "plain.jpg").read_bytes()
        with_block = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
        (tmp_path / "eye.jpg").write_bytes(with_block)
        assert accepted(tmp_path / "eye.jpg")["height"] == WIDTH
        expected = np.rot90(read_image(tmp_path / "plain.jpg"), -1)
        np.testing.assert_array_equal(read_image(tmp_path / "eye.jpg"), expected)


@pytest.mark.parametrize("bits", [12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_sixteen_bits_is_as_bright_as_of_eight(tmp_path, rgb, bits, suffix):
    """python-pillow/Pillow#1828, #2610; jfcabana/omg_dosimetry#18: 12 of 16 bits were read nearly black."""
    bright = rgb.astype(int) * 255 // rgb.max()
    cv2.imwrite(str(tmp_path / f"eye.{suffix}"), (bright[..., ::-1] * (2**bits - 1) // 255).astype(np.uint16))
    Image.fromarray(bright.astype(np.uint8)).save(tmp_path / "eight.png")
    deep, eight = accepted(tmp_path / f"eye.{suffix}"), accepted(tmp_path / "eight.png")
    assert np.abs(deep["crop"] - eight["crop"].astype(int)).max() <= 1
    assert deep["side"] == eight["side"]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGBA of 16 bits"])
def test_what_is_transparent_is_outside_the_eye(tmp_path, rgb, fov, mode):
    """kohya-ss/sd-scripts#1269, kornelski/pngquant#362: white that was hidden by transparency appears."""
    white = np.where(fov[..., None], rgb, 255).astype(np.uint8)
    rgba = np.dstack([white, fov.astype(np.uint8) * 255])
    if mode == "P":
        colours = Image.fromarray(white).quantize(255)
        indices = np.where(fov, np.asarray(colours), 255).astype(np.uint8)
        picture = Image.fromarray(indices, "P")
        picture.putpalette((colours.getpalette() + [255] * 768)[:768])
        picture.save(tmp_path / "eye.png", transparency=255)
    elif mode == "RGBA of 16 bits":
        cv2.imwrite(str(tmp_path / "eye.png"), rgba[..., [2, 1, 0, 3]].astype(np.uint16) * 257)
    else:
        Image.fromarray(rgba).convert(mode).save(tmp_path / "eye.png")
    result = accepted(tmp_path / "eye.png")
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    place = (result["top"], result["left"], result["side"])
    np.testing.assert_allclose(place, (rows[0], columns[0], len(rows)), atol=1)
    assert not result["crop"][:20, :20].any()
    assert not read_image(tmp_path / "eye.png")[~fov].any()


def test_transparency_limits_the_field_of_view(tmp_path, rgb, fov):
    """A label that was cut out of the retina is outside the field of view, although the outline encloses it."""
    hole = np.zeros_like(fov)
    hole[50:70, 60:80] = True
    Image.fromarray(np.dstack([rgb, np.where(hole, 0, 255).astype(np.uint8)])).save(tmp_path / "eye.png")
    loaded, found = load_image(tmp_path / "eye.png")
    assert not found[hole].any()
    assert not loaded[hole].any()
    assert (found | hole)[fov].mean() > 0.95
    Image.fromarray(np.dstack([rgb, np.zeros(fov.shape, np.uint8)])).save(tmp_path / "gone.png")
    assert crop_row(row(tmp_path / "gone.png"))["error"].startswith("the image is black")


@pytest.mark.parametrize("colour", [(255, 255, 255), (238, 238, 238), (128, 128, 128), (70, 120, 200)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_light_surround_is_outside_the_eye_and_painted_black(tmp_path, colour, suffix):
    y, x = np.mgrid[:360, :450]
    inside = (y - 180) ** 2 + (x - 225) ** 2 < 165**2
    retina = np.linspace(0.5, 1, 450)[None, :, None] * (220, 110, 50)
    Image.fromarray(np.where(inside[..., None], retina, colour).astype(np.uint8)).save(tmp_path / f"eye.{suffix}")
    result = accepted(tmp_path / f"eye.{suffix}")
    assert (result["top"], result["left"], result["side"]) == pytest.approx((15, 60, 330), abs=4)
    assert not result["crop"][:20, :20].any()
    loaded, found = load_image(tmp_path / f"eye.{suffix}")
    assert not loaded[~found].any()
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.985


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 1), "1x1 pixels: too small"),  # HzFu/EyeQ#2
        ((256, 1), "1x256 pixels: too small"),
        ((3, 4000), "4000x3 pixels: too small"),
        ((63, 100), "100x63 pixels: too small to show vessels (at least 64 per side)"),
        ((64, 300), "300x64 pixels: too elongated for an image (at most 4:1)"),
    ],
)
def test_thumbnails_and_strips_are_refused(tmp_path, shape, reason):
    noise = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "eye.png")
    assert crop_row(row(tmp_path / "eye.png"))["error"].startswith(reason)


@pytest.mark.parametrize("noise", [0, 3])
@pytest.mark.parametrize(
    ("level", "reason"),
    [(255, "a blank frame"), (128, "a blank frame"), (20, "a blank frame"), (0, "the image is")],
)
def test_blank_frames_are_refused(tmp_path, level, noise, reason):
    frame = level + np.random.default_rng(0).normal(0, noise, (300, 400, 3)) if noise else np.full((64, 64, 3), level)
    Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)).save(tmp_path / "eye.png")
    assert crop_row(row(tmp_path / "eye.png"))["error"].startswith(reason)


def test_a_field_of_view_too_small_to_show_vessels(tmp_path, rgb, fov):
    Image.fromarray(np.pad(rgb[::2, ::2], ((30, 30), (20, 20), (0, 0)))).save(tmp_path / "eye.png")
    assert crop_row(row(tmp_path / "eye.png"))["error"].startswith("the field of view is less than 64 pixels wide")


def test_faint_images_are_accepted(tmp_path, rgb):
    Image.fromarray(rgb // 8).save(tmp_path / "dark.png")
    Image.fromarray(np.where(rgb > 0, 200 + rgb // 10, 0).astype(np.uint8)).save(tmp_path / "bright.png")
    for name in ("dark.png", "bright.png"):
        accepted(tmp_path / name)


def test_the_digest_covers_the_pixels_as_they_are_shown(tmp_path, rgb):
    turned = Image.Exif()
    turned[274] = 3
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(rgb).save(tmp_path / "b.tif", compression="tiff_lzw")
    Image.fromarray(rgb[::-1, ::-1].copy()).save(tmp_path / "c.png", exif=turned)
    Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])).save(tmp_path / "d.png")
    other = rgb.copy()
    other[60, 75, 0] ^= 1
    Image.fromarray(other).save(tmp_path / "e.png")
    digests = [accepted(tmp_path / name)["digest"] for name in ("a.png", "b.tif", "c.png", "d.png", "e.png")]
    assert len(set(digests[:4])) == 1
    assert digests[4] != digests[0]
    assert crop_row(row(tmp_path / "none.png"))["digest"] == ""


def test_the_suffixes_hold_those_of_torchvisions_loader():
    """The files that users of RETFound have in their folders: IMG_EXTENSIONS of torchvision.datasets.folder."""
    assert {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"} <= IMAGE_SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in IMAGE_SUFFIXES)


@pytest.mark.slow
def test_no_real_image_is_refused(shared):
    """560 images of mixed quality, none on a light surround."""
    images = sorted((shared / "data" / "fundus_labelled" / "images").iterdir())
    assert len(images) == 560
    assert not [path for path in images if crop_row(row(path))["error"]]
    assert not any(has_light_surround(read_image(path)) for path in images)


@given(st.text())
def test_any_reason_is_one_printable_line(reason):
    """The transfer syntax of a damaged DICOM file contained a file separator character."""
    line = one_line(ValueError(reason))
    assert line
    assert line.isprintable()


def test_an_error_without_a_message_is_named_by_its_type():
    assert (one_line(MemoryError()), one_line(OSError())) == ("not enough memory", "OSError")
