"""The vessel permutation test: pairs compared with the ordinary ratio, the rules of the draws, and valid p-values."""

import time

import numpy as np
import pytest
from scipy import ndimage

from tests.xai.controls import chance
from tests.xai.controls.eyes import SIDE, by_hand, cohort
from xai.controls.vessel_permutation import vessel_permutation
from xai.saliency import RATIOS, vessel_saliency

FOV_RATIO = "vessel_ratio_fov"


def one_null(*args, ratio=FOV_RATIO, **options):
    return vessel_permutation(*args, ratios=[ratio], **options)[ratio]


@pytest.mark.parametrize("ratio", RATIOS)
def test_every_draw_is_the_ordinary_ratio_against_one_patients_vessels(ratio):
    fov = np.ones((SIDE, SIDE), np.uint8)
    fov[:5], fov[:, -3:] = 0, 0
    maps, planes, patients = cohort(6, fov=fov)
    found = one_null(maps, planes, patients, draws=400, eyes=["left", "right"] * 6, ratio=ratio)
    np.testing.assert_allclose(found.ratios, vessel_saliency(maps, planes)[ratio])
    for i, own in enumerate(planes):
        possible = np.array([by_hand(maps[i], own, planes[j], ratio) for j in range(i % 2, 12, 2)])
        distance = abs(found.null[:, i, None] - possible)
        assert distance.min(axis=1).max() < 1e-5, "a draw that no mask of that side gives"
        assert len(set(distance.argmin(axis=1))) == 6, "every patient's comes up, the own included"
        others = [
            by_hand(maps[i], own, planes[j] if (j - i) % 2 == 0 else planes[j][..., ::-1], ratio)
            for j in np.flatnonzero(patients != patients[i])
        ]
        # A left eye's field of view is mirrored too, so fields of view of different sides are not exactly equal.
        assert found.expected[i] == pytest.approx(np.mean(others), abs=0.15)
    assert found.observed == pytest.approx(found.ratios.mean())
    np.testing.assert_allclose(found.draws, found.null.mean(axis=1), rtol=1e-6)
    assert found.mean == pytest.approx(found.expected.mean())


def test_a_draw_permutes_the_patients():
    """Each patient's vessels cover different rows, so a ratio shows whose vessels were used."""
    maps, planes, patients = cohort(6)
    maps[:] = np.linspace(5, 1, SIDE)[:, None]
    planes[:, :3] = 0
    for i, patient in enumerate(patients):
        planes[i, [0, 2], : 3 * (patient + 1)] = 255
    found = one_null(maps, planes, patients, draws=300, eyes=["left", "right"] * 6)
    ratios = found.ratios[::2]
    given = abs(found.null[:, ::2, None] - ratios).argmin(axis=2)
    np.testing.assert_array_equal(np.sort(given, axis=1), np.tile(np.arange(6), (300, 1)))
    np.testing.assert_allclose(found.null[:, ::2], found.null[:, 1::2], rtol=1e-6)  # both images together
    kept = (given == np.arange(6)).sum(axis=1)
    assert {0, 1, 2} <= set(kept), "those that keep some patients belong to the group"
    assert kept.mean() == pytest.approx(1, abs=0.25)
    # The expectation by chance is over other patients only.
    np.testing.assert_allclose(found.expected[::2], (ratios.sum() - ratios) / 5, rtol=1e-5)
    np.testing.assert_allclose(found.given[::2], ratios, rtol=1e-5)  # all maps are alike


def test_patients_are_exchanged_among_those_with_as_many_images():
    """Five patients with one image and five with two; the rows of the vessels show the number of images."""
    maps, planes, _ = cohort(15, images=1)
    patients = np.array([*range(5), *np.repeat(np.arange(5, 10), 2)])
    maps[:] = np.linspace(5, 1, SIDE)[:, None]
    planes[:, :3] = 0
    planes[:5, [0, 2], :3], planes[5:, [0, 2], :9] = 255, 255
    found = one_null(maps, planes, patients, draws=50, eyes=["left"] * 15)
    np.testing.assert_allclose(found.null, np.tile(found.ratios, (50, 1)), rtol=1e-6)
    few = one_null(maps[1:], planes[1:], patients[1:], draws=50, eyes=["left"] * 14)
    assert len(np.unique(few.null[:, 0].round(4))) == 2, "four are too few to exchange among themselves"


