"""The turned-tree test: positions by hand, exactness on round maps, and what a map of the disc alone gives."""

import time

import numpy as np
import pytest

from tests.xai.controls import chance
from tests.xai.controls.eyes import SIDE, by_hand, cohort
from xai.controls.turned_vessels import turned_vessels
from xai.saliency import RATIOS, vessel_saliency

FOV_RATIO = "vessel_ratio_fov"


def one_null(*args, ratio=FOV_RATIO, **options):
    return turned_vessels(*args, ratios=[ratio], **options)[ratio]


def quarter_turns(planes):
    """A square's planes in the positions that are whole pixels: four turns, plain and mirrored."""
    return [np.rot90(each, k, axes=(1, 2)) for each in (planes, planes[..., ::-1]) for k in range(4)]


@pytest.mark.parametrize("ratio", RATIOS)
def test_quarter_turns_are_the_ratio_against_the_turned_planes(ratio):
    maps, planes, _ = cohort(2, images=1)
    planes[0, :, :4] = 0
    middle = np.zeros((1, SIDE, SIDE), np.uint8)
    middle[:, 11:13, 11:13] = 255
    for i in (0, 1):
        one = slice(i, i + 1)
        found = one_null(maps[one], planes[one], [0], draws=3000, ratio=ratio, disc=middle)
        for turned in quarter_turns(planes[i]):
            assert abs(found.null[:, 0] - by_hand(maps[i], planes[i], turned, ratio)).min() < 1e-5
        np.testing.assert_allclose(found.ratios, vessel_saliency(maps[one], planes[one])[ratio])


def test_what_the_rim_cuts_off_is_made_up_for_on_average_over_images():
    maps, planes, patients = cohort(3, images=1)
    planes[:, :, :4] = 0
    draws = one_null(maps, planes, patients, draws=2000)
    singly = [one_null(maps[i : i + 1], planes[i : i + 1], [0], draws=2000) for i in range(3)]
    assert draws.mean == pytest.approx(np.mean([one.mean for one in singly]))
    assert draws.draws.mean() == pytest.approx(np.mean([one.draws.mean() for one in singly]), abs=0.02)


def test_a_patients_images_are_turned_together_and_left_eyes_in_mirror_image():
    maps, planes, _ = cohort(3, images=1)
    both = [np.concatenate([each, each[..., ::-1]]) for each in (maps, planes)]
    found = one_null(*both, np.tile(np.arange(3), 2), draws=50, eyes=["right"] * 3 + ["left"] * 3)
    np.testing.assert_allclose(found.null[:, :3], found.null[:, 3:], rtol=1e-4)
    assert len(np.unique(found.null[:, 0].round(5))) > 20
    assert (found.null[:, 0].argsort() != found.null[:, 1].argsort()).any(), "patients are turned on their own"


def test_by_chance_leaves_out_the_tree_as_it_lies():
    maps, planes, patients = cohort(1, images=1)
    found = one_null(maps, planes, patients, draws=20000)
    values, counts = np.unique(found.null[:, 0].round(6), return_counts=True)
    assert len(values) == 48
    assert counts.min() > 300, "all positions are alike"
    assert found.expected[0] == pytest.approx((values.sum() - found.ratios[0]) / 47, rel=1e-4)
    assert np.isnan(found.given).all()


def test_a_round_map_has_its_own_ratio_by_chance():
    """Around a disc away from the middle, although the field of view cuts off part of the rotated vessels."""
    y, x = np.mgrid[:112, :112]
    pool = chance.draw_pool(12)
    for image in range(0, 12, 2):
        row, column = pool.centres[image]
        one = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 400)[None] + 0.05
        found = one_null(one, pool.planes[[image]], [0], draws=10, eyes=["right"], disc=pool.disc[[image]])
        assert found.expected[0] == pytest.approx(found.ratios[0], rel=0.005)
        assert vessel_saliency(one, pool.planes[[image]])[FOV_RATIO][0] > 1.2


def test_a_map_of_the_disc_does_not_pass_and_one_of_the_own_vessels_does():
    pool = chance.draw_pool(48)
    passed = {}
    for kind in ("disc", "own vessels"):
        p_values = []
        for seed in range(8):
            study = chance.draw_study(pool, kind, 10, np.random.default_rng(seed), most=1)
            found = one_null(
                study.maps, study.planes, study.patients, draws=99, seed=seed, eyes=study.eyes, disc=study.disc
            )
            p_values.append(found.p_greater)
        passed[kind] = np.mean(np.array(p_values) <= 0.05)
    assert passed["disc"] <= 0.25
    assert passed["own vessels"] >= 0.75


def test_images_without_an_answer_are_left_out():
    maps, planes, patients = cohort(3)
    planes[0, :3] = 0
    maps[3] = 0
    found = one_null(maps, planes, patients, draws=30)
    assert np.isnan(found.null[:, [0, 3]]).all()
    assert np.isnan(found.expected[[0, 3]]).all()
    assert np.isfinite(np.delete(found.null, [0, 3], axis=1)).all()


def test_what_cannot_be_turned():
    maps, planes, patients = cohort(2)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        turned_vessels(maps, planes, patients, draws=0)
    with pytest.raises(ValueError, match="no image has a vessel_ratio"):
        turned_vessels(np.zeros_like(maps), planes, patients, draws=10)


def test_one_patient_is_enough():
    _, planes, _ = cohort(1)
    own = np.where(planes[:, 2] > 0, 2.0, 1.0)
    assert one_null(own, planes, [0, 0], draws=199).p_greater < 0.05


@pytest.mark.slow
def test_two_hundred_images_take_seconds():
    generator = np.random.default_rng(0)
    planes = np.zeros((200, 4, 224, 224), np.uint8)
    planes[:, 2] = np.where(generator.random((200, 224, 224), np.float32) < 0.1, 255, 0)
    planes[:, 3] = 255
    start = time.process_time()
    turned_vessels(generator.random((200, 224, 224), np.float32), planes, np.arange(200) // 2, draws=1000)
    assert time.process_time() - start < 20  # five seconds of one core; the rest is for slow machines


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nothing", "disc"])
def test_round_maps_pass_as_often_as_by_chance(kind):
    """Synthetic eyes, 200 studies; docs/controls.md has the table."""
    pool, p_values = chance.draw_pool(400), []
    for seed in range(200):
        study = chance.draw_study(pool, kind, 20, np.random.default_rng(seed))
        found = one_null(
            study.maps, study.planes, study.patients, draws=199, seed=seed, eyes=study.eyes, disc=study.disc
        )
        p_values.append(found.p_greater)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.085
