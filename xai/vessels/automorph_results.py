"""Vessel source "automorph_results": the Results folder of a finished AutoMorph run (GitHub rmaphoh/AutoMorph)."""

import codecs
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np

from backbones.checkpoint import sha256
from xai.decoding import PictureError, open_picture
from xai.vessels.automorph import ARTERY, BACKGROUND, UNCERTAIN, VEIN, Crop, to_masks
from xai.vessels.source import FundusImage, VesselMasks, vessel_source

_COLOURS = {BACKGROUND: (0, 0, 0), ARTERY: (255, 0, 0), VEIN: (0, 0, 255), UNCERTAIN: (0, 255, 0)}
_UNASSIGNED = 255
_SAME = 1.5  # mean difference in grey levels; JPEG at quality 75: 1.2, another eye: 30, a shift by 2 pixels: 1.6

Circle = tuple[int, int, int]  # row, column, radius


class AutomorphResults:
    """Reads maps in `M2/artery_vein/raw` and places them on the images by the crops in `M0/crop_info.csv`.

    The map of an image has the image's file name up to the first dot, as AutoMorph names its files.

    Args:
        folder: the folder `Results`. If it contains `M0/images`, the images are checked to be the same.

    Raises:
        ValueError: the folder does not exist, or its `crop_info.csv` cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        crop_info = folder / "M0" / "crop_info.csv"
        self.crops = folder / "M0" / "images"
        self.maps = folder / "M2" / "artery_vein" / "raw"
        for needed in (crop_info, self.maps):
            if not needed.exists():
                raise ValueError(f"{needed}: does not exist: name the Results folder of a finished AutoMorph run")
        # If the file system ignores case, so do the names of the maps.
        self._folds_case = (folder / "m0" / "CROP_INFO.csv").exists()
        self.circles = _read_circles(crop_info)
        self.provenance = {
            "name": "automorph_results",
            "weights": folder.name,
            "crop_info_sha256": sha256(crop_info),
        }

    def check(self, test: Sequence[str], others: Sequence[str]) -> None:
        """Checks before a run that each image to segment has its own map.

        A map may also belong to another image of the cohort. If AutoMorph's crop exists, `segment` detects this from
        the crop; otherwise only this check does.

        Args:
            test: the images to segment, as named in the manifest.
            others: the other images of the cohort.

        Raises:
            ValueError: two images share a map, or no image has one.
        """
        if test and not any(_name(image) in self.circles for image in test):
            raise ValueError(
                f"none of the {len(test)} test images is in AutoMorph's crop_info.csv (the first, {test[0]}, would be "
                f"{_name(test[0])}): name the Results folder of an AutoMorph run on these images"
            )
        owners: dict[str, str] = {}
        for image in test:
            self._require_own(image, owners)
            owners[self._key(image)] = image
        for image in others:
            if not (self.crops / _name(image)).is_file():
                self._require_own(image, owners)

    def _require_own(self, image: str, owners: dict[str, str]) -> None:
        owner = owners.get(self._key(image))
        if owner is not None:
            raise ValueError(
                f"{owner} and {image} share AutoMorph's map {_name(image)}, because their file names are equal before "
                "the first dot: rename one of them and run AutoMorph on it again"
            )

    def _key(self, image: str) -> str:
        return _name(image).casefold() if self._folds_case else _name(image)

    def segment(self, images: Sequence[FundusImage]) -> list[VesselMasks]:
        """The masks of each image from AutoMorph's map, at the image's size.

        Raises:
            ValueError: there is no map for an image, it cannot be read, or it belongs to another image.
        """
        return [self._masks(image) for image in images]

    def _masks(self, image: FundusImage) -> VesselMasks:
        file = image.row["image"]
        name = _name(file)
        circles = self.circles.get(name, [])
        if len(circles) != 1:
            raise ValueError(
                f"{file}: {len(circles)} rows for {name} in AutoMorph's crop_info.csv, but one is needed: "
                "run its M0 again on images whose names differ before the first dot"
            )
        path = self.maps / name
        if not path.is_file():
            raise ValueError(
                f"{file}: no {path}: AutoMorph leaves out images that its M1 grades as poor quality; "
                "leave this image out too, or use another source"
            )
        try:
            crop = Crop(*circles[0], (image.rgb.shape[0], image.rgb.shape[1]))
        except ValueError as error:
            raise ValueError(f"{file}: {error}: crop_info.csv belongs to another image") from error
        picture = _read_picture(path, crop.side, file)
        self._require_same_image(name, image, crop)
        return to_masks(_to_labels(picture, path), crop)

    def _require_same_image(self, name: str, image: FundusImage, crop: Crop) -> None:
        path, file = self.crops / name, image.row["image"]
        if not path.is_file():
            return
        theirs = _read_picture(path, crop.side, file).astype(np.int16)
        difference = np.abs(crop.apply(image.rgb) - theirs).mean()
        if difference > _SAME:
            raise ValueError(
                f"{file}: not the image that AutoMorph processed: its crop {path} differs by {difference:.0f} grey "
                "levels on average; use the same images in both"
            )


@vessel_source("automorph_results")
def open_automorph_results(weights: Path | None, size: int | None, device: str) -> AutomorphResults:
    """The source for the Results folder `weights`; `size` and `device` are not used."""
    if weights is None:
        raise ValueError(
            "vessel source 'automorph_results' needs weights: name the Results folder of a finished AutoMorph run"
        )
    return AutomorphResults(Path(weights))


def _name(image: str) -> str:
    """AutoMorph's file name of an image's map and crop."""
    return f"{Path(image).name.split('.')[0]}.png"


def _read_circles(path: Path) -> dict[str, list[Circle]]:
    """The circles in `crop_info.csv` by file name. Its column `centre_w` is the row and `centre_h` the column."""
    circles = defaultdict(list)
    text = _decoded(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)  # spreadsheets may use another one
    lines = csv.DictReader(text.splitlines(), delimiter=separator)
    try:
        for row in lines:
            circle = _whole(row["centre_w"]), _whole(row["centre_h"]), _whole(row["radius"])
            circles[PureWindowsPath(row["Name"].strip()).name].append(circle)  # the file name of a path
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, csv.Error) as error:
        raise ValueError(
            f"{path}: line {lines.line_num} has no Name with whole numbers centre_w, centre_h and radius: "
            "use the file as AutoMorph wrote it"
        ) from error
    return dict(circles)


def _decoded(path: Path) -> str:
    """The file's text: UTF-8 as AutoMorph writes it, or an encoding used by spreadsheets."""
    data = path.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError(f"{path}: cannot be read as text: use the file as AutoMorph wrote it")


