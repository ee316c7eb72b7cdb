"""What an item of a reporting guideline is, and what has been filled in for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.report.results import ExternalResult, Results
from benchmark.study.config import Study

# filled: the run knows all of it; partly: the authors add what the run cannot know; authors: the run knows nothing.
Status = Literal["filled", "partly", "authors"]


@dataclass(frozen=True)
class Facts:
    """What a card may use; it states nothing else.

    Attributes:
        study: the configuration of the run.
        results: its results. An external validation has test images only.
        development: for an external validation, the results of the run in which the models were trained, if they can
            be read.
    """

    study: Study
    results: Results
    development: Results | None = None

    @property
    def external(self) -> ExternalResult | None:
        """What the run adds as an external validation; None if its models were trained in it."""
        return self.results.external


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the rows."""

    caption: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Passage = Sequence[str | Table]  # paragraphs and tables; empty: the run knows nothing
Fill = Callable[[Facts], Passage]


@dataclass(frozen=True)
class Item:
    """An item of a guideline, named in our own words.

    Attributes:
        number: as in the guideline: "12c".
        name: what it is about.
        fills: what the run knows, in order.
        ask: what the authors must write or add; empty if the run knows all of it.
    """

    number: str
    name: str
    fills: tuple[Fill, ...] = ()
    ask: str = ""


@dataclass(frozen=True)
class Guideline:
    """A reporting guideline.

    Attributes:
        name: its name.
        key: its address on the card.
        citation: the article that has the official list.
        sections: the heading of a section -> its items, in the order of the guideline.
    """

    name: str
    key: str
    citation: str
    sections: dict[str, tuple[Item, ...]]

    @property
    def items(self) -> list[Item]:
        """All items, in order."""
        return [item for section in self.sections.values() for item in section]


@dataclass(frozen=True)
class Entry:
    """An item with what the run fills in."""

    item: Item
    passage: Passage
    status: Status

    @property
    def ask(self) -> str:
        """What is left to the authors."""
        return self.item.ask or ("The run has no results for this item." if self.status == "authors" else "")


def entry(item: Item, facts: Facts) -> Entry:
    """Fill an item in."""
    passage = [block for fill in item.fills for block in fill(facts)]
    if not passage:
        return Entry(item, (), "authors")
    return Entry(item, passage, "partly" if item.ask else "filled")


def entries(guideline: Guideline, facts: Facts) -> dict[str, list[Entry]]:
    """All items of a guideline, filled in, by section."""
    return {section: [entry(item, facts) for item in items] for section, items in guideline.sections.items()}
