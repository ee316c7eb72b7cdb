"""DICOM files as fundus cameras export them: the first frame's pixels, the patient and the eye."""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from xai.decoding import Picture, PictureError, eight_bits, read_picture

SUFFIXES = frozenset({".dcm", ".dicom"})
# Transfer syntaxes whose frames are files of their own, which the reader of pictures decodes: JPEG and JPEG 2000.
_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51)}
_LOSSLESS_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (57, 70)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91)}
_COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_INTERPRETATIONS = _COLOURS | {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}
_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 1 << 27)  # as many as Pillow decodes of other files
_EYES: dict[str, Literal["left", "right"]] = {"L": "left", "R": "right"}
_OPPOSITE = {"L": "R", "R": "L", "F": "H", "H": "F"}


def is_dicom(path: Path) -> bool:
    """Whether the name or the content says so: after 128 bytes of any content, DICOM files have DICM (PS3.10)."""
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def patient_id(path: Path) -> str | None:
    """PatientID (0010,0020); None where it is empty or the file is not DICOM."""
    return _text(path, "PatientID") or None


def eye(path: Path) -> Literal["left", "right"] | None:
    """ImageLaterality (0020,0062), else Laterality (0020,0060); None where neither names one eye."""
    return _EYES.get((_text(path, "ImageLaterality") or _text(path, "Laterality")).upper())


def read_dicom(path: Path) -> Picture:
    """The first frame, as colours of 8 bits a channel, rows towards the patient's left and columns towards the feet.

    Grey levels are shown as PhotometricInterpretation says; rescaling and windows, which images do not have, are
    ignored. A frame that is a JPEG is decoded as one: what the JPEG itself says of its colours counts more than the
    attributes around it, which cameras often do not set.

    Raises:
        PictureError: without an image, damaged, too large, or in a transfer syntax that cannot be decoded here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes that the pixels do not depend on
            dataset = _dataset(path)
            rgb = _first_frame(dataset)
            if str(dataset.PhotometricInterpretation) == "MONOCHROME1":
                rgb = ~rgb
            return Picture(_oriented(rgb, dataset))
    except PictureError as error:
        raise PictureError(f"DICOM: {error}") from error
    except Exception as error:  # a damaged file leads pydicom to raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"DICOM: not readable ({reason[:160]})") from error


def _text(path: Path, keyword: str) -> str:
    """An attribute as text; empty where it is absent, or the file is not DICOM."""
    import pydicom

    if not is_dicom(path):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=[keyword])
            return str(dataset.get(keyword, "") or "").strip(" \0")
    except Exception:  # a damaged file leads pydicom to raise almost anything
        return ""


def _dataset(path: Path) -> Any:
    """The attributes, checked for what decoders take for granted."""
    import pydicom

    dataset = pydicom.dcmread(path, force=True)  # files of old archives lack the preamble
    if "PixelData" not in dataset or not hasattr(dataset, "Rows"):
        raise PictureError("a file without an image")
    if not hasattr(dataset.file_meta, "TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian  # what old files are in
    if not 0 < int(dataset.Rows) * int(dataset.Columns) <= _PIXELS:
        raise PictureError(f"{dataset.Columns}x{dataset.Rows} pixels; at most {_PIXELS // 10**6} million are read")
    if dataset.SamplesPerPixel not in (1, 3):
        raise PictureError(f"{dataset.SamplesPerPixel} samples a pixel; an image has 1 or 3")
    if dataset.BitsAllocated not in (8, 16) or not 8 <= dataset.BitsStored <= 16:
        raise PictureError(f"{dataset.BitsStored} of {dataset.BitsAllocated} bits a sample; 8 to 16 are read")
    if str(dataset.PhotometricInterpretation) not in _INTERPRETATIONS:
        raise PictureError(f"colours are stored as {dataset.PhotometricInterpretation}; RGB is read, for example")
    if dataset.PixelRepresentation:
        raise PictureError("signed samples, which an image does not have")
    return dataset


def _first_frame(dataset: Any) -> np.ndarray:
    """(Rows, Columns, 3) uint8 RGB, as stored; grey levels as they are."""
    from pydicom import encaps
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    interpretation = str(dataset.PhotometricInterpretation)
    if syntax in _JPEG | _LOSSLESS_JPEG | _JPEG_2000 and interpretation != "PALETTE COLOR":
        frame = encaps.get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames", 1) or 1))
        try:
            rgb = read_picture(frame, rgb_unless_said=syntax in _JPEG and interpretation == "RGB").rgb
        except PictureError as error:
            raise PictureError(f"{syntax.name}: {error}") from error
        if syntax not in _JPEG and interpretation.startswith("YBR_FULL"):  # which only a lossy JPEG converts itself
            return np.asarray(Image.fromarray(rgb, "YCbCr").convert("RGB"))
        return rgb
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise PictureError(
            f"transfer syntax {syntax.name} cannot be decoded here: convert the file to Explicit VR Little Endian, "
            "JPEG or JPEG 2000 (dcmconv, gdcmconv)"
        )
    levels, _ = decoder.as_array(dataset, index=0)
    if interpretation == "PALETTE COLOR":
        return _palette(levels, dataset)
    levels = eight_bits(levels, int(dataset.BitsStored) if dataset.BitsStored < 16 else None)
    return levels if levels.ndim == 3 else levels[..., None].repeat(3, axis=2)


def _palette(indices: np.ndarray, dataset: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    colours = apply_color_lut(indices, dataset)
    # Tables of 16 bits use them all (PS3.3 C.7.6.3.1.6), though some hold 8 in entries of 16.
    return eight_bits(colours, 16 if colours.max() > 255 else 8)


def _oriented(rgb: np.ndarray, dataset: Any) -> np.ndarray:
    """The frame turned as PatientOrientation (0020,0020) says, so that rows run towards L and columns towards F.

    That is how fundus images are shown. Other values than two single letters of L, R, F and H turn nothing.
    """
    value = dataset.get("PatientOrientation")
    row, column = [str(letter).strip().upper() for letter in value] if value and len(value) == 2 else ("", "")
    if {row, column} <= {"H", "F", "L", "R"} and row in "HF" and column in "LR":
        rgb, row, column = rgb.transpose(1, 0, 2), column, row
    if row not in _OPPOSITE or column not in _OPPOSITE or row in "HF" or column in "LR":
        return rgb
    return np.ascontiguousarray(rgb[:: -1 if column == "H" else 1, :: -1 if row == "R" else 1])
