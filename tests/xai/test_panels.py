"""Mean maps compared with a plain loop, and figures whose pixels are known by construction."""

import tracemalloc

import numpy as np
import pytest
import torch

from xai.gradcam import saliency_maps
from xai.palette import colours
from xai.panels import (
    PAIR_TILE,
    Figure,
    MeanMap,
    map_panel,
    mean_maps,
    mean_panel,
    mirrored_mean,
    overlay,
    panel,
    with_arcades,
)

SIZE = 224
TILES = [(12 + column * 234, 101 + row * 262) for row in (0, 1) for column in range(4)]  # left, top; facts in one line


def tile(figure: Figure, index: int) -> np.ndarray:
    left, top = TILES[index]
    return figure.rgb[top : top + SIZE, left : left + SIZE].astype(int)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(60, 200, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def planes():
    """A band of artery above, a band of vein below, and between them a band with half coverage by artery."""
    planes = np.zeros((4, SIZE, SIZE), np.uint8)
    planes[0, 20:60], planes[1, 160:200], planes[0, 100:120] = 255, 255, 128
    planes[2] = np.maximum(planes[0], planes[1])
    planes[3] = 255
    return planes


@pytest.fixture
def saliency():
    """From 0 at the left to 2 at the right."""
    return np.tile(np.linspace(0, 2, SIZE), (SIZE, 1))


# Mean maps


@pytest.mark.parametrize("scaling", ["minmax", "raw"])
def test_mean_maps_are_those_of_a_plain_loop(scaling):
    rng = np.random.default_rng(1)
    cams = rng.normal(size=(150, 6, 6)).astype(np.float32)  # more than two blocks
    labels, mirrored = rng.integers(0, 2, 150), rng.random(150) < 0.5
    maps = [saliency_maps(torch.from_numpy(cam[None]), 24, scaling)[0].numpy() for cam in cams]
    maps = np.array([one[:, ::-1] if flip else one for one, flip in zip(maps, mirrored, strict=True)])
    found = mean_maps(cams, labels, mirrored, 24, scaling)
    for name, group in (("all", labels >= 0), ("positive", labels == 1), ("negative", labels == 0)):
        np.testing.assert_allclose(found[name].values, maps[group].mean(axis=0), rtol=1e-5)
        assert (found[name].used, found[name].images) == (group.sum(), group.sum())


def test_left_eyes_lie_on_right_ones():
    cam = np.zeros((1, 4, 4), np.float32)
    cam[0, 1, 0] = 1
    both = np.concatenate([cam, cam[:, :, ::-1]])
    found = mean_maps(both, np.array([1, 1]), np.array([False, True]), 16)["all"].values
    np.testing.assert_allclose(found, saliency_maps(torch.from_numpy(cam), 16)[0].numpy(), atol=1e-6)


def test_empty_and_broken_maps_have_no_part_in_the_mean():
    cams = np.ones((4, 4, 4), np.float32) * np.arange(16, dtype=np.float32).reshape(4, 4)
    cams[1], cams[2, 0, 0] = -1, np.nan
    found = mean_maps(cams, np.array([1, 1, 0, 0]), np.zeros(4, bool), 8)
    alone = mean_maps(cams[:1], np.array([1]), np.zeros(1, bool), 8)["all"].values
    assert {name: (one.used, one.images) for name, one in found.items()} == {
        "all": (2, 4),
        "positive": (1, 2),
        "negative": (1, 2),
    }
    for one in found.values():
        np.testing.assert_allclose(one.values, alone)


def test_no_positives_and_no_images():
    cams = np.ones((2, 4, 4), np.float32) * np.eye(4, dtype=np.float32)
    found = mean_maps(cams, np.zeros(2, int), np.zeros(2, bool), 8)
    assert (found["positive"].used, found["positive"].images) == (0, 0)
    assert not found["positive"].values.any()
    assert found["negative"].values.any()
    nothing = mean_maps(cams[:0], np.zeros(0, int), np.zeros(0, bool), 8)
    assert all(one.images == 0 and one.values.shape == (8, 8) and not one.values.any() for one in nothing.values())


def test_memory_does_not_grow_with_the_images():
    def peak(n: int) -> int:
        cams, flags = np.ones((n, 4, 4), np.float32), np.zeros(n, bool)
        tracemalloc.start()
        mean_maps(cams, flags.astype(int), flags, 112)
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    assert peak(640) < 1.5 * peak(64)


def test_mean_of_mirrored_images(image):
    pictures = np.stack([image, image[:, ::-1], 255 - image])
    same = mirrored_mean(pictures, np.array([0, 1]), np.array([False, True]))
    np.testing.assert_allclose(same, image)
    grey = mirrored_mean(pictures, np.array([0, 2]), np.array([False, False]))
    np.testing.assert_allclose(grey, np.full(image.shape, 127.5))
    plane = mirrored_mean(pictures[..., 0], np.array([1]), np.array([True]))
    np.testing.assert_allclose(plane, image[..., 0])
    assert not mirrored_mean(pictures, np.array([], int), np.array([], bool)).any()


# Colours


def test_vessels_are_engraved_and_nothing_becomes_brighter():
    """A dark and a bright line on a uniform image, under a uniform map."""
    image = np.full((SIZE, SIZE, 3), 150, np.uint8)
    image[50:54], image[150:154] = 90, 230
    saliency, fov = np.full((SIZE, SIZE), 0.7), np.ones((SIZE, SIZE))
    fov[:, :30] = 0
    plain, found = colours(saliency, 1), overlay(image, saliency, fov, 1)
    assert (found <= plain + 1e-9).all()
    assert (found[51:53, 60:] < 0.9 * plain[51:53, 60:]).all()
    assert (found > 0.5 * plain - 1e-9).all(), "the map's own colour prevails"
    np.testing.assert_allclose(found[151:153, 60:], plain[151:153, 60:])
    np.testing.assert_allclose(found[:, :30], plain[:, :30])


# The panel of one image


def test_every_tile_of_the_panel_shows_its_own(image, saliency, planes):
    figure = panel(image, saliency, planes, "eye.jpg", "positive")
    heat = np.rint(colours(saliency, 2)).astype(int)
    np.testing.assert_array_equal(tile(figure, 0), image)
    left_out = tile(figure, 4)[0, 0]
    rows = {"artery": slice(22, 58), "vein": slice(162, 198), "nothing": slice(70, 90)}
    seen = {4: ["artery"], 5: ["vein"], 6: ["artery", "vein"], 7: ["nothing"]}
    for index, regions in seen.items():
        for region, part in rows.items():
            expected = heat[part] if region in regions else np.broadcast_to(left_out, heat[part].shape)
            np.testing.assert_allclose(tile(figure, index)[part], expected, atol=1, err_msg=f"tile {index}, {region}")
    for index, shown in ((2, "artery"), (3, "vein")):
        for region, part in rows.items():
            assert (tile(figure, index)[part] == left_out).all() == (region != shown)


def test_half_a_pixel_of_vessel_has_half_the_colour(image, saliency, planes):
    figure = panel(image, saliency, planes, "eye.jpg", "positive")
    heat, part = colours(saliency, 2), slice(104, 116)
    left_out = tile(figure, 4)[0, 0]
    share = 128 / 255
    for index, weight in ((4, share), (6, share), (7, 1 - share)):
        np.testing.assert_allclose(tile(figure, index)[part], weight * heat[part] + (1 - weight) * left_out, atol=1)


def test_what_is_left_out_is_no_colour_of_the_scale(image, saliency, planes):
    left_out = tile(panel(image, saliency, planes, "eye.jpg", "positive"), 4)[0, 0]
    scale = colours(np.linspace(0, 1, 256)[None], 1)[0]
    assert np.abs(scale - left_out).max(axis=1).min() > 30


def test_non_vessel_does_not_end_with_the_field_of_view(image, saliency, planes):
    planes[:, :, 150:] = 0
    corner = (slice(70, 90), slice(160, 224))
    shown = tile(panel(image, saliency, planes, "a", "b"), 7)
    np.testing.assert_allclose(shown[corner], colours(saliency, 2)[corner], atol=1)


def test_the_alternative_text_names_the_means():
    planes = np.zeros((4, SIZE, SIZE), np.uint8)
    planes[0, :50], planes[2, :50], planes[3] = 255, 255, 255
    saliency = np.full((SIZE, SIZE), 0.2)
    saliency[:50] = 0.8
    alt = panel(np.zeros((SIZE, SIZE, 3), np.uint8), saliency, planes, "eye.jpg", "positive", "LayerCAM").alt
    assert "eye.jpg, positive" in alt
    assert "LayerCAM inside arteries (mean 0.80), veins (no mean), both (mean 0.80) and non-vessel (mean 0.20)" in alt
    assert "LayerCAM peaks at the upper left" in alt


@pytest.mark.parametrize(
    "name", ["x" * 400 + ".jpg", "two\nlines\t.jpg", "眼底.jpg" * 40, "Zoë – ½×2.jpg", "\udce9.jpg", ""]
)
def test_no_name_overflows(image, saliency, planes, name):
    figure = panel(image, saliency, planes, name, "a word and " * 30 + "y" * 300)
    assert figure.rgb.shape[1] == 4 * 234 + 14
    margin = np.concatenate([figure.rgb[:, :10], figure.rgb[:, -10:]], axis=1)
    assert (margin == 255).all()


def test_a_long_name_keeps_both_ends(image, saliency, planes):
    def heading(name: str) -> np.ndarray:
        return panel(image, saliency, planes, name, "").rgb[12:40]

    long = heading("begin" + "x" * 300 + "end.jpg")
    assert (long[:, :50] == heading("begin" + "x" * 20)[:, :50]).all()
    assert (long != heading("begin" + "x" * 300 + "END.jpg")).any()


def test_letters_of_other_languages_are_drawn(image, saliency, planes):
    """All differ; a box or a question mark would be the same for each."""

    def heading(name: str) -> bytes:
        return panel(image, saliency, planes, name, "").rgb[12:40].tobytes()

    names = ["Łódź", "Lodz", "λόδζ", "лодз", "Zoë", "Zoe", "5 – 6", "5 - 6"]
    assert len({heading(name) for name in names}) == len(names)
    assert heading("Zoe\u0308") == heading("Zoë"), "as some systems write file names"


def test_no_map_and_no_vessels_still_make_a_panel(image):
    figure = panel(image, np.zeros((SIZE, SIZE)), np.zeros((4, SIZE, SIZE), np.uint8), "eye.jpg", "no ratio")
    assert figure.rgb.dtype == np.uint8
    assert "inside arteries (no mean)" in figure.alt


def test_what_cannot_be_shown_is_refused(image, saliency, planes):
    with pytest.raises(ValueError, match=r"eye\.jpg: its map is not finite"):
        panel(image, np.where(saliency > 1, np.nan, saliency), planes, "eye.jpg", "")
    with pytest.raises(ValueError, match=r"eye\.jpg: .*\(16, 16\)"):
        panel(image, np.ones((16, 16)), planes, "eye.jpg", "")


# The mean maps side by side


def means(positive: float, negative: float, used: int = 5) -> dict[str, MeanMap]:
    even = np.ones((SIZE, SIZE))
    return {
        "all": MeanMap(even * (positive + negative) / 2, used + 5, 10),
        "positive": MeanMap(even * positive, used, 5),
        "negative": MeanMap(even * negative, 5, 5),
    }


def test_mean_maps_share_one_scale():
    nothing = np.zeros((SIZE, SIZE))
    figure = mean_panel(means(0.6, 0.2), np.full((SIZE, SIZE, 3), 90.0), nothing, "cell", "test")
    assert (tile(figure, 0) == 90).all()
    for index, value in ((1, 0.4), (2, 0.6), (3, 0.2)):
        np.testing.assert_allclose(tile(figure, index)[5, 5], colours(np.array([[value]]), 0.6)[0, 0], atol=1)


def test_a_group_without_maps_is_no_zero():
    nothing = np.zeros((SIZE, SIZE))
    figure = mean_panel(means(0.0, 0.2, used=0), np.zeros((SIZE, SIZE, 3)), nothing, "cell", "test")
    zero = colours(np.zeros((1, 1)), 1)[0, 0]
    assert np.abs(tile(figure, 2) - zero).min() > 30
    assert "positives (n = 0 of 5): no map; negatives (n = 5): peaks" in figure.alt


def test_the_line_encloses_where_vessels_are_most_frequent():
    vessels = np.zeros((SIZE, SIZE))
    vessels[:, 168:] = 40.0
    figure = mean_panel(means(0.4, 0.4), np.zeros((SIZE, SIZE, 3)), vessels, "cell", "test")
    lit = (tile(figure, 0) > 100).all(axis=2)
    assert lit[20:200, 164:172].any(axis=1).all()
    assert not lit[:, :160].any()
    assert not lit[:, 176:].any()


def test_a_single_map_has_the_same_line():
    vessels = np.zeros((SIZE, SIZE))
    vessels[:, 168:] = 40.0
    picture = np.zeros((SIZE, SIZE, 3))
    figure = mean_panel(means(0.4, 0.4), picture, vessels, "cell", "test")
    np.testing.assert_allclose(with_arcades(picture, vessels), tile(figure, 0), atol=0.5)
    assert not with_arcades(picture, np.zeros((SIZE, SIZE))).any(), "no vessels, no line"


def test_no_images_at_all_still_make_a_figure():
    nothing = np.zeros((0, 4, 4), np.float32)
    maps = mean_maps(nothing, np.zeros(0, int), np.zeros(0, bool), SIZE)
    figure = mean_panel(maps, np.zeros((SIZE, SIZE, 3)), np.zeros((SIZE, SIZE)), "cell", "test")
    assert "all (n = 0): no map" in figure.alt


# An image without masks next to its map


def test_an_image_and_its_map_are_shown_pixel_by_pixel():
    picture = np.full((PAIR_TILE, PAIR_TILE, 3), 90, np.uint8)
    saliency = np.tile(np.linspace(0, 2, PAIR_TILE), (PAIR_TILE, 1))
    everywhere = np.full((PAIR_TILE, PAIR_TILE), 255, np.uint8)
    figure = map_panel(picture, saliency, everywhere, "eye.jpg", "score 0.700")
    left, heat = (
        figure.rgb[101 : 101 + PAIR_TILE, start : start + PAIR_TILE].astype(int) for start in (12, 22 + PAIR_TILE)
    )
    assert (left == 90).all()
    np.testing.assert_allclose(heat, colours(saliency, 2), atol=1)
    assert figure.rgb.shape[1] == 950, "as wide as the other figures"
    assert figure.alt == "eye.jpg, score 0.700: image and Grad-CAM. Grad-CAM peaks at the upper right."


def test_a_map_of_zeros_is_said_to_be_empty_and_one_of_nan_is_refused():
    nothing = np.zeros((32, 32))
    arguments = np.zeros((32, 32, 3), np.uint8), nothing, np.full((32, 32), 255, np.uint8)
    assert map_panel(*arguments, "eye.jpg", "").alt.endswith("Grad-CAM is zero everywhere.")
    with pytest.raises(ValueError, match=r"eye\.jpg: its map is not finite"):
        map_panel(arguments[0], nothing + np.nan, arguments[2], "eye.jpg", "")
    with pytest.raises(ValueError, match=r"eye\.jpg: .*\(16, 16\)"):
        map_panel(arguments[0], np.ones((16, 16)), arguments[2], "eye.jpg", "")
