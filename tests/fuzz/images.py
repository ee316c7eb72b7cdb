"""Fuzzing of the image reader: every damaged file gives a result, or a line of rejected.csv with the reason.

    python -m tests.fuzz.images --minutes 10 [--seed N] [--jobs N]

Files that fail are kept in tests/fuzz/seeds/images and read again by test_images.py.
"""

import argparse
import io
import random
import struct
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.study import dicom
from benchmark.study.images import IMAGE_SIZE, crop_row
from tests.fuzz.mutate import Seed, fuzz, mutate

STORE = Path(__file__).parent / "seeds" / "images"
HEIGHT, WIDTH = 72, 90
_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 32, 64, 255, 256, 4095, 32767, 32768, 65535)


def check(path: Path) -> str:
    """Reads one file as a study does; raises if the outcome is neither a result nor a reason."""
    result = crop_row({"row": 1, "path": str(path), "fov_mask": ""})
    error, crop = result["error"], result["crop"]
    assert crop.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) and crop.dtype == np.uint8, "a crop of another kind"
    assert isinstance(error, str) and len(error.splitlines()) <= 1, "a reason of several lines"
    assert str(path.parent) not in error, "a reason that repeats the path"
    assert len(error) <= 400, "a long reason"
    assert error or (result["side"] > 0 and len(result["digest"]) == 32), "neither a result nor a reason"
    patient, eye = dicom.patient_id(path), dicom.eye(path)
    assert (patient is None or (patient and isinstance(patient, str))) and eye in (None, "left", "right")
    return error or "read"


