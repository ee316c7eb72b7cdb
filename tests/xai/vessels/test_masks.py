import numpy as np
import pytest
from PIL import Image

from xai.vessels import Photo, open_source


@pytest.fixture
def drawn(tmp_path):
    """A row of the manifest with its two mask files, and what they show."""
    artery, vein = np.random.default_rng(0).random((2, 20, 30)) < 0.3
    row = {"image": "eye.jpg", "artery_mask": str(tmp_path / "artery.png"), "vein_mask": str(tmp_path / "vein.png")}
    Image.fromarray(artery).save(row["artery_mask"])
    Image.fromarray(vein).save(row["vein_mask"])
    return row, artery, vein


def photo(row, shape=(20, 30)):
    return Photo(np.zeros((*shape, 3), dtype=np.uint8), np.ones(shape, dtype=bool), row)


def test_masks_are_read_as_they_are(drawn):
    row, artery, vein = drawn
    source = open_source("masks")
    (masks,) = source.segment([photo(row)])
    np.testing.assert_array_equal(masks.artery, artery)
    np.testing.assert_array_equal(masks.vein, vein)
    assert not masks.uncertain.any()
    assert source.provenance["name"] == "masks"


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda mask: mask.astype(np.uint8), id="grey 0/1"),
        pytest.param(lambda mask: mask.astype(np.uint16) * 300, id="16 bits"),
        pytest.param(lambda mask: mask[..., None] * np.array([0, 0, 1], dtype=np.uint8), id="faint blue"),
        pytest.param(lambda mask: np.dstack([mask[..., None] * [255] * 3, np.full(mask.shape, 255)]), id="with alpha"),
    ],
)
def test_any_nonzero_pixel_is_vessel(drawn, encode):
    row, artery, _ = drawn
    encoded = encode(artery)
    Image.fromarray(encoded if encoded.dtype != int else encoded.astype(np.uint8)).save(row["artery_mask"])
    np.testing.assert_array_equal(open_source("masks").segment([photo(row)])[0].artery, artery)


def test_several_photographs_keep_their_order(drawn):
    row, *_ = drawn
    swapped = row | {"artery_mask": row["vein_mask"], "vein_mask": row["artery_mask"]}
    first, second = open_source("masks").segment([photo(row), photo(swapped)])
    np.testing.assert_array_equal(first.artery, second.vein)
    np.testing.assert_array_equal(first.vein, second.artery)


def test_a_mask_of_another_size_is_refused_by_name(drawn):
    row, *_ = drawn
    with pytest.raises(ValueError, match=r"artery\.png: the mask is 30x20 pixels, its photograph 60x40"):
        open_source("masks").segment([photo(row, (40, 60))])


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_value_names_image_and_column(drawn, value):
    row, *_ = drawn
    with pytest.raises(ValueError, match=r"eye\.jpg: no vein_mask in the manifest"):
        open_source("masks").segment([photo(row | {"vein_mask": value})])


def test_a_missing_column_names_image_and_column():
    with pytest.raises(ValueError, match=r"eye\.jpg: no artery_mask in the manifest"):
        open_source("masks").segment([photo({"image": "eye.jpg"})])


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_an_unreadable_file_is_named(drawn, tmp_path, content):
    row, *_ = drawn
    path = tmp_path / "other.png"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.png: cannot be read as a mask"):
        open_source("masks").segment([photo(row | {"artery_mask": str(path)})])
