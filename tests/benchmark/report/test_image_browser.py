"""The files of the image browser, compared with the arrays that they were made of."""

import base64
import json

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from benchmark.report.image_browser import Column, grid_levels, write_data, write_pictures
from xai.gradcam import saliency_maps
from xai.palette import ARTERY_COLOUR, LINE_COLOUR, VEIN_COLOUR, colours


@pytest.mark.parametrize("scaling", ["minmax", "raw"])
def test_levels_are_the_maps_of_the_study_on_their_own_grid(scaling):
    cams = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)
    levels, mapped = grid_levels(cams, scaling)
    maps = saliency_maps(torch.from_numpy(cams), 16, scaling).numpy()
    expected = 255 * maps / maps.max(axis=(1, 2), keepdims=True)
    assert mapped.all() and levels.dtype == np.uint8
    np.testing.assert_allclose(levels, expected, atol=0.5001)


def test_a_missing_map_and_one_without_a_positive_value_are_told_apart():
    cams = np.stack([np.full((4, 4), np.nan), np.full((4, 4), -1.0), np.eye(4)])
    levels, mapped = grid_levels(cams, "raw")
    assert mapped.tolist() == [False, True, True]
    assert levels[:2].max() == 0 and levels[2].max() == 255


def test_a_fine_map_is_shown_on_a_coarser_grid_of_its_positive_values():
    cams = np.zeros((1, 64, 64), np.float32)
    cams[0, :2, :2] = [[1, 1], [1, 1]]
    cams[0, 4:6, 0:2] = [[1, 0], [0, -5]]
    levels, _ = grid_levels(cams, "raw")
    assert levels.shape == (1, 32, 32)
    assert (levels[0, 0, 0], levels[0, 2, 0]) == (255, round(255 / 4))
    assert (levels[0] > 0).sum() == 2


def test_pictures_are_the_images_and_the_masks_in_their_colours(tmp_path):
    images = np.full((3, 8, 8, 3), 200, np.uint8)
    images[2] = 90
    regions = np.zeros((2, 4, 8, 8), np.uint8)
    regions[0, 0, 1], regions[0, 1, :, 5] = 255, 200
    regions[0, 3, 2:7, 1:] = 255
    write_pictures(tmp_path, images, np.array([2, 0]), regions, np.array([True, False]))
    assert sorted(file.name for file in (tmp_path / "images").iterdir()) == ["000000.jpg", "000001.jpg"]
    assert [file.name for file in (tmp_path / "masks").iterdir()] == ["000000.png"], "the second has no masks"
    shown = np.asarray(Image.open(tmp_path / "masks" / "000000.png").convert("RGBA"))
    assert tuple(shown[1, 0]) == (*ARTERY_COLOUR, 255)
    assert tuple(shown[3, 5]) == (*VEIN_COLOUR, 255)
    assert tuple(shown[6, 2]) == tuple(shown[4, 1]) == (*LINE_COLOUR, 255), "the edge of the field of view"
    assert shown[3, 0, 3] == shown[4, 3, 3] == 0, "elsewhere the image shows"
    for name, value in (("000000", 90), ("000001", 200)):
        assert np.abs(np.asarray(Image.open(tmp_path / "images" / f"{name}.jpg")).astype(int) - value).max() <= 2


def test_what_exists_is_kept(tmp_path):
    images, regions = np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 4, 8, 8), np.uint8)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "000000.jpg").write_bytes(b"kept")
    write_pictures(tmp_path, images, np.array([0]), regions, np.array([False]))
    assert (tmp_path / "images" / "000000.jpg").read_bytes() == b"kept"


def test_the_script_holds_every_value_and_map(tmp_path):
    hostile = '</script><script>alert("x")</script>'
    table = pl.DataFrame(
        {
            "image": ["a.png", hostile],
            "score": [0.123456789, None],
            "flags": ["", "few vessels"],
            "masked": [True, False],
        }
    )
    cams = np.stack([np.eye(4), np.full((4, 4), np.nan)]).astype(np.float32)
    file = tmp_path / "browser.js"
    write_data(file, table, cams, "raw", float("inf"), "../../browser", [Column("score", "Score", 3)])
    text = file.read_text(encoding="utf-8")
    data = json.loads(text.removeprefix("window.BROWSER = ").removesuffix(";\n"))
    assert data["image"] == ["a.png", hostile]
    assert data["score"] == [0.123457, None]
    assert (data["masked"], data["mapped"], data["grid"]) == ([True, False], [True, False], [4, 4])
    assert data["file"] == ["000000", "000001"], "no file is named by a manifest"
    assert data["threshold"] > 1, "no score is predicted positive"
    maps = np.frombuffer(base64.b64decode(data["maps"]), np.uint8).reshape(2, 4, 4)
    np.testing.assert_array_equal(maps[0], 255 * np.eye(4))
    palette = np.frombuffer(base64.b64decode(data["palette"]), np.uint8).reshape(256, 3)
    np.testing.assert_allclose(palette, colours(np.arange(256), 255), atol=0.5001)
