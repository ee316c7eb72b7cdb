"""The place of the signal, compared with the masks that were drawn and with the rules for placing spots."""

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from benchmark.errors import UserError
from benchmark.experiments.planted_pixels import VISIBLE, WITHOUT_SPOTS, open_study, read_truth, visible_spots
from benchmark.storage.rundir import RunDirectory, open_array, write_array
from benchmark.study.config import Study
from benchmark.synthetic import SyntheticCohort, draw_eye, plan
from benchmark.synthetic.eye import spots_shown
from tests.benchmark.experiments.synthetic_run import PATIENTS, study_of, write_run

COHORT = SyntheticCohort(patients=4, image_size=256, signal="periphery", low_quality=0.25, seed=5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {signal: write_run(tmp_path_factory.mktemp(signal), signal) for signal in ("vessels", "periphery")}


def test_a_runs_own_configuration_is_read_back(runs):
    assert open_study(runs["periphery"]) == study_of("periphery")


def test_in_vessels_it_is_the_arteries(runs):
    truth = read_truth(study_of("vessels"), runs["vessels"], side=448)
    regions = open_array(runs["vessels"].regions)
    assert len(truth.table) == 2 * (PATIENTS - 1)
    np.testing.assert_array_equal(truth.planted, regions[:, 0])
    np.testing.assert_array_equal(truth.vessel, regions[:, 2])
    np.testing.assert_array_equal(truth.fov, regions[:, 3])
    assert truth.large.shape == (6, 448, 448, 3)
    pooled = truth.large.reshape(6, 224, 2, 224, 2, 3).mean(axis=(2, 4))
    assert np.abs(pooled - truth.small).mean() < 3, "the same crops at both sizes"


def test_in_the_periphery_it_is_the_spots(runs):
    truth = read_truth(study_of("periphery"), runs["periphery"], side=448)
    cohort = truth.cohort
    for place, row in enumerate(row for row in plan(cohort) if row["patient_id"] != "p0001"):
        _, spots = visible_spots(cohort, row)
        inside = truth.planted[place] > 127
        assert inside.any() == spots.any()
        # Near the rim and off the vessels, by the geometry of the fundus, which fills the crop.
        y, x = np.nonzero(inside)
        distance = np.hypot(x + 0.5 - 112, y + 0.5 - 112) / 112
        assert np.all((distance > 0.55) & (distance < 1.02))
        assert truth.vessel[place][inside].mean() < 0.2 * 255


def test_images_without_a_visible_spot_have_nothing_planted(tmp_path):
    drawn = {"patients": 2, "image_size": 96, "signal": "periphery", "low_quality": 0, "effect": 0, "seed": 3}
    changed = {"cohort": {"synthetic": drawn}}
    run = write_run(tmp_path, "periphery", **changed)
    truth = read_truth(study_of("periphery", **changed), run, side=32)
    assert len(truth.table) == 2 and not truth.planted.any()


def test_the_first_patients_alone(runs):
    truth = read_truth(study_of("vessels"), runs["vessels"], side=32, patients=2)
    assert truth.table["patient_id"].unique().sort().to_list() == ["p0002", "p0003"]
    np.testing.assert_array_equal(truth.planted, open_array(runs["vessels"].regions)[:4, 0])
    np.testing.assert_array_equal(truth.small, open_array(runs["vessels"].images)[2:6])


def test_no_spot_shows_at_the_severity_without_spots():
    assert not spots_shown(WITHOUT_SPOTS).any()
    row = plan(COHORT)[0] | {"severity": WITHOUT_SPOTS}
    assert not visible_spots(COHORT, row)[1].any(), "two drawings with the same noise do not differ at all"


@pytest.mark.parametrize("low_quality", [False, True])
def test_there_is_a_patch_of_pixels_for_every_developed_spot(low_quality):
    row = plan(COHORT)[2] | {"severity": 2.0, "low_quality": low_quality}
    shown, spots = visible_spots(COHORT, row)
    _, patches = ndimage.label(spots, np.ones((3, 3)))
    developed = (spots_shown(2.0) > 0.5).sum()
    assert 0.6 * developed <= patches <= (spots_shown(2.0) > 0).sum()
    eye = draw_eye(COHORT, row["patient_id"], row["eye"], 2.0, low_quality)
    np.testing.assert_array_equal(shown, eye.rgb)
    assert (spots & (eye.artery | eye.vein)).sum() < 0.1 * spots.sum()
    assert spots.sum() < 0.1 * eye.fov.sum()


def test_a_higher_severity_shows_all_that_a_lower_one_does():
    rows = [plan(COHORT)[1] | {"severity": severity} for severity in (0.0, 1.5, 3.0)]
    areas = [visible_spots(COHORT, row)[1] for row in rows]
    for less, more in pairwise(areas):
        assert less.sum() < more.sum()
        assert (less & ~more).sum() <= 0.02 * less.sum()


def test_what_counts_as_visible_hardly_moves_the_area():
    row = plan(COHORT)[1] | {"severity": 2.0, "low_quality": False}
    who = {key: row[key] for key in ("patient_id", "eye", "low_quality")}
    shown, hidden = (draw_eye(COHORT, severity=s, **who).rgb.astype(int) for s in (2.0, WITHOUT_SPOTS))
    difference = np.abs(shown - hidden).max(axis=2)
    area = (difference >= VISIBLE).sum()
    assert (difference >= 2 * VISIBLE).sum() > 0.6 * area
    assert (difference >= 1).sum() < 2.5 * area


def test_another_drawing_is_refused(runs):
    study = study_of("periphery")
    reseeded = replace(study.cohort.synthetic, seed=4)
    changed = study.model_copy(update={"cohort": study.cohort.model_copy(update={"synthetic": reseeded})})
    with pytest.raises(UserError, match=r"drawn differently by this version, by \d+ of 255 levels: use the version"):
        read_truth(changed, runs["periphery"], side=32)


def test_other_spots_alone_are_refused(runs, tmp_path):
    """Even if everything else agrees: a difference in a thousandth of the pixels counts if those are the spots."""
    study, run = study_of("periphery"), RunDirectory(tmp_path)
    shutil.copytree(runs["periphery"].path, tmp_path, dirs_exist_ok=True)
    truth = read_truth(study, run, side=32)
    place = int(np.argmax([(plane > 0).sum() for plane in truth.planted]))
    images = np.array(open_array(run.images))
    image = images[truth.table["row"][place]]
    planted = truth.planted[place] > 0
    image[planted] = np.where(image[planted] > 127, image[planted] - 40, image[planted] + 40)
    write_array(run.images, images)
    with pytest.raises(UserError, match="drawn differently by this version, by 4"):
        read_truth(study, run, side=32)


def test_a_cohort_of_images_is_refused(runs):
    study = Study.model_validate(study_of("vessels").dump() | {"cohort": {"manifest": "x.csv"}})
    with pytest.raises(UserError, match="not synthetic"):
        read_truth(study, runs["vessels"], side=32)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        open_study(RunDirectory(tmp_path))
