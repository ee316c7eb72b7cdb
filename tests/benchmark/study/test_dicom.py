"""Images in DICOM files: written with pydicom, read, and compared with the original pixels."""

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import encaps, uid

from benchmark.study import dicom
from benchmark.study.images import IMAGE_SUFFIXES, ImageError, crop_row, read_image
from tests.fuzz.images import HEIGHT, WIDTH, dataset, eye

RGB = eye()
GREY = RGB[..., 0]
YBR = np.asarray(Image.fromarray(RGB).convert("YCbCr"))


@pytest.fixture
def write(tmp_path):
    """Write the data set that `dataset` makes of the arguments."""

    def to_file(pixels, syntax=uid.ExplicitVRLittleEndian, name="eye.dcm", **attributes) -> Path:
        path = tmp_path / name
        dataset(pixels, syntax, **attributes).save_as(path, enforce_file_format=True)
        return path

    return to_file


def encoded(picture, kind, **options) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(file, kind, **options)
    return file.getvalue()


def without_marker(jpeg: bytes) -> bytes:
    """A JPEG without its JFIF marker, which is how most cameras store one in DICOM."""
    length = int.from_bytes(jpeg[4:6], "big")
    assert jpeg[2:4] == b"\xff\xe0"
    return jpeg[:2] + jpeg[4 + length :]


def close(path: Path, expected=RGB, error=0.0) -> bool:
    read = read_image(path)
    assert (read.shape, read.dtype) == (expected.shape, np.uint8)
    return np.abs(read - expected.astype(int)).mean() <= error


def subsampled(ybr: np.ndarray) -> np.ndarray:
    """YBR_FULL_422: two luminances share their mean chrominances."""
    pairs = ybr.astype(int).reshape(len(ybr), -1, 2, 3)
    return np.concatenate([pairs[..., 0], pairs[..., 1:].mean(axis=2)], axis=2).astype(np.uint8)


def three(grey: np.ndarray) -> np.ndarray:
    return grey[..., None].repeat(3, axis=2)


def test_uncompressed_colour(write):
    assert close(write(RGB))
    assert close(write(RGB, uid.ImplicitVRLittleEndian))
    assert close(write(RGB, uid.DeflatedExplicitVRLittleEndian))
    assert close(write(RGB.transpose(2, 0, 1), PlanarConfiguration=1))
    assert close(write(YBR, PhotometricInterpretation="YBR_FULL"), error=1)
    assert close(write(subsampled(YBR), PhotometricInterpretation="YBR_FULL_422"), error=2)
    assert close(write(np.stack([RGB, RGB[::-1]]), NumberOfFrames=2))


