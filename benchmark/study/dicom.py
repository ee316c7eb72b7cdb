"""Read DICOM files as fundus cameras export them: the pixels of the first frame, the patient and the eye."""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from xai.decoding import Picture, PictureError, eight_bits, read_picture

SUFFIXES = frozenset({".dcm", ".dicom"})
# Transfer syntaxes whose frames are complete JPEG or JPEG 2000 files, which `read_picture` decodes.
_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51)}
_LOSSLESS_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (57, 70)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91)}
_COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_INTERPRETATIONS = _COLOURS | {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}
_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 1 << 27)  # the limit that Pillow has for other files
_EYES: dict[str, Literal["left", "right"]] = {"L": "left", "R": "right"}
_OPPOSITE = {"L": "R", "R": "L", "F": "H", "H": "F"}


def is_dicom(path: Path) -> bool:
    """Whether the name or the content marks a DICOM file: DICM follows the first 128 bytes (PS3.10)."""
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def patient_id(path: Path) -> str | None:
    """PatientID (0010,0020); None if it is empty or the file is not DICOM."""
    return _text(path, "PatientID") or None


def eye(path: Path) -> Literal["left", "right"] | None:
    """ImageLaterality (0020,0062), or else Laterality (0020,0060); None if neither names one eye."""
    return _EYES.get((_text(path, "ImageLaterality") or _text(path, "Laterality")).upper())


def read_dicom(path: Path) -> Picture:
    """Read the first frame in colour with 8 bits per channel.

    Rows run towards the patient's left and columns towards the feet. Grey levels follow PhotometricInterpretation;
    rescaling and windows are ignored, because fundus photographs do not have them. A JPEG frame is decoded as a JPEG:
    its own colour information has priority over the DICOM attributes, which cameras often do not set.

    Raises:
        PictureError: the file has no image, is damaged or too large, or its transfer syntax cannot be decoded here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about attributes that do not affect the pixels
            dataset = _dataset(path)
            rgb = _first_frame(dataset)
            if str(dataset.PhotometricInterpretation) == "MONOCHROME1":
                rgb = ~rgb
            return Picture(_oriented(rgb, dataset))
    except PictureError as error:
        raise PictureError(f"DICOM: {error}") from error
    except Exception as error:  # for a damaged file, pydicom may raise almost any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"DICOM: cannot be read ({reason[:160]})") from error


def _text(path: Path, keyword: str) -> str:
    """An attribute as text; empty if it is absent or the file is not DICOM."""
    import pydicom

    if not is_dicom(path):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=[keyword])
            return str(dataset.get(keyword, "") or "").strip(" \0")
    except Exception:  # for a damaged file, pydicom may raise almost any error
        return ""


def _dataset(path: Path) -> Any:
    """Read the attributes and check those that the decoders rely on."""
    import pydicom

    dataset = pydicom.dcmread(path, force=True)  # files of old archives lack the preamble
    if "PixelData" not in dataset or not hasattr(dataset, "Rows"):
        raise PictureError("the file contains no image")
    if not hasattr(dataset.file_meta, "TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian  # the syntax of old files
    if not 0 < int(dataset.Rows) * int(dataset.Columns) <= _PIXELS:
        raise PictureError(f"{dataset.Columns}x{dataset.Rows} pixels; at most {_PIXELS // 10**6} million are supported")
    if dataset.SamplesPerPixel not in (1, 3):
        raise PictureError(f"{dataset.SamplesPerPixel} samples per pixel; 1 or 3 are supported")
    if dataset.BitsAllocated not in (8, 16) or not 8 <= dataset.BitsStored <= 16:
        raise PictureError(f"{dataset.BitsStored} of {dataset.BitsAllocated} bits per sample; 8 to 16 are supported")
    if str(dataset.PhotometricInterpretation) not in _INTERPRETATIONS:
        raise PictureError(
            f"colours stored as {dataset.PhotometricInterpretation} are not supported; convert the file to RGB"
        )
    if dataset.PixelRepresentation:
        raise PictureError("signed samples are not supported; convert the file to unsigned samples")
    return dataset


def _first_frame(dataset: Any) -> np.ndarray:
    """(Rows, Columns, 3) uint8 RGB in the stored orientation; grey levels are not inverted."""
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
        if syntax not in _JPEG and interpretation.startswith("YBR_FULL"):  # only lossy JPEG converts these itself
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
    # 16-bit tables use the full range (PS3.3 C.7.6.3.1.6), but some hold 8-bit values in 16-bit entries.
    return eight_bits(colours, 16 if colours.max() > 255 else 8)


def _oriented(rgb: np.ndarray, dataset: Any) -> np.ndarray:
    """Orient the frame by PatientOrientation (0020,0020), so that rows run towards L and columns towards F.

    Fundus images are shown in this orientation. The frame stays as it is unless the value is two of the letters L, R, F
    and H.
    """
    value = dataset.get("PatientOrientation")
    row, column = [str(letter).strip().upper() for letter in value] if value and len(value) == 2 else ("", "")
    if {row, column} <= {"H", "F", "L", "R"} and row in "HF" and column in "LR":
        rgb, row, column = rgb.transpose(1, 0, 2), column, row
    if row not in _OPPOSITE or column not in _OPPOSITE or row in "HF" or column in "LR":
        return rgb
    return np.ascontiguousarray(rgb[:: -1 if column == "H" else 1, :: -1 if row == "R" else 1])
