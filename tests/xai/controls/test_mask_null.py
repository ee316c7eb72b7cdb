"""The null of vessel masks: pairs against the ordinary ratio, draws against their own rules, p-values that hold."""

import time

import numpy as np
import pytest
from scipy import ndimage

from xai.controls.mask_null import mask_null
from xai.saliency import RATIOS, vessel_saliency

SIDE = 24


def cohort(people, images=2, seed=0, fov=None):
    """Random maps (n, H, W) and planes with stripes of vessels; and the people."""
    generator = np.random.default_rng(seed)
    n = people * images
    planes = np.zeros((n, 4, SIDE, SIDE), np.uint8)
    planes[:, 0] = np.where(generator.random((n, SIDE, SIDE)) < 0.1, 255, 0)
    planes[:, 1] = np.where(generator.random((n, SIDE, SIDE)) < 0.1, 90, 0)
    planes[:, 3] = 255
    if fov is not None:
        planes[:, :2] *= fov
        planes[:, 3] *= fov
    planes[:, 2] = np.maximum(planes[:, 0], planes[:, 1])
    return generator.random((n, SIDE, SIDE)), planes, np.repeat(np.arange(people), images)


def by_hand(one, own, other, mirrored, ratio):
    """The ratio of one map against another image's vessels in its own field of view."""
    vessels = other[:3, :, ::-1] if mirrored else other[:3]
    combined = np.concatenate([np.where(own[3] > 0, vessels, 0), own[3:]])
    return vessel_saliency(one[None], combined[None])[ratio][0]


@pytest.mark.parametrize("ratio", RATIOS)
def test_every_draw_is_the_ordinary_ratio_against_somebody_elses_vessels(ratio):
    fov = np.ones((SIDE, SIDE), np.uint8)
    fov[:5], fov[:, -3:] = 0, 0
    maps, planes, people = cohort(3, fov=fov)
    found = mask_null(maps, planes, people, draws=60, ratio=ratio)
    np.testing.assert_allclose(found.ratios, vessel_saliency(maps, planes)[ratio])
    for i, own in enumerate(planes):
        possible = [
            by_hand(maps[i], own, planes[j], mirrored, ratio)
            for j in np.flatnonzero(people != people[i])
            for mirrored in (False, True)
        ]
        distance = abs(found.null[:, i, None] - np.array(possible))
        assert distance.min(axis=1).max() < 1e-5, "a draw that no foreign mask gives"
        assert len(set(distance.argmin(axis=1))) == 8, "every foreign mask comes up, plain and mirrored"
    assert found.observed == pytest.approx(found.ratios.mean())
    np.testing.assert_allclose(found.draws, found.null.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.image_means, found.null.mean(axis=0), rtol=1e-6)


def test_vessels_of_the_other_side_are_mirrored():
    """Two people, one eye each: nothing is left to chance."""
    maps, planes, people = cohort(2, images=1)
    for eyes, mirrored in ((["left", "left"], False), (["left", "right"], True)):
        found = mask_null(maps, planes, people, draws=20, eyes=eyes)
        for i in (0, 1):
            expected = by_hand(maps[i], planes[i], planes[1 - i], mirrored, "vessel_ratio_fov")
            np.testing.assert_allclose(found.null[:, i], expected, rtol=1e-5)
    unknown = mask_null(maps, planes, people, draws=40, eyes=["left", None])
    assert len(np.unique(unknown.null[:, 0].round(5))) == 2


def test_a_persons_images_change_vessels_together():
    """The vessels of a person cover the same rows in both images, of another person other rows."""
    maps, planes, people = cohort(4)
    maps[:] = np.linspace(5, 1, SIDE)[:, None]
    planes[:, :3] = 0
    for i, person in enumerate(people):
        planes[i, [0, 2], : 3 * (person + 1)] = 255
    found = mask_null(maps, planes, people, draws=50)
    for person in range(4):
        first, second = found.null[:, people == person].T
        np.testing.assert_allclose(first, second, rtol=1e-6)
        assert len(np.unique(first.round(4))) == 3, "one ratio for each of the other three people"