@pytest.mark.parametrize("stored", [10, 12, 14, 16])
def test_bits_stored_of_sixteen(write, stored):
    full = 2**stored - 1
    levels = (RGB.astype(int) * full // 255).astype(np.uint16)
    assert close(write(levels, BitsStored=stored), error=1)
    dark = (levels // 16).astype(np.uint16)
    if stored < 16:  # according to the file, these levels are dark
        assert close(write(dark, BitsStored=stored), RGB // 16, error=1)


def test_sixteen_bits_that_use_twelve(write):
    assert close(write(RGB.astype(np.uint16) << 4))


def test_grey_levels(write):
    assert close(write(GREY, PhotometricInterpretation="MONOCHROME2"), three(GREY))
    assert close(write(255 - GREY, PhotometricInterpretation="MONOCHROME1"), three(GREY))
    twelve = GREY.astype(np.uint16) << 4
    assert close(write(twelve, PhotometricInterpretation="MONOCHROME2", BitsStored=12), three(GREY))
    assert close(write(4095 - twelve, PhotometricInterpretation="MONOCHROME1", BitsStored=12), three(GREY))
    rescaled = write(GREY, PhotometricInterpretation="MONOCHROME2", RescaleSlope=2, RescaleIntercept=-50)
    assert close(rescaled, three(GREY))


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(tmp_path, bits):
    palette = Image.fromarray(RGB).quantize(200)
    made = dataset(np.asarray(palette), PhotometricInterpretation="PALETTE COLOR")
    table = np.zeros((256, 3), np.uint16)
    table[:200] = np.resize(palette.getpalette(), (200, 3))
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        entries = table[:, channel] * 257 if bits == 16 else table[:, channel].astype(np.uint8)
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, bits])
        made.add_new(f"{colour}PaletteColorLookupTableData", "OW", entries.tobytes())
    made.save_as(tmp_path / "eye.dcm", enforce_file_format=True)
    assert close(tmp_path / "eye.dcm", np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("attribute", ["RGB", "YBR_FULL_422"])
def test_the_marker_of_a_jpeg_has_priority_over_the_attribute(write, attribute):
    """Many devices set the attribute to RGB for a JPEG in YCbCr: read by the attribute, the image is purple."""
    for jpeg in (encoded(RGB, "JPEG", quality=95), encoded(RGB, "JPEG", quality=95, keep_rgb=True)):
        assert close(write(jpeg, uid.JPEGBaseline8Bit, PhotometricInterpretation=attribute), error=3)


def test_a_jpeg_without_a_marker_has_the_attributes_colours(write):
    ycc = without_marker(encoded(RGB, "JPEG", quality=95))
    assert close(write(ycc, uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"), error=3)
    as_it_is = Image.frombytes("YCbCr", (WIDTH, HEIGHT), RGB.tobytes())  # no conversion: the JPEG holds RGB
    rgb = without_marker(encoded(as_it_is, "JPEG", quality=95, subsampling=0))
    assert close(write(rgb, uid.JPEGBaseline8Bit, PhotometricInterpretation="RGB"), error=3)
    grey = encoded(GREY, "JPEG", quality=95)
    assert close(write(grey, uid.JPEGBaseline8Bit, PhotometricInterpretation="MONOCHROME2"), three(GREY), error=3)


def lossless_jpeg(pixels: np.ndarray) -> bytes:
    """(H, W, bands) uint8 by ITU-T T.81 annex H: first-order prediction, all code words of 4 bits."""
    height, width, bands = pixels.shape

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    frame = struct.pack(">BHHB", 8, height, width, bands) + b"".join(bytes([i, 0x11, 0]) for i in range(1, bands + 1))
    scan = bytes([bands]) + b"".join(bytes([i, 0]) for i in range(1, bands + 1)) + b"\1\0\0"
    codes = b"\0" + bytes([0, 0, 0, 9] + [0] * 12) + bytes(range(9))
    values = pixels.astype(int)
    expected = np.empty_like(values)
    expected[:, 1:], expected[1:, 0], expected[0, 0] = values[:, :-1], values[:-1, 0], 128
    bits = []
    for difference in (values - expected).ravel().tolist():
        size = abs(difference).bit_length()
        rest = difference if difference > 0 else difference + (1 << size) - 1
        bits.append(f"{size:04b}" + (f"{rest:0{size}b}" if size else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, codes) + segment(0xDA, scan) + data + b"\xff\xd9"


def test_lossless_jpeg(write):
    assert close(write(lossless_jpeg(RGB), uid.JPEGLosslessSV1))
    assert close(write(lossless_jpeg(YBR), uid.JPEGLosslessSV1, PhotometricInterpretation="YBR_FULL"), error=1)
    grey = write(lossless_jpeg(GREY[..., None]), uid.JPEGLossless, PhotometricInterpretation="MONOCHROME2")
    assert close(grey, three(GREY))


def test_jpeg_2000(write):
    rct = encoded(RGB, "JPEG2000", no_jp2=True, mct=1)
    assert close(write(rct, uid.JPEG2000Lossless, PhotometricInterpretation="YBR_RCT"))
    plain = encoded(RGB, "JPEG2000", no_jp2=True, mct=0)
    assert close(write(plain, uid.JPEG2000Lossless))
    ybr = encoded(Image.fromarray(YBR), "JPEG2000", no_jp2=True, mct=0)
    assert close(write(ybr, uid.JPEG2000Lossless, PhotometricInterpretation="YBR_FULL"), error=1)


def test_run_lengths(tmp_path):
    for pixels, expected in ((RGB, RGB), (RGB.astype(np.uint16) << 8, RGB)):
        made = dataset(pixels)
        made.compress(uid.RLELossless)
        made.save_as(tmp_path / "eye.dcm", enforce_file_format=True)
        assert close(tmp_path / "eye.dcm", expected)


def test_the_first_of_several_jpegs(tmp_path):
    first, second = (encoded(pixels, "JPEG", quality=95) for pixels in (RGB, RGB[::-1].copy()))
    made = dataset(first, uid.JPEGBaseline8Bit, NumberOfFrames=2, PhotometricInterpretation="YBR_FULL_422")
    made.PixelData = encaps.encapsulate([first, second])
    made.save_as(tmp_path / "eye.dcm", enforce_file_format=True)
    assert close(tmp_path / "eye.dcm", error=3)


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.HTJ2K, uid.MPEG2MPML, uid.HEVCMP51])
def test_what_cannot_be_decoded_here_is_named_with_the_fix(write, syntax):
    error = crop_row({"row": 0, "path": str(write(b"\xff\xd8\xff\xf7", syntax)), "fov_mask": ""})["error"]
    assert error.startswith(f"DICOM: transfer syntax {syntax.name} cannot be decoded here: convert the file to ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PhotometricInterpretation": "YBR_PARTIAL_420"}, "colours stored as YBR_PARTIAL_420 are not supported"),
        ({"PixelRepresentation": 1}, "signed samples"),
        ({"Rows": 60000, "Columns": 60000}, "60000x60000 pixels; at most 178 million"),
        ({"Rows": 2 * HEIGHT}, "cannot be read (The number of bytes of pixel data is less than expected"),
        ({"SamplesPerPixel": 4}, "4 samples per pixel"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits per sample"),
    ],
)
def test_what_is_not_an_image_is_refused(write, attributes, reason):
    with pytest.raises(ImageError, match=r"^DICOM: ") as caught:
        read_image(write(RGB, **attributes))
    assert reason in str(caught.value)


def test_files_without_an_image(tmp_path):
    report = dataset(RGB)
    del report.PixelData
    report.save_as(tmp_path / "report", enforce_file_format=True)
    (tmp_path / "text.dcm").write_text("hello")
    for name in ("report", "text.dcm"):
        with pytest.raises(ImageError, match="DICOM: the file contains no image"):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.dcm")


@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113619", "eye.jpg", "eye.DCM", "eye.dicom"])
def test_dicom_is_recognised_by_its_content(write, name):
    path = write(RGB, name=name)
    assert close(path)
    assert (dicom.patient_id(path), dicom.eye(path)) == ("p7", "right")


def test_old_files_without_a_preamble(tmp_path):
    made = dataset(RGB)
    del made.file_meta
    pydicom.dcmwrite(tmp_path / "eye.dcm", made, implicit_vr=True, little_endian=True, enforce_file_format=False)
    stored = (tmp_path / "eye.dcm").read_bytes()
    (tmp_path / "eye.dcm").write_bytes(stored[132:] if stored[128:132] == b"DICM" else stored)
    assert close(tmp_path / "eye.dcm")
    assert dicom.patient_id(tmp_path / "eye.dcm") == "p7"


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (["L", "F"], RGB),
        (["R", "F"], RGB[:, ::-1]),
        (["L", "H"], RGB[::-1]),
        (["R", "H"], RGB[::-1, ::-1]),
        (["F", "L"], RGB.transpose(1, 0, 2)),
        (["F", "R"], RGB.transpose(1, 0, 2)[:, ::-1]),
        (["H", "L"], RGB.transpose(1, 0, 2)[::-1]),
        (["A", "F"], RGB),  # not an orientation of a fundus image
        (["LP", "F"], RGB),
        (["L", "R"], RGB),
        (["L"], RGB),
        ([], RGB),
    ],
)
def test_rows_run_towards_the_left_and_columns_towards_the_feet(write, orientation, shown):
    """PS3.3 C.7.6.1.1.1: the directions in which the rows and columns of the stored frame run."""
    assert close(write(RGB, PatientOrientation=orientation), shown)


