"""The same image under several names: refused in two splits, counted within one split."""

import polars as pl
import pytest

from benchmark.errors import UserError
from benchmark.study.repeats import refuse_in_two_splits, repeats

COLUMNS = ["image", "patient_id", "label", "split", "digest"]


def images(*rows) -> pl.DataFrame:
    return pl.DataFrame([row.split() for row in rows], schema=COLUMNS, orient="row").cast({"label": pl.Int8})


def test_images_without_repeats():
    own = images("a.jpg p1 0 train x", "b.jpg p1 0 train y", "c.jpg p2 1 test z")
    refuse_in_two_splits(own)
    assert repeats(own).is_empty()


def test_one_image_in_two_splits_is_refused():
    """JunkangZhang/RetinalSegReg#4: one file under two numbers, normal and abnormal."""
    shared = images(
        "a.jpg p1 0 train x", "b.jpg p2 1 test x", "c.jpg p3 0 val y", "d.jpg p4 0 train z", "e.jpg p5 1 val z"
    )
    with pytest.raises(UserError) as caught:
        refuse_in_two_splits(shared)
    assert str(caught.value).splitlines() == [
        "b.jpg (patient p2, test) is the same image as a.jpg (patient p1, train): remove one of them, or give both "
        "the same patient_id",
        "e.jpg (patient p5, val) is the same image as d.jpg (patient p4, train): remove one of them, or give both "
        "the same patient_id",
    ]


def test_many_pairs_are_cut_short():
    rows = [f"{split}{i}.jpg {split}{i} 0 {split} x{i}" for i in range(15) for split in ("train", "test")]
    with pytest.raises(UserError) as caught:
        refuse_in_two_splits(images(*rows))
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 5 more images in two splits"


def test_within_a_split_every_further_image_is_listed_with_the_first():
    same = images("a.jpg p1 0 train x", "b.jpg p2 1 train x", "c.jpg p1 0 train x", "d.jpg p3 0 test y")
    refuse_in_two_splits(same)
    found = repeats(same)
    assert found.columns == ["image", "patient_id", "label", "split", "same_as", "its_patient_id", "its_label"]
    assert found.rows() == [
        ("b.jpg", "p2", 1, "train", "a.jpg", "p1", 0),
        ("c.jpg", "p1", 0, "train", "a.jpg", "p1", 0),
    ]
