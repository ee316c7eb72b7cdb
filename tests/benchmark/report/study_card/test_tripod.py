"""The items of TRIPOD+AI have the numbers of the guideline, and each is filled in or asked for."""

import pytest

from benchmark.report.study_card.items import entries
from benchmark.report.study_card.tripod import TRIPOD
from tests.benchmark.report.study_card.runs import RUNS, manifest_run

# Collins et al. 2024: 27 items, 52 with their letters.
LETTERS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}
NUMBERS = [f"{number}{letter}" for number in range(1, 28) for letter in LETTERS.get(number, [""])]
# What no run can know.
OF_AUTHORS = {
    "3a", "3b", "3c", "5b", "6a", "6c", "8b", "8c", "14", "17", "18a", "18b", "18c", "18d", "18e", "19", "23b", "25",
    "27b", "27c",
}  # fmt: skip


def test_the_numbers_are_those_of_the_guideline():
    assert [item.number for item in TRIPOD.items] == NUMBERS
    assert len(NUMBERS) == 52
    assert len({item.name for item in TRIPOD.items}) == 52
    assert "BMJ 2024;385:e078378" in TRIPOD.citation


def test_every_item_is_filled_in_or_asked_for():
    for item in TRIPOD.items:
        assert item.fills or item.ask, item.number
        assert not item.ask or item.ask.endswith("."), item.number


def test_only_what_no_run_knows_is_left_to_the_authors():
    found = {each.item.number: each.status for section in entries(TRIPOD, manifest_run()).values() for each in section}
    assert {number for number, status in found.items() if status == "authors"} == OF_AUTHORS
    assert {number for number, status in found.items() if status == "filled"} == {
        "9a", "9c", "12a", "12b", "12c", "12g", "13", "15", "21",
    }  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_every_run_fills_in_what_needs_no_author(name):
    for section in entries(TRIPOD, RUNS[name]()).values():
        for each in section:
            assert each.status != "authors" or each.ask
            assert each.item.ask or each.status == "filled", each.item.number
