"""The status of an item follows from what fills it and from what is asked of the authors."""

from benchmark.report.study_card.items import Guideline, Item, Table, entries, entry
from tests.benchmark.report.study_card.runs import manifest_run


def words(facts):
    return [f"From {facts.results.cohort.source}."]


def nothing(facts):
    return []


def table(facts):
    return [Table("Counts", ("a", "b"), (("1", "2"),))]


FACTS = manifest_run()


def test_the_status_says_who_fills_an_item():
    whole = entry(Item("1", "Title", (words, table)), FACTS)
    assert (whole.status, whole.ask) == ("filled", "")
    assert whole.passage == ["From cohort.csv.", Table("Counts", ("a", "b"), (("1", "2"),))]
    assert entry(Item("1", "Title", (words,), "Add dates."), FACTS).status == "partly"
    assert entry(Item("1", "Title", (nothing, words)), FACTS).status == "filled"
    asked = entry(Item("1", "Title", (nothing,), "Add dates."), FACTS)
    assert (asked.status, asked.ask) == ("authors", "Add dates.")
    empty = entry(Item("1", "Title", (nothing,)), FACTS)
    assert empty.status == "authors"
    assert "no results" in empty.ask, "an item is never left without a word"


def test_sections_keep_their_order():
    a, b, c = (Item(number, number, ask="x.") for number in "abc")
    guideline = Guideline("G", "g", "cited", {"One": (a, b), "Two": (c,)})
    assert guideline.items == [a, b, c]
    assert {name: [each.item for each in found] for name, found in entries(guideline, FACTS).items()} == {
        "One": [a, b], "Two": [c],
    }  # fmt: skip