def test_vessels_of_the_other_side_are_mirrored():
    """Two patients, one eye each."""
    maps, planes, patients = cohort(2, images=1)
    for eyes, mirrored in ((["left", "left"], False), (["left", "right"], True)):
        found = one_null(maps, planes, patients, draws=20, eyes=eyes)
        for i in (0, 1):
            other = planes[1 - i][..., ::-1] if mirrored else planes[1 - i]
            assert found.expected[i] == pytest.approx(by_hand(maps[i], planes[i], other, FOV_RATIO), rel=1e-5)
    unknown = one_null(maps, planes, patients, draws=60, eyes=["left", None])
    assert len(np.unique(unknown.null[:, 0].round(5))) == 3, "the own, and the other either way"


def test_optic_discs_are_laid_on_each_other():
    maps, planes, patients = cohort(2, images=1)
    disc = np.zeros((2, SIDE, SIDE), np.uint8)
    disc[0, 10, 16], disc[1, 12, 13] = 255, 255
    found = one_null(maps, planes, patients, draws=20, eyes=["right"] * 2, disc=disc)
    moved = np.zeros_like(planes[1])
    moved[:, : SIDE - 2, 3:] = planes[1][:, 2:, : SIDE - 3]
    assert found.expected[0] == pytest.approx(by_hand(maps[0], planes[0], moved, FOV_RATIO), rel=1e-5)
    left = one_null(maps[..., ::-1], planes[..., ::-1], patients, draws=20, eyes=["left"] * 2, disc=disc[..., ::-1])
    np.testing.assert_allclose(left.null, found.null, rtol=1e-5)


def test_blocks_do_not_show(monkeypatch):
    maps, planes, patients = cohort(5)
    disc = np.zeros((10, SIDE, SIDE), np.uint8)
    disc[np.arange(10), 9, 9 + np.arange(10)] = 255
    for eyes in (None, ["left", "right"] * 5):
        monkeypatch.setattr("xai.controls.vessel_permutation._BLOCK", 128)
        whole = one_null(maps, planes, patients, draws=20, eyes=eyes, disc=disc)
        monkeypatch.setattr("xai.controls.vessel_permutation._BLOCK", 3)
        parts = one_null(maps, planes, patients, draws=20, eyes=eyes, disc=disc)
        np.testing.assert_allclose(parts.null, whole.null, rtol=1e-5)
        np.testing.assert_allclose(parts.given, whole.given, rtol=1e-5)


def test_saliency_in_ones_own_vessels_stands_out_and_elsewhere_not():
    _, planes, patients = cohort(20, seed=1)
    own = np.where(planes[:, 2] > 0, 2.0, 1.0)
    found = one_null(own, planes, patients, draws=199)
    assert found.observed > 1.8
    assert found.mean == pytest.approx(1, abs=0.05)
    assert found.p_greater == pytest.approx(1 / 200)
    assert found.p_two_sided == pytest.approx(2 / 200)
    avoided = one_null(3 - own, planes, patients, draws=199)
    assert avoided.p_greater == pytest.approx(1)
    assert avoided.p_two_sided == pytest.approx(2 / 200)


def test_maps_alike_everywhere_are_no_evidence():
    """Every ratio is 1: ties count as at least as extreme, and rounding does not break ties."""
    _, planes, patients = cohort(5)
    found = one_null(np.full((10, SIDE, SIDE), 0.3), planes, patients, draws=50)
    assert found.observed == pytest.approx(1)
    assert found.p_greater == 1
    assert found.p_two_sided == 1


def test_three_patients_cannot_be_significant():
    """Six permutations, so no p-value much below a sixth, however many are drawn."""
    _, planes, patients = cohort(3)
    found = one_null(np.where(planes[:, 2] > 0, 2.0, 1.0), planes, patients, draws=500, eyes=["left", "right"] * 3)
    assert found.p_greater == pytest.approx(1 / 6, abs=0.05)


def leaning_alike(generator, patients, images):
    """Maps that do not depend on the vessels, with a common layout of both in all eyes and similar eyes per patient."""

    def field(*shape):
        return 15 * ndimage.gaussian_filter(generator.normal(size=(*shape, SIDE, SIDE)), (0,) * len(shape) + (4, 4))

    everyone, patient = field(), np.repeat(np.arange(patients), images)
    maps = np.exp(field(patients)[patient] + everyone / 2)
    vessel = generator.random(maps.shape) < 1 / (1 + np.exp(2 - field(patients)[patient] - everyone / 2))
    planes = np.full((len(patient), 4, SIDE, SIDE), 255, np.uint8)
    planes[:, :3] *= vessel[:, None]
    return maps, planes, patient, vessel


