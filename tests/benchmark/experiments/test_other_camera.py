"""A second cohort, cut from a first one by patients, as another camera would show it."""

import numpy as np
import polars as pl
from PIL import Image

from benchmark import synthetic
from benchmark.experiments.other_camera import SIDE, as_other_camera, write_cohorts
from benchmark.study.manifest import open_manifest


def test_patients_are_divided_and_images_changed(tmp_path):
    cohort = synthetic.SyntheticCohort(patients=10, image_size=352, seed=2)
    manifest = synthetic.write_cohort(cohort, tmp_path / "cohort")
    own, other = write_cohorts(manifest, None, tmp_path / "cut")
    kept, changed = pl.read_csv(own), pl.read_csv(other)
    assert set(kept["patient_id"]).isdisjoint(changed["patient_id"])
    assert len(kept) + len(changed) == 20
    assert (len(changed), changed["label"].n_unique(), changed["eye"].n_unique()) == (8, 2, 2)
    for image in open_manifest(other).images["path"]:
        assert max(Image.open(image).size) == SIDE
    assert all(path.startswith(str(tmp_path / "cohort")) for path in kept["image"]), "the first images are not copied"


def test_fewer_pixels_warmer_darker_and_blurred():
    checks = (np.indices((640, 640)).sum(axis=0) // 8 % 2 * 120 + 60).astype(np.uint8)
    rgb = np.repeat(checks[..., None], 3, axis=-1)
    rgb[:60] = 0
    changed = as_other_camera(rgb, seed=0)
    assert changed.shape == (SIDE, SIDE, 3)
    inside = changed[60:].astype(float)
    assert inside.mean() < rgb[120:].mean() * 0.8
    assert inside[..., 0].mean() > 1.3 * inside[..., 2].mean()
    assert inside[..., 0].std() < rgb[120:, :, 0].std()
    assert (changed[:20] == 0).all(), "what is outside the field of view stays black"
    assert (as_other_camera(rgb, seed=0) == changed).all()
