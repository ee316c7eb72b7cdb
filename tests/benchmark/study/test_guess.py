"""What a table's columns, images and classes are guessed to be."""

import pytest

from benchmark.errors import UserError
from benchmark.study.guess import EYE_IN_NAME, ONE_IMAGE_EACH, guess, patient_pattern, positive_classes


def guessed(tmp_path, positive=None, **columns):
    return guess(columns, tmp_path / "t.csv", None, positive)


IMAGES = ["a.jpg", "b.JPG", "c.tif"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"image": IMAGES, "label": list("010"), "patient_id": list("123")}, "image label patient_id"),
        ({"MRN": list("123"), "Fundus Photo": IMAGES, "DR grade": list("024")}, "Fundus Photo|DR grade|MRN"),
        ({"x": IMAGES, "n": list("357"), "z": list("011")}, "x|z"),
        ({"id": list("123"), "file": IMAGES, "artery": IMAGES, "diagnosis": list("aab")}, "file|diagnosis|id"),
    ],
    ids=["as they should be", "other names", "by their values", "two columns of files"],
)
def test_columns(tmp_path, columns, expected):
    found = guessed(tmp_path, **columns).columns
    names = expected.split("|") if "|" in expected else expected.split()
    assert [found[column].value for column in ("image", "label", "patient_id") if column in found] == names


def test_columns_with_other_values_are_remarked_and_not_read(tmp_path):
    columns = {
        "image": IMAGES,
        "label": list("010"),
        "eye": ["both"] * 3,
        "split": ["fold1"] * 3,
        "Quality": list("abc"),
    }
    found = guessed(tmp_path, **columns)
    assert set(found.columns) == {"image", "label"}
    assert [remark.split(":")[0] for remark in found.remarks] == [
        "Column eye is not read as eye",
        "Column split is not read as split",
        "Column Quality is not used",
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"a": ["1", "2", "3"], "label": list("010")},
            "no column names image files; name it image (the header has a, ",
        ),
        ({"image": IMAGES, "age": ["3", "3", "3"]}, "no column has 2 to 20 different labels; name it label"),
        ({"image": [], "label": []}, "has no row below its header"),
    ],
)
def test_a_table_without_images_or_labels(tmp_path, columns, message):
    with pytest.raises(UserError) as caught:
        guessed(tmp_path, **columns)
    assert message in str(caught.value)


def test_named_positive_classes_must_exist(tmp_path):
    with pytest.raises(UserError, match="names 'sever', but the classes are no and severe; did you mean severe"):
        guessed(tmp_path, image=IMAGES, label=["no", "severe", "no"], positive=["sever"])


def test_the_folder_with_most_images_is_found(tmp_path):
    (tmp_path / "deep" / "photos").mkdir(parents=True)
    for name in IMAGES[:2]:
        (tmp_path / "deep" / "photos" / name).touch()
    (tmp_path / IMAGES[0]).touch()
    found = guessed(tmp_path, image=IMAGES, label=list("010"))
    assert found.image_dir is not None
    assert found.image_dir.value == str(tmp_path / "deep" / "photos")
    (tmp_path / IMAGES[1]).touch()
    assert guessed(tmp_path, image=IMAGES, label=list("010")).image_dir is None, "the table's own folder"


@pytest.mark.parametrize(
    ("labels", "positive", "sure"),
    [
        (["no plaque", "plaque"], ["plaque"], True),
        (["severe", "normal", "mild"], ["mild", "severe"], False),
        (["10", "2", "0"], ["2", "10"], False),
        (["cat", "dog"], ["dog"], False),
    ],
)
def test_the_positive_classes(labels, positive, sure):
    found = positive_classes([*labels, "", "NA"])
    assert found is not None
    assert (found.value, found.sure) == (positive, sure)


def test_zero_and_one_need_no_positive_class():
    assert positive_classes(["0", "1.0", "0.0", ""]) is None


def test_patients_in_the_names_of_images():
    assert patient_pattern(["x/7_left.jpg", "P 8-OD_2.png", "9_R.tif"]).value == EYE_IN_NAME
    found = patient_pattern(["7_left.jpg", "leftover.png", "7_large.jpg"])
    assert (found.value, found.sure) == (ONE_IMAGE_EACH, False)