def test_exif_inside_a_jpeg_frame(write):
    exif = Image.Exif()
    exif[274] = 3
    frame = encoded(RGB[::-1, ::-1].copy(), "JPEG", quality=95, exif=exif)
    assert close(write(frame, uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"), error=3)


def test_patient_and_eye(write, tmp_path):
    assert dicom.patient_id(write(RGB, PatientID=" 007 ")) == "007"
    assert dicom.patient_id(write(RGB, PatientID="")) is None
    assert dicom.patient_id(write(RGB, SpecificCharacterSet="ISO_IR 192", PatientID="Müller")) == "Müller"
    sides = {("L", None): "left", ("R", None): "right", ("B", None): None, ("", "L"): "left", ("", None): None}
    for (image, series), expected in sides.items():
        assert dicom.eye(write(RGB, ImageLaterality=image, **({"Laterality": series} if series else {}))) == expected
    Image.fromarray(RGB).save(tmp_path / "eye.png")
    (tmp_path / "text.dcm").write_text("hello")
    (tmp_path / "half.dcm").write_bytes(write(RGB).read_bytes()[:200])
    for name in ("eye.png", "text.dcm", "none.dcm", "half.dcm"):
        assert (dicom.patient_id(tmp_path / name), dicom.eye(tmp_path / name)) == (None, None)


def test_folders_are_searched_for_dicom_too():
    assert {".dcm", ".dicom"} <= IMAGE_SUFFIXES
