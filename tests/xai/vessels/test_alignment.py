"""Masks on the image's own vessels, rotated masks, and masks on another eye."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from benchmark.synthetic import SyntheticCohort, plan
from benchmark.synthetic.eye import draw_eye
from xai.vessels.alignment import CLEAR, alignment, on_vessels
from xai.vessels.quality import ON_VESSELS

WAYS = {"mirrored": np.fliplr, "upside down": np.flipud, "half turn": lambda mask: mask[::-1, ::-1]}


@pytest.fixture(scope="module")
def eyes():
    """Synthetic eyes, a third of them blurred, hazy, dark or unevenly lit."""
    cohort = SyntheticCohort(patients=6, image_size=224, low_quality=0.34, seed=3)
    rows = plan(cohort)
    assert any(row["low_quality"] for row in rows)
    return [
        draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], row["low_quality"])
        for row in rows
        if row["eye"] == "left"
    ]


def test_masks_in_their_place_fit_best(eyes):
    for eye in eyes:
        fit = alignment(eye.rgb, eye.fov, eye.artery | eye.vein)
        assert fit.upright > max(2 * ON_VESSELS, fit.turned + CLEAR)
        assert fit.upright == on_vessels(eye.rgb, eye.fov, eye.artery | eye.vein)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_turned_masks_fit_better_turned_back(eyes, way):
    for eye in eyes:
        fit = alignment(eye.rgb, eye.fov, way(eye.artery | eye.vein))
        assert fit.turned > fit.upright + CLEAR


@pytest.mark.parametrize("quarters", [1, 3])
def test_a_square_image_may_be_turned_by_a_quarter(eyes, quarters):
    eye = eyes[0]
    square = slice(0, eye.fov.shape[0]), slice(16, 16 + eye.fov.shape[0])
    vessel = np.rot90((eye.artery | eye.vein)[square], quarters)
    fit = alignment(eye.rgb[square], eye.fov[square], vessel)
    assert fit.turned > fit.upright + CLEAR


def test_masks_of_another_eye_fit_no_way(eyes):
    for eye, other in pairwise(eyes):
        fit = alignment(eye.rgb, eye.fov, other.artery | other.vein)
        assert fit.upright < ON_VESSELS
        assert fit.turned < fit.upright + 2 * CLEAR


def test_nothing_to_correlate_gives_no_number(eyes):
    eye = eyes[0]
    for rgb, fov, vessel in (
        (eye.rgb, eye.fov, np.zeros_like(eye.fov)),
        (np.full_like(eye.rgb, 90), eye.fov, eye.artery),
        (eye.rgb, np.zeros_like(eye.fov), eye.artery),
    ):
        fit = alignment(rgb, fov, vessel)
        assert np.isnan([fit.upright, fit.turned]).all()


@pytest.mark.slow
def test_experts_masks_lie_on_the_vessels_of_real_images(shared):
    folder = shared / "data" / "av_gt"
    for file in sorted((folder / "av").glob("*.png")):
        rgb = np.asarray(Image.open(folder / "images" / f"{file.stem}.jpg"))
        vessel = np.asarray(Image.open(file)).any(axis=2)
        fov = np.asarray(Image.open(folder / "fov" / file.name))
        fit = alignment(rgb, fov, vessel)
        assert fit.upright > 0.33, file.stem
        assert fit.turned < 0.06, file.stem
        for way in WAYS.values():
            turned = alignment(rgb, fov, way(vessel))
            assert turned.turned > turned.upright + CLEAR, file.stem
