"""Splits by patient."""

import itertools
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.study.classes import Classes
from benchmark.study.config import Shares
from benchmark.study.splits import of_split, require_both_classes, require_enough_patients, split_patients

# The labels of each patient's images.
patients = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=4), min_size=1, max_size=60)
shares = st.sampled_from([(0.5, 0.2, 0.3), (0.7, 0.1, 0.2), (0.34, 0.33, 0.33), (0.8, 0.1, 0.1)])


def cohort(labels: list[list[int]]) -> pl.DataFrame:
    rows = [
        (f"{patient}_{i}", label, f"p{patient}") for patient, own in enumerate(labels) for i, label in enumerate(own)
    ]
    table = pl.DataFrame(rows, schema=["image", "label", "patient_id"], orient="row")
    return table.with_columns(pl.col("label").cast(pl.Int8), pl.lit(None, pl.String).alias("split"))


def divided(parts: tuple[float, float, float], seed: int = 0) -> Shares:
    return Shares(train=parts[0], val=parts[1], test=parts[2], seed=seed)


@given(patients, shares, st.integers(0, 5))
def test_every_image_has_a_split_and_no_patient_has_two(labels, parts, seed):
    table = cohort(labels)
    split = split_patients(table, divided(parts, seed))
    assert split.drop("split").equals(table.drop("split"))
    assert set(split["split"]) <= {"train", "val", "test"}
    assert split.group_by("patient_id").agg(pl.col("split").n_unique())["split"].max() == 1


@given(patients, shares)
def test_shares_are_met_as_nearly_as_both_labels_in_each_split_allow(labels, parts):
    """Within one patient of the share; in a smaller stratum, as close as possible with one patient in each split."""
    split = split_patients(cohort(labels), divided(parts))
    by_patient = split.group_by("patient_id").agg(pl.col("label").max(), pl.col("split").first())
    for positive in (0, 1):
        stratum = by_patient.filter(pl.col("label") == positive)["split"].to_list()
        counts = [stratum.count(name) for name in ("train", "val", "test")]
        wanted = [share * len(stratum) for share in parts]

        def distance(counts, wanted=wanted):
            return sum(abs(count - share) for count, share in zip(counts, wanted, strict=True))

        if max(abs(count - share) for count, share in zip(counts, wanted, strict=True)) > 1:
            n = len(stratum)
            filled = ((a, b, n - a - b) for a in range(1, n) for b in range(1, n - a))
            assert min(counts) >= 1
            assert distance(counts) <= min(map(distance, filled)) + 1e-9


def by_rounding(table: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    """The division by rounded shares only, without moving patients; earlier runs were divided in this way."""
    patients = table.group_by("patient_id").agg(pl.col("label").max()).sort("patient_id")
    generator = np.random.default_rng(shares.seed)
    chosen: dict[str, str] = {}
    for positive in (0, 1):
        stratum = generator.permutation(patients.filter(pl.col("label") == positive)["patient_id"].to_numpy())
        cuts = np.round(np.cumsum([shares.train, shares.val]) * len(stratum)).astype(int)
        for split, part in zip(("train", "val", "test"), np.split(stratum, cuts), strict=True):
            chosen |= dict.fromkeys(part.tolist(), split)
    return table.with_columns(split=pl.col("patient_id").replace_strict(chosen, return_dtype=pl.String))


def both_everywhere(table: pl.DataFrame) -> bool:
    held = table.group_by("split").agg(pl.col("label").n_unique())
    return len(held) == 3 and held["label"].min() == 2


@given(patients, shares, st.integers(0, 5))
def test_cohorts_that_rounding_divides_well_keep_their_splits(labels, parts, seed):
    table, parts = cohort(labels), divided(parts, seed)
    before = by_rounding(table, parts)
    if both_everywhere(before):
        assert split_patients(table, parts).equals(before)


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=2), min_size=1, max_size=7), shares, st.integers(0, 3))
def test_a_division_is_found_whenever_there_is_one(labels, parts, seed):
    """The result is compared with all ways to divide a few patients, some of whom have both labels."""
    exists = any(
        all({label for own, at in zip(labels, places, strict=True) if at == split for label in own} == {0, 1}
            for split in range(3))
        for places in itertools.product(range(3), repeat=len(labels))
    )  # fmt: skip
    table = cohort(labels)
    assert both_everywhere(split_patients(table, divided(parts, seed))) == exists
    if exists:
        require_enough_patients(table)
    else:
        with pytest.raises(UserError, match="cannot be divided into train, val and test"):
            require_enough_patients(table)


def test_four_positives_of_two_hundred():
    """A rare disease: rounded shares would leave validation without a positive patient."""
    split = split_patients(cohort([[1]] * 4 + [[0]] * 196), divided((0.7, 0.1, 0.2)))
    positive = split.filter(label=1)["split"].to_list()
    assert [positive.count(name) for name in ("train", "val", "test")] == [2, 1, 1]
    negative = split.filter(label=0)["split"].to_list()
    assert [negative.count(name) for name in ("train", "val", "test")] == [137, 20, 39]


def test_too_few_of_a_class_are_counted_by_name():
    with pytest.raises(UserError) as caught:
        require_enough_patients(cohort([[1], [0, 1]] + [[0]] * 50), Classes(("normal",), ("glaucoma",)))
    assert str(caught.value) == (
        "52 patients cannot be divided into train, val and test so that each has both labels: 50 have only label 0 "
        "(normal), 1 have only label 1 (glaucoma), 1 have both; add patients until three have each label"
    )


@given(patients, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(labels, generator: random.Random):
    table = cohort(labels)
    order = list(range(len(table)))
    generator.shuffle(order)
    straight, shuffled = split_patients(table, Shares()), split_patients(table[order], Shares())
    assert dict(straight.select("image", "split").rows()) == dict(shuffled.select("image", "split").rows())


def test_the_seed_decides():
    table = cohort([[0], [1]] * 30)
    assert split_patients(table, Shares(seed=1)).equals(split_patients(table, Shares(seed=1)))
    assert not split_patients(table, Shares(seed=1)).equals(split_patients(table, Shares(seed=2)))


def test_splits_that_the_manifest_gives_are_kept():
    table = cohort([[0], [1], [0]]).with_columns(split=pl.Series(["test", "test", "train"]))
    assert split_patients(table, Shares()).equals(table)


def test_each_split_needs_both_classes():
    table = cohort([[0], [1], [1], [1]]).with_columns(split=pl.Series(["train", "train", "val", "val"]))
    with pytest.raises(UserError) as caught:
        require_both_classes(table)
    fix = "both classes are needed: add patients or change the shares"
    assert str(caught.value).splitlines() == [
        f"split val has only label 1 (2 images); {fix}",
        f"split test has no image; {fix}",
    ]


def test_a_label_is_called_by_its_name():
    table = cohort([[0], [1], [1], [0], [1]]).with_columns(split=pl.Series(["train", "train", "val", "test", "test"]))
    with pytest.raises(UserError, match=r"^split val has only label 1 \(glaucoma\) \(1 images\); .* needed: do this$"):
        require_both_classes(table, Classes(("normal",), ("glaucoma",)), "do this")


def test_a_cohort_with_both_classes_everywhere_passes():
    require_both_classes(split_patients(cohort([[0], [1]] * 10), Shares()))


def test_images_of_a_split_keep_their_order():
    images = pl.DataFrame({"image": list("dbac"), "split": ["test", "train", "test", None]})
    assert of_split(images, "test")["image"].to_list() == ["d", "a"]
    assert of_split(images, "val").is_empty()