def eye() -> np.ndarray:
    """(72, 90, 3) uint8: an orange disc with a dark vessel, brighter to the right, on black."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    fov = (y - HEIGHT / 2) ** 2 + (x - WIDTH / 2) ** 2 < 35**2
    light = fov * np.linspace(0.5, 1, WIDTH) * np.where(np.abs(y - x / 2 - 12) < 2, 0.6, 1)
    return (light[..., None] * (220, 110, 50)).astype(np.uint8)


def seeds() -> list[Seed]:
    """Valid files of every supported format."""
    made = [Seed(name, data) for name, data in (*_pictures(), *_by_hand())]
    for name, kind in (("exif.jpg", "JPEG"), ("exif.png", "PNG"), ("exif.webp", "WEBP")):
        made.append(Seed(name, _encoded(Image.fromarray(eye()), kind), partial(_with_exif, kind)))
    for name, sound in _dicoms():
        made.append(Seed(name, _dicom_bytes(sound), partial(_changed, sound)))
    return made


def _pictures() -> Iterator[tuple[str, bytes]]:
    rgb = Image.fromarray(eye())
    grey, deep = rgb.convert("L"), Image.fromarray(np.asarray(rgb)[..., 0].astype(np.uint16) << 4)
    alpha = rgb.copy()
    alpha.putalpha(grey.point(lambda level: 255 * (level > 0)))
    bits = grey.point(lambda level: 255 * (level > 40)).convert("1", dither=Image.Dither.NONE)
    frames = {"save_all": True, "append_images": [rgb.rotate(90)]}
    kinds: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        ("plain.jpg", rgb, "JPEG", {}),
        ("alpha.png", alpha, "PNG", {}),
        ("lossy.webp", rgb, "WEBP", {}),
        ("progressive.jpg", rgb, "JPEG", {"progressive": True, "optimize": True}),
        ("cmyk.jpg", rgb.convert("CMYK"), "JPEG", {}),
        ("stereo.mpo", rgb, "MPO", frames),
        ("rgb.png", rgb, "PNG", {}),
        ("palette.png", rgb.quantize(32), "PNG", {"transparency": 0}),
        ("grey16.png", deep, "PNG", {}),
        ("bits.png", bits, "PNG", {}),
        ("animated.png", rgb, "PNG", frames),
        ("rgb.tif", rgb, "TIFF", {}),
        ("grey16.tif", deep, "TIFF", {}),
        ("lab.tif", Image.merge("LAB", rgb.split()), "TIFF", {}),
        ("pages.tif", rgb, "TIFF", frames),
        ("lzw.tif", rgb, "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tif", alpha, "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tif", rgb, "TIFF", {"compression": "jpeg"}),
        ("group4.tif", bits, "TIFF", {"compression": "group4"}),
        ("rgb.bmp", rgb, "BMP", {}),
        ("palette.bmp", rgb.quantize(16), "BMP", {}),
        ("animated.gif", rgb, "GIF", frames),
        ("alpha.gif", rgb.quantize(16), "GIF", {"transparency": 0}),
        ("animated.webp", alpha, "WEBP", {**frames, "lossless": True}),
        ("rgb.ppm", rgb, "PPM", {}),
        ("grey16.pgm", deep, "PPM", {}),
        ("bits.pbm", bits, "PPM", {}),
        ("rgb.jp2", rgb, "JPEG2000", {}),
        ("grey16.j2k", deep, "JPEG2000", {"no_jp2": True}),
        ("rgb.avif", rgb, "AVIF", {}),
        ("rgb.tga", rgb, "TGA", {"compression": "tga_rle"}),
        ("rgb.pcx", rgb, "PCX", {}),
        ("rgb.sgi", rgb, "SGI", {}),
    ]
    for name, picture, kind, options in kinds:
        yield name, _encoded(picture, kind, **options)


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    if "append_images" in options:
        options["append_images"] = [frame.copy() for frame in options["append_images"]]
    picture.copy().save(file, kind, **options)  # copies: a JPEG encoder leaves settings that break others
    return file.getvalue()


def _by_hand() -> Iterator[tuple[str, bytes]]:
    """Files with 16 bits per channel, which Pillow does not write."""
    import cv2

    deep = np.dstack([eye()[..., ::-1], eye().max(axis=2)]).astype(np.uint16) << 4
    yield "rgb16.png", bytes(cv2.imencode(".png", deep[..., :3])[1])
    yield "rgba16.png", bytes(cv2.imencode(".png", deep)[1])
    yield "rgb16.tif", bytes(cv2.imencode(".tif", deep[..., :3])[1])
    yield "rgb16.jp2", bytes(cv2.imencode(".jp2", deep[..., :3])[1])
    yield "rgb12.ppm", f"P6\n{WIDTH} {HEIGHT}\n4095\n".encode() + deep[..., :3].astype(">u2").tobytes()
    yield "plain.ppm", f"P3\n{WIDTH} {HEIGHT}\n255\n".encode() + " ".join(map(str, eye().ravel())).encode()


def _with_exif(kind: str, rng: random.Random) -> bytes:
    """A valid image with a damaged or absurd EXIF block."""
    tags = [274, 282, 283, 296, 256, 257, 306, 34665, 34853, 40965, 700, 37500, rng.randrange(65536)]
    entries = []
    for tag in sorted(rng.sample(tags, rng.randint(1, 6))):
        form, count = rng.choice((1, 2, 3, 4, 5, 7, 9, 10, 12, 13, 99)), rng.choice((0, 1, 1, 1, 2, 65536, 2**31))
        entries.append(struct.pack("<HHII", tag, form, count, rng.choice((1, 3, 6, 8, 26, 200, 2**31, 2**32 - 1))))
    block = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + rng.randbytes(rng.choice((0, 4, 60)))
    if rng.random() < 0.3:
        block = mutate(block, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _encoded(Image.fromarray(eye()), kind, exif=b"Exif\0\0" + block)


def _dicoms() -> Iterator[tuple[str, Any]]:
    from pydicom import uid

    rgb = eye()
    grey = rgb[..., 0]
    ybr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    yield "rgb.dcm", dataset(rgb)
    yield "planar.dcm", dataset(rgb.transpose(2, 0, 1), PlanarConfiguration=1)
    yield "ybr.dcm", dataset(ybr, PhotometricInterpretation="YBR_FULL")
    yield "grey.dcm", dataset(255 - grey, PhotometricInterpretation="MONOCHROME1")
    yield "grey12.dcm", dataset(grey.astype(np.uint16) << 4, PhotometricInterpretation="MONOCHROME2", BitsStored=12)
    yield "frames.dcm", dataset(np.stack([rgb, rgb]), NumberOfFrames=2)
    jpeg, ybr422 = _encoded(Image.fromarray(rgb), "JPEG"), {"PhotometricInterpretation": "YBR_FULL_422"}
    yield "jpeg", dataset(jpeg, uid.JPEGBaseline8Bit, **ybr422)
    j2k = _encoded(Image.fromarray(rgb), "JPEG2000", no_jp2=True)
    yield "j2k.dcm", dataset(j2k, uid.JPEG2000Lossless, PhotometricInterpretation="YBR_RCT")
    rle = dataset(rgb)
    rle.compress(uid.RLELossless)
    yield "rle.dcm", rle
    palette = Image.fromarray(rgb).quantize(256)
    indexed = dataset(np.asarray(palette), PhotometricInterpretation="PALETTE COLOR")
    table = np.resize(np.array(palette.getpalette(), np.uint16) << 8, (256, 3))
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        indexed.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        indexed.add_new(f"{colour}PaletteColorLookupTableData", "OW", table[:, channel].tobytes())
    yield "palette.dcm", indexed


def dataset(pixels: np.ndarray | bytes, syntax: str = "1.2.840.10008.1.2.1", **attributes: Any) -> Any:
    """A DICOM image of one right eye.

    Args:
        pixels: the stored pixels, or one frame that is already compressed.
        syntax: UID of the transfer syntax.
        attributes: by keyword, replacing those of an RGB image with 8 bits per sample.
    """
    from pydicom import encaps, uid
    from pydicom.dataset import Dataset, FileMetaDataset

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.OphthalmicPhotography8BitImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid.UID("1.2.3.4")
    made.PatientID, made.ImageLaterality, made.PatientOrientation = "p7", "R", ["L", "F"]
    made.Rows, made.Columns = HEIGHT, WIDTH
    kind = attributes.get("PhotometricInterpretation", "RGB")
    made.PhotometricInterpretation = kind
    made.SamplesPerPixel = 1 if kind in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") else 3
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    bits = 8 * pixels.itemsize if isinstance(pixels, np.ndarray) else 8
    made.BitsAllocated = made.BitsStored = bits
    made.PixelRepresentation = 0
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    made.HighBit = made.BitsStored - 1
    stored = encaps.encapsulate([pixels]) if isinstance(pixels, bytes) else pixels.tobytes()
    made.add_new("PixelData", "OB" if bits == 8 else "OW", stored)
    return made


def _dicom_bytes(made: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _changed(made: Any, rng: random.Random) -> bytes:
    """The file with a few attributes changed or removed."""
    changed = {element.keyword: element for element in made}
    keywords = ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation",
                "PlanarConfiguration", "NumberOfFrames", "PhotometricInterpretation", "PatientOrientation", "PixelData",
                "ImageLaterality", "PatientID", "RedPaletteColorLookupTableDescriptor"]  # fmt: skip
    copy = type(made)()
    copy.file_meta = made.file_meta
    for element in changed.values():
        copy.add(element)
    for keyword in rng.sample(keywords, rng.randint(1, 3)):
        if rng.random() < 0.15:
            if keyword in copy:
                delattr(copy, keyword)
        elif keyword == "PixelData":
            copy.add_new(keyword, "OB", mutate(bytes(made.PixelData), rng))
        elif keyword == "PhotometricInterpretation":
            kinds = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "MONOCHROME1", "PALETTE COLOR", "CMYK", "")
            setattr(copy, keyword, rng.choice(kinds))
        elif keyword == "PatientOrientation":
            copy.PatientOrientation = [
                rng.choice(["L", "R", "H", "F", "A", "LP", ""]) for _ in range(rng.randint(0, 3))
            ]
        elif keyword in ("ImageLaterality", "PatientID"):
            setattr(copy, keyword, rng.choice(["", "L", "R", "B", "x", "a\\b", "ü"]))
        elif keyword == "RedPaletteColorLookupTableDescriptor":
            copy.add_new(keyword, "US", [rng.choice(_NUMBERS) for _ in range(rng.choice((1, 2, 3, 3)))])
        else:
            setattr(copy, keyword, rng.choice(_NUMBERS))
    return _dicom_bytes(copy)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    return fuzz(check, seeds(), STORE, options.minutes, options.seed, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
