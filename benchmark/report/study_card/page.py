"""study_card.md and study_card.html: both guidelines, filled in, and the flow of patients and images."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.report.charts.flow import flow_chart
from benchmark.report.flow_words import flow_lines
from benchmark.report.page import TEMPLATES, template
from benchmark.report.study_card.claim import CLAIM
from benchmark.report.study_card.items import Entry, Facts, Guideline, Status, Table, entries
from benchmark.report.study_card.tripod import TRIPOD

GUIDELINES = (TRIPOD, CLAIM)
STATUSES: dict[Status, str] = {"filled": "from the run", "partly": "partly", "authors": "by the authors"}


class Filled(NamedTuple):
    """A guideline with its items filled in, and how many items have each status."""

    guideline: Guideline
    sections: dict[str, list[Entry]]
    counts: dict[Status, int]


def fill(facts: Facts) -> list[Filled]:
    """Both guidelines, filled in."""
    found = []
    for guideline in GUIDELINES:
        sections = entries(guideline, facts)
        statuses = [each.status for section in sections.values() for each in section]
        found.append(Filled(guideline, sections, {status: statuses.count(status) for status in STATUSES}))
    return found


def study_card_html(facts: Facts) -> str:
    """The card as one HTML file that loads nothing; it links to the leaderboard next to it."""
    flow = facts.results.flow
    return template("study_card.html.j2").render(
        **_shared(facts), flow=flow_chart(flow) if flow else None, is_table=lambda block: isinstance(block, Table)
    )


def study_card_markdown(facts: Facts) -> str:
    """The card in Markdown, with the flow as a list."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # Markdown
    )  # fmt: skip
    environment.filters |= {"md": markdown, "md_table": _markdown_table}
    return environment.get_template("study_card.md.j2").render(
        **_shared(facts), is_table=lambda block: isinstance(block, Table)
    )


def _shared(facts: Facts) -> dict[str, Any]:
    flow = facts.results.flow
    return {
        "study": facts.results.study,
        "facts": facts,
        "results": facts.results,
        "filled": fill(facts),
        "statuses": STATUSES,
        "lines": list(flow_lines(flow)) if flow else [],
    }


def markdown(text: str) -> str:
    """A text in one line in which nothing is markup."""
    plain = " ".join(text.split())
    plain = re.sub(r"([\\`*\[\]<>|#~])", r"\\\1", plain)
    plain = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)  # inside a word it is no markup
    return re.sub(r"&(?=[#\w]+;)", "&amp;", plain)


def _markdown_table(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(markdown, cells))} |"

    return "\n".join([row(table.heading), row([":-"] * len(table.heading)), *map(row, table.rows)])
