"""One line of the diagnosis, and how it is told."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Status(StrEnum):
    """How a finding is to be taken: fine, worth knowing, or in the way of the study."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; `mend` says what to do, where something is to be done."""

    status: Status
    what: str
    detail: str
    mend: str = ""


def print_findings(findings: Iterator[Finding], console: Console, width: int) -> int:
    """Print findings one below the other, and how many of them are not fine; returns the number of failures.

    Args:
        width: of the column that says what was checked.
    """
    colours = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
    counts = dict.fromkeys(Status, 0)
    for finding in findings:
        counts[finding.status] += 1
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=4, style=colours[finding.status])
        line.add_column(width=width)
        line.add_column(overflow="fold")
        mend = f"\n[bold]→[/] {escape(finding.mend)}" if finding.mend else ""
        line.add_row(finding.status, finding.what, escape(finding.detail) + mend)
        console.print(line)
    told = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((counts[Status.WARN], "warning"), (counts[Status.FAIL], "failure"))
        if count
    ]
    console.print(f"[bold]{', '.join(told) or 'Everything is in order'}[/]")
    return counts[Status.FAIL]
