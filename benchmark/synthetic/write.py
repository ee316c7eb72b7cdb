"""The synthetic cohort as files: images, masks, and the manifest that names them."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmark.synthetic.eye import draw_eye
from benchmark.synthetic.population import MANIFEST, SyntheticCohort, plan

JPEG_QUALITY = 92
README = """\
Synthetic fundus images, drawn by a computer program. Nobody's eye is shown, and nothing here is medical evidence.

cohort.csv names one image per row, with its label (0 or 1) and the exact masks (255 inside) of arteries, veins,
optic disc and field of view; a crossing belongs to arteries and veins. `severity` is how the label shows in the image:
it is the score of the best possible classifier, and no model may train on it. `low_quality` marks blurred, hazy, dark
or unevenly lit images.
"""
OF_COVARIATES = """
`age`, `sex` and `camera` were drawn as well; the configuration says what they have to do with label and image.
"""


def write_eye(cohort: SyntheticCohort, row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Draw a row of the plan; write its image (JPEG) and masks (PNG, 0 or 255) below `folder`. Returns the row."""
    eye = draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], row["low_quality"])
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(eye.rgb).save(folder / row["image"], quality=JPEG_QUALITY)
    for mask in ("artery", "vein", "disc", "fov"):
        _, encoded = cv2.imencode(".png", getattr(eye, mask).astype(np.uint8) * 255)  # three times as fast as Pillow
        (folder / row[f"{mask}_mask"]).write_bytes(encoded.tobytes())
    return row


def write_manifest(rows: list[dict[str, Any]], folder: Path) -> Path:
    """Write the manifest, one line per row of the plan, and a README next to it; returns the path of the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.txt").write_text(README + (OF_COVARIATES if "age" in rows[0] else ""), encoding="utf-8")
    manifest = folder / MANIFEST
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"low_quality": int(row["low_quality"])} for row in rows)
    return manifest


def write_cohort(cohort: SyntheticCohort, folder: Path) -> Path:
    """Draw and write the whole cohort, one eye after another; returns the path of its manifest."""
    rows = plan(cohort)
    for row in rows:
        write_eye(cohort, row, folder)
    return write_manifest(rows, folder)