def test_blocks_do_not_show(monkeypatch):
    maps, planes, people = cohort(5)
    whole = mask_null(maps, planes, people, draws=20)
    monkeypatch.setattr("xai.controls.mask_null._BLOCK", 3)
    np.testing.assert_allclose(mask_null(maps, planes, people, draws=20).null, whole.null, rtol=1e-6)


def test_saliency_in_ones_own_vessels_stands_out_and_elsewhere_not():
    _, planes, people = cohort(20, seed=1)
    own = np.where(planes[:, 2] > 0, 2.0, 1.0)
    found = mask_null(own, planes, people, draws=199)
    assert found.observed > 1.8
    assert found.mean == pytest.approx(1, abs=0.05)
    assert found.p_greater == pytest.approx(1 / 200)
    assert found.p_two_sided == pytest.approx(2 / 200)
    avoided = mask_null(3 - own, planes, people, draws=199)
    assert avoided.p_greater == pytest.approx(1)
    assert avoided.p_two_sided == pytest.approx(2 / 200)


def test_maps_alike_everywhere_are_no_evidence():
    """Every ratio is one: ties count against the finding, and rounding does not break them."""
    _, planes, people = cohort(5)
    found = mask_null(np.full((10, SIDE, SIDE), 0.3), planes, people, draws=50)
    assert found.observed == pytest.approx(1)
    assert found.p_greater == 1
    assert found.p_two_sided == 1


def test_p_values_are_right_where_maps_know_nothing_of_the_vessels():
    """Cohorts where maps and vessels lean the same way in all eyes, and each person's two eyes are alike."""

    def field(generator, *shape):
        return 15 * ndimage.gaussian_filter(generator.normal(size=(*shape, SIDE, SIDE)), (0,) * len(shape) + (4, 4))

    p_values, ratios = [], []
    for seed in range(100):
        generator = np.random.default_rng(seed)
        everyone, people = field(generator), np.repeat(np.arange(10), 2)
        maps = np.exp(field(generator, 10)[people] + everyone / 2)
        vessel = generator.random(maps.shape) < 1 / (1 + np.exp(2 - field(generator, 10)[people] - everyone / 2))
        planes = np.full((20, 4, SIDE, SIDE), 255, np.uint8)
        planes[:, :3] *= vessel[:, None]
        found = mask_null(maps, planes, people, draws=99, seed=seed, eyes=["right"] * 20)
        p_values.append(found.p_greater)
        ratios.append(found.observed)
    assert np.mean(ratios) > 1.3, "the ratio alone would be taken for a finding"
    assert 0.42 < np.mean(p_values) < 0.58
    assert np.mean(np.array(p_values) <= 0.1) <= 0.17


def test_images_without_an_answer_are_left_out():
    maps, planes, people = cohort(4)
    planes[0, :3] = 0
    maps[3] = 0
    found = mask_null(maps, planes, people, draws=30)
    assert np.isnan(found.ratios[[0, 3]]).all()
    assert np.isnan(found.null[:, [0, 3]]).all()
    assert np.isnan(found.image_means[[0, 3]]).all()
    assert np.isfinite(np.delete(found.null, [0, 3], axis=1)).all(), "an empty mask is given to nobody"
    assert np.isfinite([found.observed, found.mean, found.sd]).all()


def test_the_seed_decides():
    maps, planes, people = cohort(4)
    one, same, other = (mask_null(maps, planes, people, draws=10, seed=seed).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_what_cannot_be_compared():
    maps, planes, people = cohort(3)
    with pytest.raises(ValueError, match="fewer than two people have a mask of vessel"):
        mask_null(maps, planes, np.zeros(6), draws=10)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        mask_null(maps, planes, people, draws=0)
    with pytest.raises(ValueError, match="no image has a vessel_ratio_fov"):
        mask_null(np.zeros_like(maps), planes, people, draws=10)


def test_two_hundred_images_take_seconds():
    generator = np.random.default_rng(0)
    planes = np.zeros((200, 4, 224, 224), np.uint8)
    planes[:, 2] = np.where(generator.random((200, 224, 224), np.float32) < 0.1, 255, 0)
    planes[:, 3] = 255
    start = time.process_time()
    mask_null(generator.random((200, 224, 224), np.float32), planes, np.arange(200) // 2, draws=1000)
    assert time.process_time() - start < 10  # two seconds of one core; the rest is for slow machines