@pytest.mark.parametrize("images", ["2 each", "1 to 4"])
def test_p_values_are_right_where_maps_know_nothing_of_the_vessels(images):
    p_values, ratios = [], []
    for seed in range(100):
        generator = np.random.default_rng(seed)
        counts = generator.integers(1, 5, 12) if images == "1 to 4" else np.full(12, 2)
        maps, planes, patients, _ = leaning_alike(generator, 12, counts)
        found = one_null(maps, planes, patients, draws=99, seed=seed, eyes=["right"] * len(maps))
        p_values.append(found.p_greater)
        ratios.append(found.observed)
    assert np.mean(ratios) > 1.3, "the ratio alone would be taken for a finding"
    assert 0.42 < np.mean(p_values) < 0.58
    assert 0.03 <= np.mean(np.array(p_values) <= 0.1) <= 0.17


def test_permuting_has_the_power_that_drawing_with_replacement_lacks():
    """Patients differ in how much their vessels overlap with what all maps highlight, which dominates free draws."""
    with_replacement, permuted = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        _, planes, patients, vessel = leaning_alike(generator, 12, np.full(12, 1))
        y, x = np.mgrid[:SIDE, :SIDE]
        maps = np.exp(-((y - 12) ** 2 + (x - 12) ** 2) / 50) * np.where(vessel, 1.1, 1.0)
        found = one_null(maps, planes, patients, draws=99, seed=seed, eyes=["right"] * 12)
        permuted.append(found.p_greater)
        pairs = np.array([[by_hand(a, b, c, FOV_RATIO) for c in planes] for a, b in zip(maps, planes, strict=True)])
        others = (np.arange(12) + generator.integers(1, 12, (99, 12))) % 12
        free = pairs[np.arange(12), others].mean(axis=1)
        with_replacement.append((1 + (free >= found.observed).sum()) / 100)
    assert np.mean(np.array(permuted) <= 0.05) > 0.9
    assert np.mean(np.array(with_replacement) <= 0.05) < 0.5


def test_images_without_an_answer_are_left_out():
    maps, planes, patients = cohort(4)
    planes[0, :3] = 0
    maps[3] = 0
    found = one_null(maps, planes, patients, draws=30)
    assert np.isnan(found.ratios[[0, 3]]).all()
    assert np.isnan(found.null[:, [0, 3]]).all()
    assert np.isnan(found.expected[[0, 3]]).all()
    assert np.isfinite(np.delete(found.null, [0, 3], axis=1)).all(), "an empty mask is given to nobody"
    assert np.isfinite([found.observed, found.mean, found.sd]).all()


def test_the_seed_decides():
    maps, planes, patients = cohort(4)
    one, same, other = (one_null(maps, planes, patients, draws=10, seed=seed).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_what_cannot_be_compared():
    maps, planes, patients = cohort(3)
    with pytest.raises(ValueError, match="fewer than two patients have a mask of vessel"):
        vessel_permutation(maps, planes, np.zeros(6), draws=10)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        vessel_permutation(maps, planes, patients, draws=0)
    with pytest.raises(ValueError, match="no image has a vessel_ratio"):
        vessel_permutation(np.zeros_like(maps), planes, patients, draws=10)


@pytest.mark.slow
def test_two_hundred_images_take_seconds():
    generator = np.random.default_rng(0)
    planes = np.zeros((200, 4, 224, 224), np.uint8)
    planes[:, 2] = np.where(generator.random((200, 224, 224), np.float32) < 0.1, 255, 0)
    planes[:, 3] = 255
    start = time.process_time()
    vessel_permutation(generator.random((200, 224, 224), np.float32), planes, np.arange(200) // 2, draws=1000)
    assert time.process_time() - start < 10  # two seconds of one core; the rest is for slow machines


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nothing", "disc", "arcades"])
def test_maps_that_know_nothing_of_the_own_vessels_pass_as_often_as_by_chance(kind):
    """Synthetic eyes, 200 studies; docs/controls.md has the table."""
    pool, p_values = chance.draw_pool(400), []
    for seed in range(200):
        study = chance.draw_study(pool, kind, 20, np.random.default_rng(seed))
        found = one_null(
            study.maps, study.planes, study.patients, draws=199, seed=seed, eyes=study.eyes, disc=study.disc
        )
        p_values.append(found.p_greater)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.085
