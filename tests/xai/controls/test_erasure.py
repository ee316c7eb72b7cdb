"""Images without vessels, and controls that keep them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from benchmark.synthetic import SyntheticCohort, draw_eye, render
from xai.controls.erasure import erase, erase_all
from xai.crop import crop_image, square_around
from xai.vessels import VesselMasks, regions

SIZE = 224


def crop_of(rgb, artery, vein, fov):
    square = square_around(fov)
    masks = VesselMasks(artery, vein, np.zeros_like(artery))
    return crop_image(rgb, square, SIZE), regions(masks, fov, square, SIZE)


def synthetic(seed=0):
    eye = draw_eye(SyntheticCohort(), f"p{seed}", "right", severity=1.0, low_quality=False)
    return crop_of(eye.rgb, eye.artery, eye.vein, eye.fov)


def real(shared, name):
    folder = shared / "data" / "av_gt"
    expert = np.asarray(Image.open(folder / "av" / f"{name}.png")) > 0
    fov = np.asarray(Image.open(folder / "fov" / f"{name}.png")) > 0
    uncertain = expert[..., 1]
    rgb = np.asarray(Image.open(folder / "images" / f"{name}.jpg"))
    return crop_of(rgb, expert[..., 0] | uncertain, expert[..., 2] | uncertain, fov)


def check(rgb, planes):
    """Checks the properties that hold for every image, and returns the result."""
    before = rgb.copy()
    found = erase(rgb, planes)
    retina, vessel = planes[3] == 255, planes[2] > 0
    np.testing.assert_array_equal(rgb, before)
    assert found.erased.dtype == found.control.dtype == np.uint8
    assert found.vessels.sum() == found.elsewhere.sum() > 0
    assert not (found.elsewhere & vessel).any()
    np.testing.assert_array_equal(found.vessels, vessel & retina)
    for picture, mask in ((found.erased, found.vessels), (found.control, found.elsewhere)):
        np.testing.assert_array_equal(picture[~mask], rgb[~mask])
        assert not (mask & ~retina).any()
    np.testing.assert_array_equal(found.control[vessel], rgb[vessel])
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_a_synthetic_eye_without_vessels_is_as_if_drawn_without(seed, monkeypatch):
    rgb, planes = synthetic(seed)
    found = check(rgb, planes)
    image = render.image

    def bloodless(rng, frame, density, arteries, veins, quality):
        trees = (replace(tree, blood=np.zeros_like(tree.blood)) for tree in (arteries, veins))
        return image(rng, frame, density, *trees, quality)

    monkeypatch.setattr(render, "image", bloodless)
    truth, _ = synthetic(seed)
    clear = (planes[2] > 127) & found.vessels
    contrast = [float((picture[..., 1].astype(float) - truth[..., 1])[clear].mean()) for picture in (rgb, found.erased)]
    assert contrast[0] < -15, "grey levels of green by which vessels are darker than what they hide"
    assert abs(contrast[1]) < 0.1 * abs(contrast[0])
    edge = found.elsewhere & ndimage.binary_dilation(found.vessels)
    assert edge.sum() > 100
    assert abs((found.control[edge, 1].astype(float) - truth[edge, 1]).mean()) < 2, "vessels do not bleed into it"


@pytest.mark.parametrize("name", ["hrf_02_h", "lesav_111"])
def test_vessels_of_a_image(shared, name):
    """Wide vessels are darker in green than the nearest retina clear of vessels; afterwards no longer."""
    rgb, planes = real(shared, name)
    found = check(rgb, planes)
    within = (planes[2] > 191) & found.vessels
    clear = (planes[3] == 255) & ~ndimage.binary_dilation(planes[2] > 0)
    y, x = ndimage.distance_transform_edt(~clear, return_distances=False, return_indices=True)
    greens = [picture[..., 1].astype(float) for picture in (rgb, found.erased, found.control)]
    before, after, control = (float(np.median((green[y, x] - green)[within])) for green in greens)
    assert before > 8
    assert abs(after) < 0.15 * before
    assert control > 0.8 * before


def test_vessels_at_the_rim_are_not_painted_black():
    """A vessel along the rim of an even retina: what is painted is as bright as the rest."""
    rows, columns = np.mgrid[:64, :64] + 0.5
    distance = np.hypot(rows - 32, columns - 32)
    fov = np.where(distance < 31, 255, 0).astype(np.uint8)
    vessel = np.where((distance < 31) & (distance > 28) & (rows < 32), 255, 0).astype(np.uint8)
    rgb = np.where(fov[..., None] > 0, 150, 0).astype(np.uint8).repeat(3, axis=2)
    rgb[vessel > 0] = 60
    found = erase(rgb, np.stack([vessel, np.zeros_like(vessel), vessel, fov]))
    assert abs(found.erased[fov > 0].astype(int) - 150).max() <= 3


def test_the_control_looks_for_the_emptiest_place():
    """Vessels in one half leave the other half free for a control of the same shape."""
    vessel = np.zeros((64, 64), np.uint8)
    vessel[8:56:8, 4:28] = 255
    planes = np.stack([vessel, np.zeros_like(vessel), vessel, np.full_like(vessel, 255)])
    found = erase(np.full((64, 64, 3), 100, np.uint8), planes)
    assert not found.elsewhere[:, :29].any()
    np.testing.assert_array_equal(found.elsewhere, found.vessels[:, ::-1])


def test_a_batch():
    rgb, planes = synthetic()
    without = planes.copy()
    without[:3] = 0
    full = np.full_like(planes, 255)
    erased, control, share = erase_all(np.stack([rgb] * 3), np.stack([planes, without, full]))
    alone = erase(rgb, planes)
    np.testing.assert_array_equal(erased[0], alone.erased)
    np.testing.assert_array_equal(control[0], alone.control)
    assert share[0] == pytest.approx(alone.vessels.sum() / (planes[3] == 255).sum())
    for index in (1, 2):
        np.testing.assert_array_equal(erased[index], rgb)
        np.testing.assert_array_equal(control[index], rgb)
        assert np.isnan(share[index])


def test_what_cannot_be_erased():
    rgb, planes = synthetic()
    planes[:3] = 0
    with pytest.raises(ValueError, match="no vessels to erase"):
        erase(rgb, planes)
    with pytest.raises(ValueError, match=r"cover 100% of the field of view: no room for a control"):
        erase(rgb, np.full_like(planes, 255))
