"""Splits by person."""

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.config import Shares
from benchmark.errors import UserError
from benchmark.splits import require_both_classes, split_people

# The labels of each person's images.
people = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=4), min_size=1, max_size=60)
shares = st.sampled_from([(0.5, 0.2, 0.3), (0.7, 0.1, 0.2), (0.34, 0.33, 0.33), (0.8, 0.1, 0.1)])


def cohort(labels: list[list[int]]) -> pl.DataFrame:
    rows = [(f"{person}_{i}", label, f"p{person}") for person, own in enumerate(labels) for i, label in enumerate(own)]
    table = pl.DataFrame(rows, schema=["image", "label", "patient_id"], orient="row")
    return table.with_columns(pl.col("label").cast(pl.Int8), pl.lit(None, pl.String).alias("split"))


def divided(parts: tuple[float, float, float], seed: int = 0) -> Shares:
    return Shares(train=parts[0], val=parts[1], test=parts[2], seed=seed)


@given(people, shares, st.integers(0, 5))
def test_every_image_has_a_split_and_no_person_has_two(labels, parts, seed):
    table = cohort(labels)
    split = split_people(table, divided(parts, seed))
    assert split.drop("split").equals(table.drop("split"))
    assert set(split["split"]) <= {"train", "val", "test"}
    assert split.group_by("patient_id").agg(pl.col("split").n_unique())["split"].max() == 1


@given(people, shares)
def test_shares_are_met_within_one_person_in_either_stratum(labels, parts):
    split = split_people(cohort(labels), divided(parts))
    by_person = split.group_by("patient_id").agg(pl.col("label").max(), pl.col("split").first())
    for positive in (0, 1):
        stratum = by_person.filter(pl.col("label") == positive)["split"].to_list()
        for name, share in zip(("train", "val", "test"), parts, strict=True):
            assert abs(stratum.count(name) - share * len(stratum)) <= 1


@given(people, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(labels, generator: random.Random):
    table = cohort(labels)
    order = list(range(len(table)))
    generator.shuffle(order)
    straight, shuffled = split_people(table, Shares()), split_people(table[order], Shares())
    assert dict(straight.select("image", "split").rows()) == dict(shuffled.select("image", "split").rows())


def test_the_seed_decides():
    table = cohort([[0], [1]] * 30)
    assert split_people(table, Shares(seed=1)).equals(split_people(table, Shares(seed=1)))
    assert not split_people(table, Shares(seed=1)).equals(split_people(table, Shares(seed=2)))


def test_splits_that_the_manifest_gives_are_kept():
    table = cohort([[0], [1], [0]]).with_columns(split=pl.Series(["test", "test", "train"]))
    assert split_people(table, Shares()).equals(table)


def test_each_split_needs_both_classes():
    table = cohort([[0], [1], [1], [1]]).with_columns(split=pl.Series(["train", "train", "val", "val"]))
    with pytest.raises(UserError) as caught:
        require_both_classes(table)
    mend = "both classes are needed: add people or change the shares"
    assert str(caught.value).splitlines() == [
        f"split val has only label 1 (2 images); {mend}",
        f"split test has no image; {mend}",
    ]


def test_a_cohort_with_both_classes_everywhere_passes():
    require_both_classes(split_people(cohort([[0], [1]] * 10), Shares()))
