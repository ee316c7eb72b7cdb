"""The selected images depend only on the ratios and the patients."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xai.examples import GROUPS, Example, choose


def chosen(ratios, patients=None, no_vessels=None, k=1):
    """Groups and indices; by default each image is of another patient and all vessels were detected."""
    n = len(ratios)
    patients = np.arange(n).astype(str) if patients is None else patients
    no_vessels = np.zeros(n, bool) if no_vessels is None else np.array(no_vessels)
    found = choose(np.array(ratios, dtype=float), patients, no_vessels, k)
    return [(example.group, example.index) for example in found]


def test_highest_middle_and_lowest():
    assert chosen([1.0, 5.0, 3.0, 4.0, 2.0]) == [("best", 1), ("median", 2), ("worst", 0)]
    assert chosen([1, 2, 3, 4, 5, 6, 7, 8, 9], k=2) == [
        *[("best", 8), ("best", 7)],
        *[("median", 4), ("median", 3)],
        *[("worst", 1), ("worst", 0)],
    ]


def test_an_example_has_its_rank():
    (best, median, worst) = choose(np.array([1.5, np.nan, 0.5, 2.5]), list("abcd"), np.zeros(4, bool), 1)
    assert best == Example("best", index=3, rank=1, ranked=3, ratio=2.5)
    assert median == Example("median", index=0, rank=2, ranked=3, ratio=1.5)
    assert worst == Example("worst", index=2, rank=3, ranked=3, ratio=0.5)


def test_a_patient_is_shown_once():
    """One patient has the three highest ratios and the lowest."""
    ratios, patients = [9, 8, 7, 0, 5, 4, 3, 2], list("aaaabcde")
    assert chosen(ratios, patients) == [("best", 0), ("median", 5), ("worst", 7)]


def test_ties_fall_in_the_order_given():
    assert chosen([2, 2, 2, 2, 2, 2]) == [("best", 0), ("median", 3), ("worst", 5)]
    assert chosen([1.0, 2.0] * 100) == [("best", 1), ("median", 0), ("worst", 198)]


def test_images_without_a_ratio_or_without_vessels_are_not_shown():
    ratios = [np.nan, 9, 1, 2, 3, np.inf, -np.inf]
    assert chosen(ratios, no_vessels=[False, True, *[False] * 5]) == [("best", 4), ("median", 3), ("worst", 2)]
    assert chosen([np.nan, np.nan]) == []


def test_few_patients_are_shared_out():
    assert chosen([3.0], k=3) == [("best", 0)]
    assert chosen([3.0, 1.0], k=3) == [("best", 0), ("worst", 1)]
    assert chosen([4.0, 3.0, 2.0, 1.0], k=3) == [("best", 0), ("best", 1), ("median", 2), ("worst", 3)]
    assert chosen([], k=3) == []
    assert chosen([1.0, 2.0], k=0) == []


@pytest.mark.parametrize(
    ("patients", "flags", "k", "reason"),
    [("ab", 2, -1, "k must be at least 0"), ("a", 2, 1, "1 patients"), ("ab", 3, 1, "3 flags")],
)
def test_bad_input_is_refused(patients, flags, k, reason):
    with pytest.raises(ValueError, match=reason):
        choose(np.ones(2), list(patients), np.zeros(flags, bool), k)


cohorts = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, np.nan]), st.sampled_from("abcdefgh")))


@given(cohorts, st.integers(0, 4))
def test_the_rule_on_any_cohort(cohort, k):
    ratios, patients = np.array([ratio for ratio, _ in cohort]), [patient for _, patient in cohort]
    found = choose(ratios, patients, np.zeros(len(cohort), bool), k)
    can_be_shown = {patient for ratio, patient in cohort if not np.isnan(ratio)}
    assert len(found) == len({patients[example.index] for example in found}) == min(3 * k, len(can_be_shown))
    sizes = Counter(example.group for example in found)
    assert max((sizes[group] for group in GROUPS), default=0) - min(sizes[group] for group in GROUPS) <= 1
    assert all(example.ratio == ratios[example.index] for example in found)
    by_rank = sorted(found, key=lambda example: example.rank)
    assert [example.ratio for example in by_rank] == sorted((example.ratio for example in found), reverse=True)
    if found:
        assert found[0].ratio == np.nanmax(ratios)


@given(st.lists(st.floats(0.1, 9), min_size=9, max_size=20, unique=True), st.randoms())
def test_the_order_of_the_images_does_not_matter(ratios, shuffle):
    order = list(range(len(ratios)))
    shuffle.shuffle(order)
    there = [(group, ratios[index]) for group, index in chosen(ratios, k=3)]
    shuffled = [ratios[index] for index in order]
    assert [(group, shuffled[index]) for group, index in chosen(shuffled, k=3)] == there
