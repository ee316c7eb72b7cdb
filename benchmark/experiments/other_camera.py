"""Cut a second cohort from a labelled one, by patients, and change its images as another camera would.

    python -m benchmark.experiments.other_camera cohort.csv changed/ --image-dir images/
    python run_benchmark.py --config configs/demo.yaml --data changed/own.csv … --out runs/own
    python run_benchmark.py validate runs/own --data changed/other.csv

The second cohort then differs in ways that are known: fewer pixels, a warmer and darker picture, blur, and noise. The
labels keep their meaning, so what a model loses is due to the images (and to the sampling of patients).
"""

import argparse
import csv
import os
from pathlib import Path

import cv2
import numpy as np

from benchmark.study.config import Shares
from benchmark.study.images import read_image
from benchmark.study.manifest import open_manifest
from benchmark.study.splits import of_split, split_patients

SHARE = 0.4  # of the patients, in the second cohort
SIDE = 320  # pixels: the longer side of its images
GAINS = np.array([0.95, 0.72, 0.55])  # of red, green and blue
GAMMA = 1.15
BLUR = 1.1  # pixels, standard deviation
NOISE = 3.0  # grey levels, standard deviation
QUALITY = 80  # of JPEG
COLUMNS = ("image", "label", "patient_id", "eye")


def as_other_camera(rgb: np.ndarray, seed: int) -> np.ndarray:
    """The same eye as another camera would show it.

    Args:
        rgb: (H, W, 3) uint8.
        seed: of the noise.

    Returns:
        (h, w, 3) uint8 with a longer side of `SIDE`.
    """
    scale = SIDE / max(rgb.shape[:2])
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    outside = small.max(axis=-1, keepdims=True) < 10  # the black surround stays black
    toned = 255 * (small / 255) ** GAMMA * GAINS
    blurred = cv2.GaussianBlur(toned, (0, 0), BLUR)
    noisy = blurred + np.random.default_rng(seed).normal(0, NOISE, blurred.shape)
    return np.where(outside, small, noisy).clip(0, 255).round().astype(np.uint8)


def write_cohorts(manifest: Path, image_dir: Path | None, out: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write `own.csv` and `other.csv` with the changed images; returns the paths of both.

    Args:
        manifest: a table as for a run; both labels may occur in one patient.
        image_dir: the folder of its images.
        out: the folder to write.
        seed: divides the patients, and draws the noise.
    """
    opened = open_manifest(manifest, image_dir, labels_per="eye").images
    shares = Shares(train=1 - SHARE - 0.01, val=0.01, test=SHARE, seed=seed)
    divided = split_patients(opened.drop("split").with_columns(split=None), shares)
    other = of_split(divided, "test")
    own = divided.join(other.select("image"), on="image", how="anti", maintain_order="left")
    (out / "other").mkdir(parents=True, exist_ok=True)
    rows = []
    for place, row in enumerate(other.select("path", *COLUMNS).to_dicts()):
        changed = as_other_camera(read_image(Path(row.pop("path"))), seed + place)
        name = f"other/{place:05d}.jpg"
        cv2.imwrite(os.fspath(out / name), changed[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        rows.append(row | {"image": name})
    kept = [row | {"image": row.pop("path")} for row in own.select("path", *COLUMNS).to_dicts()]
    return _written(out / "own.csv", kept), _written(out / "other.csv", rows)


def _written(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--image-dir", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for path in write_cohorts(options.manifest, options.image_dir, options.out, options.seed):
        print(path)


if __name__ == "__main__":
    main()
