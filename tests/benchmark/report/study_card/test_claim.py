"""The items of CLAIM 2024 have the numbers of the checklist, and each is filled in or asked for."""

import pytest

from benchmark.report.study_card.claim import CLAIM
from benchmark.report.study_card.items import entries
from tests.benchmark.report.study_card.runs import RUNS, manifest_run

NEED_RESULTS = {"38"}


def test_the_numbers_are_those_of_the_checklist():
    assert [item.number for item in CLAIM.items] == [str(number) for number in range(1, 45)]
    assert len({item.name for item in CLAIM.items}) == 44
    assert "2024;6:e240300" in CLAIM.citation


def test_only_what_no_run_knows_is_left_to_the_authors():
    found = {each.item.number: each.status for section in entries(CLAIM, manifest_run()).values() for each in section}
    assert {number for number, status in found.items() if status == "authors"} == {
        "3", "5", "11", "13", "15", "16", "18", "34", "41", "44",
    }  # fmt: skip
    assert {number for number, status in found.items() if status == "filled"} == {
        "9", "19", "20", "22", "23", "24", "25", "26", "27", "28", "29", "31", "32", "35", "37", "38",
    }  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_every_item_is_filled_in_or_asked_for(name):
    for section in entries(CLAIM, RUNS[name]()).values():
        for each in section:
            assert each.passage or each.ask, each.item.number
            if not each.item.ask and not (name == "without results" and each.item.number in NEED_RESULTS):
                assert each.status == "filled", each.item.number