def _whole(text: str) -> int:
    """The integer in "40" or in "40.0", which is written in tables with missing values."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text} is not a whole number")
    return int(number)


def _read_picture(path: Path, side: int, image: str) -> np.ndarray:
    """(side, side, 3) uint8."""
    try:
        picture = np.asarray(open_picture(path).convert("RGB"))
    except (PictureError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a picture ({error})") from error
    if picture.shape[:2] != (side, side):
        height, width = picture.shape[:2]
        raise ValueError(
            f"{path}: {width}x{height} pixels, but by crop_info.csv the crop of {image} has {side}x{side}: "
            "the results belong to another image or size"
        )
    return picture


def _to_labels(picture: np.ndarray, path: Path) -> np.ndarray:
    """The four classes of an (S, S, 3) map in AutoMorph's colours: (S, S) uint8."""
    labels = np.full(picture.shape[:2], _UNASSIGNED, np.uint8)
    for label, colour in _COLOURS.items():
        labels[(picture == colour).all(axis=2)] = label
    unassigned = labels == _UNASSIGNED
    if unassigned.any():
        colour = tuple(picture[unassigned][0].tolist())
        raise ValueError(
            f"{path}: {unassigned.sum()} pixels have colours that AutoMorph does not use, such as {colour}: "
            "use the file as AutoMorph wrote it"
        )
    return labels
