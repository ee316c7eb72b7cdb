"""Vessel masks compared with an expert's: Dice, sensitivity, confusion of artery and vein, coverage at 224; per image.

    python -m tests.accuracy.vessels PHOTOGRAPHS... [--source wnet] [--weights wnet_hrf.safetensors] [--size 1024]
        [--masks FOLDER] [--middle 0.75] [--reduce-to 512] [--seen 'hrf_*'] [--overlays FOLDER] [--threads 1]

Next to the images' folder are `av/`, the expert's map of each image under the same name (.png: red artery, blue vein,
green a crossing or undecided, black none), and, if known, `fov/`, its field of view. Masks are made as in a run, with
the field of view found on the image; they are evaluated inside the given field of view, if there is one. The measures
are defined in `xai/vessels/agreement.py`. Errors and bias of coverage are for vessels; bias is relative to their area.

`--masks`, for source `masks`: the folder that holds `artery/` and `vein/` with a .png for each image.

`--middle` blackens the image except a central disc with that share of the field of view's width, as if it came from a
camera with a smaller angle: 0.75 turns HRF's 60 degrees into 45.
`--reduce-to` first reduces the images to that longer side, as JPEG of quality 90; the masks are enlarged again (nearest
pixel) and compared with the expert's at full size.
`--seen` names images on which the weights were trained or chosen: they get a * and are left out of the means.
`--overlays` writes an overlay for each image: the expert's vessels; the mask's; the difference.

Means are given for each data set (names up to the first _) and for all.
"""

import argparse
import io
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark.study.images import IMAGE_SIZE, read_image
from xai.crop import bounding_box, square_around
from xai.fov import find_fov
from xai.vessels import REGIONS, FundusImage, VesselMasks, open_source, regions, source_names
from xai.vessels.agreement import agreement, coverage_agreement

RED, BLUE, GREEN, YELLOW, WHITE = (255, 40, 40), (60, 110, 255), (0, 220, 0), (255, 220, 0), (255, 255, 255)
OVERLAY_SIDE = 900  # px of each of the three panels
HEAD = (f"{'':16} {'vessel':>20} {'artery':>13} {'vein':>13} {'artery':>8} {'vein as':>8} {'right':>6} "
        f"{'coverage at 224':>21} {'seconds':>8}\n"
        f"{'image':16} {'Dice':>6} {'sens':>6} {'prec':>6} {'Dice':>6} {'sens':>6} {'Dice':>6} {'sens':>6} "
        f"{'as vein':>8} {'artery':>8} {'name':>6} {'error':>6} {'r':>6} {'bias':>7}")  # fmt: skip
ROW = "{:16} {:6.3f} {:6.3f} {:6.3f} {:6.3f} {:6.3f} {:6.3f} {:6.3f} {:8.3f} {:8.3f} {:6.3f} {:6.4f} {:6.3f} {:+7.1%}"


@dataclass(frozen=True)
class Truth:
    masks: VesselMasks
    fov: np.ndarray


def read_truth(path, rgb):
    folder, name = path.parent.parent, f"{path.stem}.png"
    red, green, blue = np.moveaxis(np.asarray(Image.open(folder / "av" / name).convert("RGB")) > 0, 2, 0)
    given = folder / "fov" / name
    fov = np.asarray(Image.open(given).convert("L")) > 0 if given.is_file() else find_fov(rgb)
    return Truth(VesselMasks(red, blue, green), fov)


def narrow(rgb, truth, share):
    """The central disc of the image on black, and the expert's vessels in it."""
    rows, columns = bounding_box(truth.fov)
    height, width = truth.fov.shape
    radius = share * (columns.stop - columns.start) / 2
    y, x = np.ogrid[:height, :width]
    disc = (y - (rows.start + rows.stop) / 2) ** 2 + (x - (columns.start + columns.stop) / 2) ** 2 <= radius**2
    fov = truth.fov & disc
    box = bounding_box(fov)
    masks = VesselMasks(truth.masks.artery[box], truth.masks.vein[box], truth.masks.uncertain[box])
    return np.where(fov[..., None], rgb, 0)[box], Truth(masks, fov[box])


def reduce(rgb, side):
    """The image as it would be in a data set of small images."""
    picture, file = Image.fromarray(rgb), io.BytesIO()
    picture.thumbnail((side, side), Image.Resampling.BICUBIC)
    picture.save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file))


def enlarge(mask, shape):
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def segment(source, rgb, row, shape):
    """The masks as in a run, and the field of view that it finds, enlarged to `shape`."""
    fov = find_fov(rgb)
    (masks,) = source.segment([FundusImage(rgb, fov, row)])
    artery, vein, uncertain, fov = (enlarge(mask, shape) for mask in (masks.artery, masks.vein, masks.uncertain, fov))
    return VesselMasks(artery, vein, uncertain), fov


