"""Damaged mask files through the reader and the segmentation step: masks, or one line with the reason.

    python -m tests.fuzz.masks --minutes 10

Files that end in anything else are stored in `seeds/masks/`, and `test_masks.py` reads them again.
"""

import argparse
import io
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from PIL import Image

from benchmark.stages.segment import SegmentWorker, load_row
from benchmark.study.config import Resources
from tests.fuzz.mutate import Seed, fuzz
from xai.landmarks import read_disc, read_fov
from xai.mask import MaskError, read_mask
from xai.vessels import FundusImage
from xai.vessels.automorph_results import AutomorphResults

STORE = Path(__file__).parent / "seeds" / "masks"
SIDE = 96
COLUMNS = ("artery_mask", "vein_mask", "disc_mask", "fov_mask")
_HEADER = "Name,centre_w,centre_h,radius,Scale,Scale_resolution\n"


def check(path: Path) -> str:
    """The outcome of a file: as a mask of each kind, as AutoMorph's map, or, for a CSV, as its table."""
    if path.suffix == ".csv":
        return _table(path)
    try:
        mask, _ = read_mask("artery_mask", path)
        outcome = "masks"
        assert mask.dtype == bool and mask.ndim == 2
    except MaskError as error:
        outcome = _one_line(error).split("mask.", 1)[-1].split(": ", 1)[-1]
    _segmented(path)
    _as_map(path)
    return outcome


def _segmented(path: Path) -> None:
    rgb = np.asarray(Image.open(_folder() / "eye.png"))
    for read in (lambda: read_fov(str(path), rgb), lambda: read_disc(str(path), rgb, rgb[..., 0] > 0)):
        try:
            assert read().shape == rgb.shape[:2]
        except ValueError as error:
            _one_line(error)
    for column in COLUMNS:
        (result,) = _worker()([load_row(_row() | {column: str(path)})])
        reason = result["error"] + result["disc_error"]
        assert len(reason.splitlines()) <= 1, reason
        assert not reason or "_mask " in reason, reason
        assert result["planes"].any() != bool(result["error"]) or column != "vein_mask"


def _as_map(path: Path) -> None:
    results = _results()
    results.maps = path.parent
    results.circles = {path.name: [(SIDE // 2, SIDE // 2, SIDE // 2)]}
    rgb = np.asarray(Image.open(_folder() / "eye.png"))
    try:
        results.segment([FundusImage(rgb, np.ones(rgb.shape[:2], bool), {"image": path.name})])
    except ValueError as error:
        _one_line(error)


def _table(path: Path) -> str:
    folder = Path(mkdtemp(dir=_folder()))
    (folder / "M0").mkdir()
    (folder / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    (folder / "M0" / "crop_info.csv").write_bytes(path.read_bytes())
    try:
        AutomorphResults(folder).check(["eye.png"], [])
        return "circles"
    except ValueError as error:
        return _one_line(error).split("crop_info.csv", 1)[-1]


def _one_line(error: ValueError) -> str:
    assert str(error) and len(str(error).splitlines()) == 1, repr(error)
    return str(error)


@cache
def _folder() -> Path:
    """An image and good masks of it."""
    folder = Path(mkdtemp())
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    fov = np.hypot(y, x) < SIDE / 2 - 1
    masks = {"artery": np.abs(x - y) < 2, "vein": np.abs(x + y) < 2, "disc": np.hypot(y - 8, x) < 4, "fov": fov}
    for name, mask in masks.items():
        Image.fromarray((mask & fov).astype(np.uint8) * 255).save(folder / f"{name}.png")
    vessel = masks["artery"] | masks["vein"]
    Image.fromarray((fov[..., None] * (160, 90, 40) - (fov & vessel)[..., None] * (60, 50, 20)).astype(np.uint8)).save(
        folder / "eye.png"
    )
    return folder


def _row() -> dict[str, Any]:
    masks = {column: str(_folder() / f"{column.removesuffix('_mask')}.png") for column in COLUMNS}
    image = {"image": "eye.png", "path": str(_folder() / "eye.png"), "position": 0}
    return image | {"top": 0, "left": 0, "side": SIDE} | masks


@cache
def _worker() -> SegmentWorker:
    return SegmentWorker("masks", None, None, Resources())


@cache
def _results() -> AutomorphResults:
    folder = Path(mkdtemp(dir=_folder()))
    (folder / "M0").mkdir()
    (folder / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    (folder / "M0" / "crop_info.csv").write_text(_HEADER)
    return AutomorphResults(folder)


def seeds() -> list[Seed]:
    """Valid masks in every supported form, and one of AutoMorph's tables."""
    mask = np.asarray(Image.open(_folder() / "artery.png"))
    other = np.asarray(Image.open(_folder() / "vein.png"))
    grey = Image.fromarray(mask)
    colours = Image.fromarray(np.dstack([mask, np.zeros_like(mask), other]))
    colours.paste((0, 255, 0), mask=Image.fromarray(mask & other))
    alpha = Image.fromarray(np.dstack([np.full_like(mask, 255)] * 3 + [mask]))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("grey.png", grey, {}),
        ("stored.png", grey, {"compress_level": 0}),
        ("turned.png", grey, {"exif": exif}),
        ("bit.png", grey.convert("1"), {}),
        ("palette.png", colours.quantize(8), {}),
        ("clear.png", grey.quantize(2), {"transparency": 0}),
        ("colours.png", colours, {}),
        ("alpha.png", alpha, {}),
        ("deep.png", Image.fromarray(mask.astype(np.uint16) * 257), {}),
        ("grey.jpg", grey, {"quality": 90, "exif": exif}),
        ("colours.jpg", colours, {"quality": 90}),
        ("grey.bmp", grey, {}),
        ("grey.gif", grey, {}),
        ("alpha.webp", alpha, {"lossless": True}),
        ("deflate.tif", grey, {"compression": "tiff_adobe_deflate"}),
        ("lzw.tif", colours, {"compression": "tiff_lzw"}),
        ("float.tif", Image.fromarray(mask.astype(np.float32) / 255), {}),
        ("fax.tif", grey.convert("1"), {"compression": "group4"}),
        ("pages.tif", grey, {"save_all": True, "append_images": [grey]}),
        ("grey.pgm", grey, {}),
        ("grey.jp2", grey, {}),
    ]
    table = f"{_HEADER}eye.png,24,24,24,0.1,78.9\nother.png,20,30,20,0.1,78.9\n"
    return [Seed(name, _saved(picture, name, options)) for name, picture, options in made] + [
        Seed("crop_info.csv", table.encode()),
        Seed("crop_info.csv", table.replace(",", ";").encode("utf-16")),
    ]


def _saved(picture: Image.Image, name: str, options: dict[str, Any]) -> bytes:
    Image.init()
    data = io.BytesIO()
    picture.save(data, Image.EXTENSION[Path(name).suffix], **options)
    return data.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    return fuzz(check, seeds(), STORE, asked.minutes, asked.seed, asked.jobs)


if __name__ == "__main__":
    sys.exit(main())
