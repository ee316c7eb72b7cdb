"""Folds by patient."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.study.config import Folds, Shares
from benchmark.study.folds import Fold, all_tested, divided, folds_of, require_for_folds, sizes_of_fold

# At least six patients of each class, each with one to four images of one label.
counts = st.lists(st.integers(1, 4), min_size=6, max_size=20)


def cohort(positive: list[int], negative: list[int]) -> pl.DataFrame:
    rows = [
        (f"{name}{patient}-{image}", label, f"{name}{patient}")
        for label, name, own in ((1, "p", positive), (0, "n", negative))
        for patient, images in enumerate(own)
        for image in range(images)
    ]
    table = pl.DataFrame(rows, schema=["image", "label", "patient_id"], orient="row")
    return table.with_columns(pl.col("label").cast(pl.Int8), pl.lit(None, pl.String).alias("split"))


@given(counts, counts, st.integers(2, 3), st.integers(1, 3), st.integers(0, 5))
def test_every_patient_is_tested_once_per_repeat_and_is_never_in_two_splits(positive, negative, folds, repeats, seed):
    images, settings = cohort(positive, negative), Folds(folds=folds, repeats=repeats, seed=seed)
    found = divided(images, settings, Shares())
    assert list(found) == folds_of(settings)
    tested: dict[int, list[str]] = {}
    for fold, of_fold in found.items():
        assert of_fold.drop("split").equals(images.drop("split"))
        per_patient = of_fold.group_by("patient_id").agg(pl.col("split").unique(), pl.col("label").max())
        assert (per_patient["split"].list.len() == 1).all()
        for split in ("train", "val", "test"):
            assert set(of_fold.filter(split=split)["label"]) == {0, 1}, "both classes in every split"
        tested.setdefault(fold.repeat, []).extend(of_fold.filter(split="test")["patient_id"].unique())
    for names in tested.values():
        assert sorted(names) == sorted(images["patient_id"].unique())


@given(counts, counts, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter_and_the_seed_does(positive, negative, random):
    images = cohort(positive, negative)
    order = list(range(len(images)))
    random.shuffle(order)
    settings = Folds(folds=3, repeats=2, seed=4)
    for fold, of_fold in divided(images[order], settings, Shares()).items():
        assert of_fold.sort("image").equals(divided(images, settings, Shares())[fold].sort("image"))


def test_a_further_repeat_does_not_change_the_first():
    images = cohort([2] * 20, [1] * 30)
    first, more = (divided(images, Folds(folds=5, repeats=repeats), Shares()) for repeats in (1, 3))
    assert all(of_fold.equals(more[fold]) for fold, of_fold in first.items())
    assert not more[Fold(1, 1)].equals(more[Fold(2, 1)])
    other = divided(images, Folds(folds=5, seed=1), Shares())
    assert not first[Fold(1, 1)].equals(other[Fold(1, 1)])


def test_classes_and_validation_have_their_shares():
    """100 positive and 200 negative patients: 20 and 40 in each test fold, and of the others 2/7 for validation."""
    images = cohort([1] * 100, [1] * 200)
    for of_fold in divided(images, Folds(folds=5), Shares(train=0.5, val=0.2, test=0.3)).values():
        counted = {key: len(part) for key, part in of_fold.group_by("split", "label")}
        assert counted["test", 1] == 20
        assert counted["test", 0] == 40
        assert (counted["val", 1], counted["val", 0]) == (round(80 * 2 / 7), round(160 * 2 / 7))
    assert sizes_of_fold(300, Folds(folds=5), Shares()) == {"train": 171, "val": 69, "test": 60}


def test_folds_that_the_cohort_does_not_allow_are_refused_in_one_line():
    images = cohort([1] * 7, [1] * 30)
    require_for_folds(images, Folds(folds=3), "cohort.csv")
    with pytest.raises(
        UserError, match=r"^cohort.csv has 7 positive patients, but 5 folds need 2 in each: lower .* 3,"
    ):
        require_for_folds(images, Folds(folds=5), "cohort.csv")
    with pytest.raises(UserError, match=r"has 3 positive .*: add patients, or remove splits$"):
        require_for_folds(cohort([1] * 3, [1] * 9), Folds(folds=2), "cohort.csv")
    with pytest.raises(UserError, match=r"^cohort.csv says which images are train, .* remove the column split"):
        require_for_folds(images.with_columns(split=pl.lit("train")), Folds(folds=3), "cohort.csv")
    assert all_tested(images)["split"].unique().to_list() == ["test"]