def measure(masks, truth, found_fov):
    """The numbers of one row."""
    pixels = agreement(masks, truth.masks, truth.fov)
    square = square_around(found_fov)
    planes, expected = (regions(one, truth.fov, square, IMAGE_SIZE) for one in (masks, truth.masks))
    vessel, fov = REGIONS.index("vessel"), REGIONS.index("fov")
    coverage = coverage_agreement(planes[vessel], expected[vessel], expected[fov])
    return (
        pixels.vessel.dice, pixels.vessel.sensitivity, pixels.vessel.precision,
        pixels.artery.dice, pixels.artery.sensitivity, pixels.vein.dice, pixels.vein.sensitivity,
        pixels.artery_as_vein, pixels.vein_as_artery, pixels.accuracy,
        coverage.error, coverage.correlation, coverage.bias,
    )  # fmt: skip


def draw(rgb, masks, truth):
    """Three panels side by side. Expert and mask: red artery, blue vein, green undecided. Difference: white right,
    green missed, yellow nothing there, red artery called vein, blue vein called artery."""
    mine, theirs = (one.artery | one.vein | one.uncertain for one in (masks, truth.masks))
    panels = [
        {GREEN: truth.masks.uncertain, RED: truth.masks.artery, BLUE: truth.masks.vein},
        {GREEN: masks.uncertain, RED: masks.artery, BLUE: masks.vein},
        {WHITE: mine & theirs, GREEN: theirs & ~mine, YELLOW: mine & ~theirs,
         RED: truth.masks.artery & masks.vein & ~masks.artery, BLUE: truth.masks.vein & masks.artery & ~masks.vein},
    ]  # fmt: skip
    return Image.fromarray(np.hstack([_panel(rgb, layers, truth.fov) for layers in panels]))


def _panel(rgb, layers, fov):
    painted = (rgb * 0.6).astype(np.uint8)
    for colour, where in layers.items():
        painted[where & fov] = colour
    picture = Image.fromarray(painted[bounding_box(fov)])
    picture.thumbnail((OVERLAY_SIDE, OVERLAY_SIDE), Image.Resampling.BOX)
    return np.asarray(picture)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("images", nargs="+", type=Path)
    options.add_argument("--source", default="wnet", choices=source_names())
    options.add_argument("--weights", type=Path)
    options.add_argument("--size", type=int)
    options.add_argument("--masks", type=Path, default=Path())
    options.add_argument("--middle", type=float, default=1)
    options.add_argument("--reduce-to", type=int)
    options.add_argument("--seen", nargs="+", default=[], metavar="PATTERN")
    options.add_argument("--overlays", type=Path)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    source = open_source(chosen.source, chosen.weights, chosen.size, chosen.device)

    provenance = ", ".join(f"{key} {value[:24]}" for key, value in source.provenance.items())
    print(f"{provenance}; images' middle {chosen.middle}, longer side {chosen.reduce_to or 'as it is'}; "
          f"{chosen.device}, {chosen.threads} threads, torch {torch.__version__}\n{HEAD}")  # fmt: skip
    unseen = {}
    for path in sorted(chosen.images):
        rgb = read_image(path)
        truth = read_truth(path, rgb)
        if chosen.middle < 1:
            rgb, truth = narrow(rgb, truth, chosen.middle)
        given = reduce(rgb, chosen.reduce_to) if chosen.reduce_to else rgb
        files = {f"{name}_mask": str(chosen.masks / name / f"{path.stem}.png") for name in ("artery", "vein")}
        began = time.perf_counter()
        try:
            masks, fov = segment(source, given, {"image": path.name, **files}, rgb.shape[:2])
        except ValueError as error:
            print(f"{path.stem:16} no masks: {error}", flush=True)
            continue
        seconds = time.perf_counter() - began
        numbers = measure(masks, truth, fov)
        seen = any(fnmatch(path.name, pattern) for pattern in chosen.seen)
        print(ROW.format(path.stem + "*" * seen, *numbers), f"{seconds:8.1f}", flush=True)
        if not seen:
            unseen[path.stem] = numbers
        if chosen.overlays:
            chosen.overlays.mkdir(parents=True, exist_ok=True)
            draw(rgb, masks, truth).save(chosen.overlays / f"{path.stem}.png")

    sets = sorted({name.split("_")[0] for name in unseen})
    for title, prefix in [*((name, f"{name}_") for name in sets), ("unseen", "")]:
        rows = np.array([numbers for name, numbers in unseen.items() if name.startswith(prefix)])
        if len(rows):
            print(ROW.format(f"{title}, mean of {len(rows)}", *np.nanmean(rows, axis=0)))


if __name__ == "__main__":
    main()
