import numpy as np
import pytest
from PIL import Image

from benchmark.synthetic import SyntheticCohort, plan
from benchmark.synthetic.eye import draw_eye
from xai.placement import TURNED, turn
from xai.vessels import FundusImage, open_source


@pytest.fixture
def drawn(tmp_path):
    """A row of the manifest with its two mask files, and what they show."""
    artery, vein = np.random.default_rng(0).random((2, 20, 30)) < 0.3
    row = {"image": "eye.jpg", "artery_mask": str(tmp_path / "artery.png"), "vein_mask": str(tmp_path / "vein.png")}
    Image.fromarray(artery).save(row["artery_mask"])
    Image.fromarray(vein).save(row["vein_mask"])
    return row, artery, vein


def fundus(row, shape=(20, 30)):
    return FundusImage(np.zeros((*shape, 3), dtype=np.uint8), np.ones(shape, dtype=bool), row)


def test_masks_are_read_as_they_are(drawn):
    row, artery, vein = drawn
    source = open_source("masks")
    (masks,) = source.segment([fundus(row)])
    np.testing.assert_array_equal(masks.artery, artery)
    np.testing.assert_array_equal(masks.vein, vein)
    assert not masks.uncertain.any()
    assert source.provenance["name"] == "masks"
    assert "half of the range" in source.provenance["inside"]


def test_one_map_of_both_named_twice_is_read_as_two_masks(drawn):
    row, artery, vein = drawn
    colours = np.zeros((*artery.shape, 3), np.uint8)
    colours[artery], colours[vein], colours[artery & vein] = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    Image.fromarray(colours).save(row["artery_mask"])
    (masks,) = open_source("masks").segment([fundus(row | {"vein_mask": row["artery_mask"]})])
    np.testing.assert_array_equal(masks.artery, artery)
    np.testing.assert_array_equal(masks.vein, vein)


@pytest.mark.parametrize("same", ["file", "pixels"])
def test_one_mask_under_both_names_is_refused(drawn, same):
    """Artery and vein ratios would silently be equal."""
    row, artery, _ = drawn
    Image.fromarray(artery).save(row["vein_mask"])
    row = row | ({"vein_mask": row["artery_mask"]} if same == "file" else {})
    with pytest.raises(
        ValueError, match=r"eye\.jpg: artery_mask .* and vein_mask .* mark the same pixels: name a mask"
    ):
        open_source("masks").segment([fundus(row)])


def test_empty_masks_are_read(drawn):
    row, artery, _ = drawn
    for column in ("artery_mask", "vein_mask"):
        Image.fromarray(np.zeros_like(artery)).save(row[column])
    (masks,) = open_source("masks").segment([fundus(row)])
    assert not (masks.artery | masks.vein).any()


@pytest.mark.parametrize("column", ["artery_mask", "vein_mask"])
def test_black_vessels_on_white_are_refused(drawn, column):
    """mantasu/glasses-detector#23 (kind): an inverted mask made nearly all of the retina a vessel."""
    row, artery, _ = drawn
    Image.fromarray(~artery).save(row[column])
    with pytest.raises(ValueError, match=rf"^{column} .* covers \d+% of the field of view: .*white on black$"):
        open_source("masks").segment([fundus(row)])


@pytest.fixture(scope="module")
def eye():
    cohort = SyntheticCohort(patients=4, image_size=160, seed=1)
    row = plan(cohort)[0]
    return draw_eye(cohort, row["patient_id"], row["eye"], row["severity"], False)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn_on", ["stored", "upright"])
def test_masks_lie_on_a_image_that_exif_turns(tmp_path, eye, orientation, drawn_on):
    """wkentaro/labelme#1529, facebookresearch/detectron2#788: the image is turned, and masks were not."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    row = {"image": "eye.jpg"}
    for part, mask in (("artery", eye.artery), ("vein", eye.vein)):
        row[f"{part}_mask"] = str(tmp_path / f"{part}.png")
        Image.fromarray(np.ascontiguousarray(turn(mask, back) if drawn_on == "stored" else mask)).save(
            row[f"{part}_mask"]
        )
    (masks,) = open_source("masks").segment([FundusImage(eye.rgb, eye.fov, row, orientation)])
    np.testing.assert_array_equal(masks.artery, eye.artery)
    np.testing.assert_array_equal(masks.vein, eye.vein)
    assert masks.note == (TURNED if drawn_on == "stored" and orientation > 1 else "")


def test_masks_that_could_lie_either_way_are_refused(drawn):
    row, *_ = drawn
    grey = np.full((20, 30, 3), 90, np.uint8)
    with pytest.raises(ValueError, match=r"artery_mask .*artery\.png: EXIF turns the image \(orientation 3\)"):
        open_source("masks").segment([FundusImage(grey, np.ones((20, 30), bool), row, 3)])


def test_masks_of_two_sizes_are_placed_one_by_one(drawn):
    row, artery, vein = drawn
    Image.fromarray(np.ascontiguousarray(artery.T)).save(row["artery_mask"])
    (masks,) = open_source("masks").segment(
        [FundusImage(np.zeros((20, 30, 3), np.uint8), np.ones((20, 30), bool), row, 5)]
    )
    np.testing.assert_array_equal(masks.artery, artery)
    np.testing.assert_array_equal(masks.vein, vein)


def test_several_images_keep_their_order(drawn):
    row, *_ = drawn
    swapped = row | {"artery_mask": row["vein_mask"], "vein_mask": row["artery_mask"]}
    first, second = open_source("masks").segment([fundus(row), fundus(swapped)])
    np.testing.assert_array_equal(first.artery, second.vein)
    np.testing.assert_array_equal(first.vein, second.artery)


def test_a_mask_of_another_size_is_refused_by_name(drawn):
    row, *_ = drawn
    with pytest.raises(ValueError, match=r"artery\.png: the mask is 30x20 pixels, its image 60x40"):
        open_source("masks").segment([fundus(row, (40, 60))])


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_value_names_image_and_column(drawn, value):
    row, *_ = drawn
    with pytest.raises(ValueError, match=r"eye\.jpg: no vein_mask in the manifest"):
        open_source("masks").segment([fundus(row | {"vein_mask": value})])


def test_a_missing_column_names_image_and_column():
    with pytest.raises(ValueError, match=r"eye\.jpg: no artery_mask in the manifest"):
        open_source("masks").segment([fundus({"image": "eye.jpg"})])


@pytest.mark.parametrize("content", [None, b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_file_is_named(drawn, tmp_path, content):
    row, *_ = drawn
    path = tmp_path / "other.png"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.png: cannot be read as a mask"):
        open_source("masks").segment([fundus(row | {"artery_mask": str(path)})])
