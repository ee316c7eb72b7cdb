"""DICOM files as fundus cameras export them: the first frame's pixels, the patient and the eye."""

from pathlib import Path
from typing import Literal


def is_dicom(path: Path) -> bool:
    """Whether the file begins as DICOM files do (PS3.10: 128 bytes of any content, then DICM), whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def patient_id(path: Path) -> str | None:
    """PatientID (0010,0020); None where it is empty or the file is not DICOM."""
    raise NotImplementedError


def eye(path: Path) -> Literal["left", "right"] | None:
    """ImageLaterality (0020,0062), else Laterality (0020,0060); None where neither names one eye."""
    raise NotImplementedError
