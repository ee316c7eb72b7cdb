"""Image files of every kind, compared with Pillow's result or the original arrays."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from xai import decoding as module
from xai.decoding import PictureError, eight_bits, open_picture, read_picture, turned, upright

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    """(60, 80, 3) uint8, smooth, of all brightnesses."""
    y, x = np.mgrid[:60, :80]
    return np.dstack([x * 3, y * 4, 255 - x - y]).astype(np.uint8)


def encoded(picture, kind, **options) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(file, kind, **options)
    return file.getvalue()


def with_tags(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of (tag, type, count, value or offset in 4 bytes)."""
    listed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + listed + bytes(8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_exif(tmp_path, rgb, kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    lossless = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    (tmp_path / "eye").write_bytes(encoded(rgb, kind, exif=exif, **lossless))
    expected = TURNS[orientation](rgb).astype(int)
    assert np.abs(read_picture(tmp_path / "eye").rgb - expected).mean() < 2
    opened = open_picture(tmp_path / "eye")
    assert turned(opened) == (orientation != 1)  # also where Pillow has turned the pixels already, as with TIFF
    assert np.abs(np.asarray(upright(opened)) - expected).mean() < 2


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((282, 2, 4, b"72"), id="resolution as text"),  # python-pillow/Pillow#4665, #7340
        pytest.param((256, 5, 1, struct.pack("<I", 26)), id="width as a rational"),  # python-pillow/Pillow#4037
        pytest.param((282, 5, 1, struct.pack("<I", 2**31)), id="value outside the file"),
        pytest.param((34665, 4, 1, struct.pack("<I", 2**32 - 1)), id="camera block outside the file"),
        pytest.param((34853, 13, 1, struct.pack("<I", 8)), id="GPS block that is this block"),
        pytest.param((40962, 99, 7, b"?"), id="unknown type"),
        pytest.param((306, 2, 2**31, b"?"), id="endless text"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_odd_tag_does_not_keep_a_sound_picture_from_being_turned(rgb, odd, kind):
    orientation = (274, 3, 1, b"\6\0")
    exif = with_tags(*sorted([orientation, odd], key=lambda entry: entry[0]))
    data = encoded(rgb, kind, **({"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}))
    if kind == "JPEG":
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    elif kind == "PNG":
        chunk = b"eXIf" + exif[6:]
        at = data.index(b"IDAT") - 4
        data = data[:at] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = encoded(rgb, kind, lossless=True, exif=exif)
    assert np.abs(read_picture(data).rgb - np.rot90(rgb, -1).astype(int)).mean() < 8


@pytest.mark.parametrize("value", [b"\x63\0", b"\0\0"])
def test_an_undefined_orientation_turns_nothing(rgb, value):
    exif = with_tags((274, 3, 1, value))
    np.testing.assert_array_equal(read_picture(encoded(rgb, "PNG", exif=exif)).rgb, rgb)


@pytest.mark.parametrize(
    "error",
    [
        struct.error("required argument is not an integer"), TypeError("bad operand"), KeyError("x"), IndexError(),
        zlib.error("invalid"), MemoryError(), ValueError("two\nlines"), SyntaxError("broken PNG"), OSError("truncated"),
        EOFError(), OverflowError(), ZeroDivisionError("division by zero"), RuntimeError(), RecursionError(),
        NotImplementedError("x" * 1000), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_decoder_raises_is_one_kind_of_error(rgb, error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(PictureError, match=r"^not a readable picture \(.+\)$") as caught:
        read_picture(encoded(rgb, "PNG"))
    assert len(str(caught.value)) < 250
    assert len(str(caught.value).splitlines()) == 1


def test_the_message_does_not_repeat_the_path(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in {"text.jpg": "cannot identify", "folder.jpg": "Is a directory", "none.jpg": "no such"}.items():
        with pytest.raises(PictureError, match=reason) as caught:
            read_picture(tmp_path / name)
        assert name not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}), ("BMP", {}), ("GIF", {}), ("WEBP", {}), ("WEBP", {"lossless": True}),
        ("PPM", {}), ("JPEG2000", {}), ("AVIF", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_truncated_file_is_refused(rgb, kind, options, share):
    whole = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), kind, **options)
    read_picture(whole)
    with pytest.raises(PictureError):
        read_picture(whole[: int(share * len(whole))])


@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {}), ("MPO", {"quality": 95})],
)
def test_of_several_frames_the_first_is_read(rgb, kind, options):
    other = Image.fromarray(rgb[::-1, ::-1].copy())
    data = encoded(rgb, kind, save_all=True, append_images=[other], **options)
    assert np.abs(read_picture(data).rgb - rgb.astype(int)).mean() < 12  # a GIF has 256 colours


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr", "1", "LAB"])
def test_other_modes_become_rgb(rgb, mode):
    picture = Image.merge("LAB", Image.fromarray(rgb).split()) if mode == "LAB" else Image.fromarray(rgb).convert(mode)
    read = read_picture(encoded(picture, "TIFF"))
    np.testing.assert_array_equal(read.rgb, np.asarray(picture.convert("RGB")))
    assert read.opaque is None


def test_jpegs_of_four_channels(rgb):
    """As Adobe programs write them: inverted CMYK."""
    cmyk = Image.fromarray(rgb).convert("CMYK")
    read = read_picture(encoded(cmyk, "JPEG", quality=95, subsampling=0)).rgb
    assert np.abs(read - rgb.astype(int)).mean() < 3


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2", ".ppm"])
def test_colour_of_more_than_eight_bits_keeps_its_brightness(rgb, bits, suffix):
    """python-pillow/Pillow#1828, #2610: Pillow takes the upper 8 of 16 bits, of which a camera of 12 has filled 4."""
    levels = (rgb.astype(int) * (2**bits - 1) // 255).astype(np.uint16)
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if suffix == ".jp2" else []
    read = read_picture(bytes(cv2.imencode(suffix, levels[..., ::-1], options)[1])).rgb
    assert np.abs(read - rgb.astype(int)).max() <= 1


@pytest.mark.parametrize("maximum", [1023, 4095, 65535])
@pytest.mark.parametrize("bands", [1, 3])
def test_ppm_and_pgm_say_their_depth(rgb, maximum, bands):
    """A dark image stays dark if the header states the largest value."""
    dark = rgb[..., :bands].astype(np.uint16) // 16
    dark[0, 0] = 255 if maximum == 65535 else 0
    header = f"P{6 if bands == 3 else 5}\n80 60\n{maximum}\n".encode()
    read = read_picture(header + (dark if maximum < 65535 else dark * 257).astype(">u2").tobytes()).rgb
    scale = 1 if maximum == 65535 else 255 / maximum
    np.testing.assert_allclose(read, np.broadcast_to(dark * scale, (60, 80, 3)), atol=1)


@pytest.mark.parametrize("channels", [2, 4])
def test_sixteen_bits_with_transparency(rgb, channels):
    levels = rgb.astype(np.uint16) << 4
    alpha = np.where(np.arange(80) < 40, 0, 65535) * np.ones((60, 1), int)
    if channels == 4:
        blue_first = np.dstack([levels[..., ::-1], alpha]).astype(np.uint16)
        data = bytes(cv2.imencode(".png", blue_first)[1])
        expected = rgb
    else:
        data = png(np.dstack([levels[..., 0], alpha]), colour_type=4)
        expected = rgb[..., :1].repeat(3, axis=2)
    read = read_picture(data)
    np.testing.assert_array_equal(read.rgb[:, 40:], expected[:, 40:])
    np.testing.assert_array_equal(read.opaque, alpha > 0)


def png(levels: np.ndarray, colour_type: int) -> bytes:
    """A PNG of 16 bits a channel, by the specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("orientation", "expected"), [(1, lambda a: a), (6, lambda a: np.rot90(a, -1))])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_turned_once(rgb, orientation, expected, suffix):
    levels = rgb.astype(np.uint16) << 4
    if suffix == ".png":
        data = bytes(cv2.imencode(".png", levels[..., ::-1])[1])
        chunk = b"eXIf" + with_tags((274, 3, 1, bytes([orientation, 0])))[6:]
        at = data.index(b"IDAT") - 4
        data = data[:at] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]
    else:
        data = tiff(levels, orientation)
    np.testing.assert_array_equal(read_picture(data).rgb, expected(rgb))


def tiff(levels: np.ndarray, orientation: int = 1, planes: bool = False, white_is_zero: bool = False) -> bytes:
    """An uncompressed TIFF of 16 bits a channel, by the specification."""
    height, width = levels.shape[:2]
    bands = 1 if levels.ndim == 2 else 3
    stored = (levels.transpose(2, 0, 1) if planes else levels).astype("<u2").tobytes()
    count = 3 if planes else 1
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, bands, 200 if bands == 3 else 16), (259, 3, 1, 1),
        (262, 3, 1, 2 if bands == 3 else int(not white_is_zero)), (273, 4, count, 220 if planes else 300),
        (274, 3, 1, orientation), (277, 3, 1, bands), (278, 3, 1, height),
        (279, 4, count, 240 if planes else len(stored)), (284, 3, 1, 2 if planes else 1),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    head = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16)
    size = len(stored) // 3
    head = head.ljust(220, b"\0") + struct.pack("<III", 300, 300 + size, 300 + 2 * size)
    head = head.ljust(240, b"\0") + struct.pack("<III", size, size, size)
    return head.ljust(300, b"\0") + stored


def test_what_two_decoders_do_not_agree_on_is_refused(rgb):
    """Pillow reads a 16-bit TIFF that is stored plane by plane as one of 8 bits: noise."""
    levels = rgb.astype(np.uint16) << 8 | 0x55
    np.testing.assert_array_equal(read_picture(tiff(levels)).rgb, rgb)
    with pytest.raises(PictureError, match="unusual layout: save it with 8"):
        read_picture(tiff(levels, planes=True))


@pytest.mark.parametrize("bits", [12, 16])
def test_grey_levels_that_start_at_white(rgb, bits):
    grey = rgb[..., 0].astype(np.uint16)
    full = 2**bits - 1
    levels = (full - grey.astype(int) * full // 255).astype(np.uint16)
    read = read_picture(tiff(levels, white_is_zero=True)).rgb
    assert np.abs(read[..., 0] - grey.astype(int)).max() <= 1


def test_thirty_two_bits_are_refused(rgb):
    for levels in (rgb[..., 0].astype(np.float32), rgb[..., 0].astype(np.int32)):
        with pytest.raises(PictureError, match="32 bits a pixel: save it with 8 or 16"):
            read_picture(encoded(Image.fromarray(levels), "TIFF"))


def test_the_depth_is_the_least_that_cameras_have():
    for brightest, depth in {255: 8, 256: 10, 1023: 10, 1024: 12, 4095: 12, 4096: 14, 16384: 16, 65535: 16}.items():
        assert eight_bits(np.array([0, brightest], np.uint16)).max() == brightest >> (depth - 8)
    assert eight_bits(np.array([0, 1000], np.uint16), depth=16).max() == 3


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGBA", {}), ("LA", {}), ("P", {"transparency": 0}), ("RGB", {"transparency": (255, 255, 255)}), ("PA", {})],
)
def test_transparency_is_reported_not_painted(rgb, mode, options):
    hidden = np.zeros((60, 80), bool)
    hidden[:, :30] = True
    if mode in ("RGBA", "LA", "PA"):
        picture = Image.fromarray(np.dstack([rgb, np.where(hidden, 0, 255).astype(np.uint8)])).convert(mode)
        kind = "TIFF" if mode == "LA" else "PNG"
        picture = picture.convert("RGBA") if mode == "PA" else picture
    elif mode == "P":
        picture = Image.fromarray(np.where(hidden, 0, 1 + rgb[..., 0] // 2).astype(np.uint8))
        picture.putpalette([value for level in range(256) for value in (level, level, level)])
        kind = "PNG"
    else:
        picture = Image.fromarray(np.where(hidden[..., None], 255, rgb // 2).astype(np.uint8))
        kind = "PNG"
    np.testing.assert_array_equal(read_picture(encoded(picture, kind, **options)).opaque, ~hidden)


def test_a_picture_that_is_evenly_half_transparent_is_all_there(rgb):
    even = np.dstack([rgb, np.full(rgb.shape[:2], 128, np.uint8)])
    read = read_picture(encoded(even, "PNG"))
    assert read.opaque is None
    np.testing.assert_array_equal(read.rgb, rgb)


def test_nothing_reaches_the_screen(rgb, capfd):
    exif = with_tags((282, 5, 1, struct.pack("<I", 2**31)), (283, 2, 2**31, b"?"))
    data = encoded(rgb, "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_picture(data)
        with pytest.raises(PictureError):
            read_picture(tiff(rgb.astype(np.uint16))[:150])
    assert capfd.readouterr() == ("", "")


def test_programs_are_not_run(monkeypatch):
    """EPS files are drawn by Ghostscript."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was run"))
    with pytest.raises(PictureError, match="cannot identify"):
        read_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken():
    for width, height in ((60000, 60000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(PictureError, match=r"larger than 178 million pixels|not a readable picture"):
            read_picture(f"P6\n{width} {height}\n255\n".encode() + bytes(100))
    with pytest.raises(PictureError, match="2000000x72 pixels: at most 32767 per side are supported"):
        read_picture(b"P6\n2000000 72\n255\n" + bytes(100))
    with pytest.raises(PictureError, match="truncated"):
        read_picture(b"P6\n9000 9000\n4095\n" + bytes(100))


def test_the_formats_are_pillows():
    Image.init()
    assert set(module._FORMATS) <= set(Image.OPEN)
